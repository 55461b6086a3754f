# `from picows cimport WSListener`: see picows/core/__init__.pxd.

from picows.core cimport (
    MemoryBuffer,
    NoResult,
    WSAutoPingStrategy,
    WSCloseCode,
    WSCloseHandshake,
    WSCloseInfo,
    WSFrame,
    WSListener,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    _make_test_ws_frame,
    ws_broadcast,
)
