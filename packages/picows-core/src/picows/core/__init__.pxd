# What users' Cython code cimports, from whichever of `picows.core`, `picows` and `picows.picows` it names.
# No header of ours is needed to compile against it: the `.pxd` files of the kernels are not reachable from here.

from picows.core.buffers cimport MemoryBuffer
from picows.core.closing cimport WSCloseHandshake, WSCloseInfo
from picows.core.enums cimport NoResult, WSAutoPingStrategy, WSCloseCode, WSMsgType
from picows.core.frame cimport WSFrame, _make_test_ws_frame
from picows.core.listener cimport WSListener
from picows.core.messages cimport WSMessageListener
from picows.core.transport cimport WSTransport
from picows.core.broadcast cimport ws_broadcast
