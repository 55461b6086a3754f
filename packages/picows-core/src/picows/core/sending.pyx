# cython: embedsignature=False
"""The sending half of a connection of messages (see `messages`): whole ones, and those that are sent in fragments.

`send` waits while the write buffer is above its high watermark. A message in fragments has the connection for itself:
others wait for `_stream_lock`, which is made when it is needed for the first time.
"""

import asyncio
from collections.abc import AsyncIterable

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from .codec cimport TAIL_SIZE, DeflateCodec
from .enums cimport WSMsgType
from .fragments cimport FragmentSender, opcode_of
from .transport cimport as_bytes
from .wire cimport JOIN_LIMIT

from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed

cdef enum:
    FIN_RSV1 = 0xC0


cdef class MessageSender(WSListener):
    """What WSMessageListener sends with."""

    # --- what layers above override: see `picows.websockets` ---

    @property
    def _transport(self):
        """The WSTransport, where a subclass has something else as `transport`."""
        return self.transport

    cpdef object _closed_error(self):
        """What `recv` and `send` raise once the connection has ended."""
        cdef WSTransport transport = self._get_transport()
        received = None if transport.close_handshake is None else transport.close_handshake.recv
        if received is None:
            error = WSConnectionClosed(WSCloseCode.ABNORMAL_CLOSURE, "")
        else:
            error = WSConnectionClosed(received.code, received.reason or "")
        error.__cause__ = transport._failure
        return error

    async def _send_other(self, message, text):
        """Send what is neither str, bytes, bytearray nor memoryview, or refuse it."""
        if message is None:
            raise TypeError("a message must be str or bytes-like, got None")
        await self.send(memoryview(as_bytes(message)), text=text)

    async def _refuse_send(self):
        """Raise, because the connection is closing or closed."""
        raise self._closed_error()

    # --- sending ---

    async def send(self, message, *, text=None):
        """Send a message; returns when the write buffer has room for more.

        Args:
            message: str is sent as text, anything else as binary.
            text: True sends bytes (which must be UTF-8) as text, False a str as binary.

        Raises:
            WSConnectionClosed: the connection is closing or closed and the message was not sent; or it was lost while
                the message waited to be sent, and nobody knows how much of it the peer has received.
            TypeError, BufferError: as `WSTransport.send`, but None is no message.
        """
        cdef bint is_sent
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            await self._send_other(message, text)
            return
        if self._stream_lock is not None and self._stream_lock.locked():
            async with self._stream_lock:
                is_sent = self._send_frame(message, opcode_of(message, text), True, True)
        else:
            is_sent = self._send_frame(message, opcode_of(message, text), True, True)
        if not is_sent:
            await self._refuse_send()
        if self._drain is not None:
            await self._wait_for_drain()

    async def send_fragments(self, fragments, text=None):
        """Send one message in fragments; other messages wait until it is complete.

        If the iterable raises, or this is cancelled, the message cannot be completed: the connection is then closed
        with 1011.

        Args:
            fragments: all str or all bytes-like; none is sent as an empty message.
            text: as for `send`.

        Raises:
            WSConnectionClosed, BufferError: as for `send`.
            TypeError: what is iterated over is itself a message, or not all fragments are of one kind.
        """
        cdef FragmentSender sender
        if isinstance(fragments, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"fragments must be an iterable of messages, got {type(fragments).__name__}")
        if self._stream_lock is None:
            self._stream_lock = asyncio.Lock()
        async with self._stream_lock:
            sender = FragmentSender(text)
            try:
                if isinstance(fragments, AsyncIterable):
                    async for fragment in fragments:
                        await self._send_fragment(sender, fragment)
                else:
                    for fragment in fragments:
                        await self._send_fragment(sender, fragment)
                if not self._send_frame(b"", sender.opcode, sender.is_first, True):
                    await self._refuse_send()
            except BaseException:
                if not sender.is_first and not self._get_transport().is_close_frame_sent:
                    self.transport.send_close(WSCloseCode.INTERNAL_ERROR, "error in fragmented message")
                raise

    cpdef pause_writing(self):
        """The write buffer is full: `send` waits from now on."""
        if self._drain is None and not self._is_lost:
            self._drain = self._get_transport()._loop.create_future()  # none may be running

    cpdef resume_writing(self):
        """The write buffer has room again."""
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def _send_fragment(self, FragmentSender sender, fragment):
        sender.admit(fragment)
        if fragment is None:
            raise TypeError("a message must be str or bytes-like, got None")
        if not self._send_frame(fragment, sender.opcode, sender.is_first, False):
            await self._refuse_send()
        sender.is_first = False
        if self._drain is not None:
            await self._wait_for_drain()

    async def _wait_for_drain(self):
        if self._drain is not None:
            await asyncio.shield(self._drain)
            if self._is_lost:
                raise self._closed_error()

    cdef bint _send_frame(self, object message, int opcode, bint is_first, bint is_last) except -1:
        """False if nothing can be sent any more."""
        cdef WSTransport transport = self.transport
        if transport is None or transport._is_sealed:
            as_bytes(message)  # what is no message is refused at any time
            return False
        if not is_first:
            opcode = WSMsgType.CONTINUATION
        elif is_last and self._codec is not None:
            self._send_compressed(opcode, as_bytes(message))
            return True
        transport.send(opcode, message, is_last)
        return True

    cdef int _set_codec(self, codec) except -1:
        self._codec = codec
        self._own_codec = codec if is_own(codec) else None
        return 0

    cdef int _send_compressed(self, int opcode, bytes payload) except -1:
        """Send a whole message, compressed if the codec finds it worth that."""
        cdef WSTransport transport = self._get_transport()
        cdef DeflateCodec own = self._own_codec
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        if not (self._codec.should_compress(size) if own is None else own._is_worth_it(size)):
            transport.send(opcode, payload)
            return 0
        # What the peer never gets must not become part of the context that it decompresses with.
        transport._check_thread("send")
        compressed = self._codec.compress(payload) if own is None else own._deflate(payload)
        try:
            if own is None:
                transport.send(opcode, compressed, True, True)
                return 0
            payload = compressed
            size = PyBytes_GET_SIZE(payload) - TAIL_SIZE
            if size > JOIN_LIMIT:
                transport.send(opcode, payload[:size], True, True)  # what is not copied must end where the frame does
            else:
                transport._send_checked(opcode, FIN_RSV1 | opcode, PyBytes_AS_STRING(payload), size, None)
        except Exception:
            transport._abort()  # no memory: the context has what the peer will never get
            raise
        return 0

    cdef WSTransport _get_transport(self):
        if self.transport is None:
            raise AttributeError(f"a {type(self).__name__} has no transport before on_ws_connected")
        return self.transport


cdef bint is_own(codec) except -1:
    """Whether it is a codec of this engine whose methods nobody has overridden."""
    return isinstance(codec, DeflateCodec) and all(
        getattr(type(codec), name) is getattr(DeflateCodec, name)
        for name in ("should_compress", "compress", "decompress")
    )
