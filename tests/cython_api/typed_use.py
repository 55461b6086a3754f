"""What the stubs must allow, for a type checker to read: nothing here is run. See test_stubs."""

from __future__ import annotations

import asyncio
from typing import Optional

from picows import WSCloseCode, WSMsgType, abc, core
from picows.core import (
    MemoryBuffer,
    WSCloseHandshake,
    WSCloseInfo,
    WSFrame,
    WSListener,
    WSMessageListener,
    WSProtocol,
    WSTransport,
    ws_broadcast,
)

# --- the contract of engines ---

# pyright takes `describe` for the module of that name
ENGINE: abc.Engine = core  # pyright: ignore[reportAssignmentType]


def contracts(
    frame: WSFrame,
    transport: WSTransport,
    listener: WSListener,
    protocol: WSProtocol,
    info: WSCloseInfo,
    record: WSCloseHandshake,
) -> None:
    """Everything is what `picows.abc` says."""
    _frame: abc.EngineFrame = frame
    _transport: abc.EngineTransport = transport
    _listener: abc.EngineListener = listener
    _asyncio: asyncio.BufferedProtocol = protocol
    _info: abc.EngineCloseInfo = info
    _record: abc.EngineCloseHandshake = record


# --- users ---


class Mine(WSListener):
    """A listener."""

    def __init__(self) -> None:
        self.transport: Optional[WSTransport] = None
        self.kept: list[memoryview] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.fin and not transport.is_close_frame_sent:
            self.kept.append(frame.get_payload_as_memoryview())
            self.kept.append(memoryview(frame))
            transport.send(frame.msg_type, frame.get_payload_as_utf8_text().upper(), fin=True)

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        return frame.msg_type == WSMsgType.TEXT and frame.get_payload_as_bytes() == b"pong"


class Chat(WSMessageListener):
    """A listener of the message layer."""

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        handshake = transport.close_handshake
        if handshake is not None and handshake.recv is not None and handshake.recv.code is WSCloseCode.OK:
            code, reason = handshake.recv
            print(code, reason)


async def use(transport: WSTransport) -> float:
    """A transport."""
    buffer = MemoryBuffer(10)
    buffer.resize(20)
    transport.send_reuse_external_bytearray(WSMsgType.BINARY, bytearray(memoryview(buffer)), 14)
    ws_broadcast({transport}, WSMsgType.TEXT, "text")
    times = await transport.measure_roundtrip_time(3, timeout=1.0)
    await transport.wait_disconnected()
    return min(times)
