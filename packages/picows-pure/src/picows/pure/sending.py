"""The sending half of a connection of messages (see `messages`): whole ones, and those that are sent in fragments.

`send` waits while the write buffer is above its high watermark. A message in fragments has the connection for itself:
others wait for `_stream_lock`, which is made when it is needed for the first time.
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterable, Iterable, Optional, Union

from ..abc import WSBuffer
from ..deflate import DeflateCodec
from ..enums import WSCloseCode, WSMsgType
from ..errors import WSConnectionClosed
from .fragments import FragmentSender
from .frame import BINARY, CONTINUATION, TEXT
from .listener import WSListener
from .transport import WSTransport, _as_buffer


class MessageSender(WSListener):
    """What WSMessageListener sends with.

    Args:
        codec: see WSMessageListener.
    """

    def __init__(self, codec: Optional[DeflateCodec]) -> None:
        self._transport: Any = None
        self._codec = codec
        self._drain: Optional[asyncio.Future[None]] = None
        self._stream_lock: Optional[asyncio.Lock] = None
        self._is_lost = False
        #: A layer above makes the frames of messages itself, and `broadcast` is not to pass it by.
        self._is_tapped = False

    # --- what layers above override: see `picows.websockets` ---

    @property
    def transport(self) -> Any:
        """The WSTransport, from `on_ws_connected` on; None before."""
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        self._transport = transport

    def _closed_error(self) -> Exception:
        """What `recv` and `send` raise once the connection has ended."""
        handshake = self._transport.close_handshake
        received = None if handshake is None else handshake.recv
        if received is None:
            error = WSConnectionClosed(WSCloseCode.ABNORMAL_CLOSURE, "")
        else:
            error = WSConnectionClosed(received.code, received.reason or "")
        error.__cause__ = self._transport._failure
        return error

    async def _send_other(self, message: Any, text: Optional[bool]) -> None:
        """Send what is neither str, bytes, bytearray nor memoryview, or refuse it."""
        if message is None:
            raise TypeError("a message must be str or bytes-like, got None")
        await self.send(memoryview(_as_buffer(message)), text=text)

    async def _refuse_send(self) -> None:
        """Raise, because the connection is closing or closed."""
        raise self._closed_error()

    # --- sending ---

    async def send(self, message: WSBuffer, *, text: Optional[bool] = None) -> None:
        """Send a message; returns when the write buffer has room for more.

        Args:
            message: str is sent as text, anything else as binary.
            text: True sends bytes (which must be UTF-8) as text, False a str as binary.

        Raises:
            WSConnectionClosed: the connection is closing or closed and the message was not sent; or it was lost while
                the message waited to be sent, and nobody knows how much of it the peer has received.
            TypeError, BufferError: as `WSTransport.send`, but None is no message.
        """
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            await self._send_other(message, text)
            return
        transport, lock = self._transport, self._stream_lock
        if lock is not None and lock.locked():
            async with lock:
                is_sent = self._send_frame(message, self._opcode(message, text), True, True)
        elif self._codec is None and transport is not None and not transport._is_sealed:
            # As below, what is mostly sent with three calls less.
            transport.send(TEXT if (isinstance(message, str) if text is None else text) else BINARY, message)
            is_sent = True
        else:
            is_sent = self._send_frame(message, self._opcode(message, text), True, True)
        if not is_sent:
            await self._refuse_send()
        if self._drain is not None:
            await self._wait_for_drain()

    async def send_fragments(
        self, fragments: Union[Iterable[WSBuffer], AsyncIterable[WSBuffer]], text: Optional[bool] = None
    ) -> None:
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
        if isinstance(fragments, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"fragments must be an iterable of messages, got {type(fragments).__name__}")
        if self._stream_lock is None:
            self._stream_lock = asyncio.Lock()
        async with self._stream_lock:
            sender = FragmentSender(self, text)
            try:
                if isinstance(fragments, AsyncIterable):
                    async for fragment in fragments:
                        await sender.send(fragment)
                else:
                    for fragment in fragments:
                        await sender.send(fragment)
                if not self._send_frame(b"", sender.opcode, sender.is_first, True):
                    await self._refuse_send()
            except BaseException:
                if not sender.is_first and not self._transport.is_close_frame_sent:
                    self._transport.send_close(WSCloseCode.INTERNAL_ERROR, "error in fragmented message")
                raise

    def pause_writing(self) -> None:
        """The write buffer is full: `send` waits from now on."""
        if self._drain is None and not self._is_lost:
            self._drain = self._transport._loop.create_future()  # none may be running

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    async def _wait_for_drain(self) -> None:
        if self._drain is not None:
            await asyncio.shield(self._drain)
            if self._is_lost:
                raise self._closed_error()

    def _opcode(self, message: object, text: Optional[bool]) -> WSMsgType:
        is_text = isinstance(message, str) if text is None else text
        return TEXT if is_text else BINARY

    def _send_frame(self, message: WSBuffer, opcode: int, is_first: bool, is_last: bool) -> bool:
        """False if nothing can be sent any more."""
        transport: Optional[WSTransport] = self._transport
        payload = _as_buffer(message)
        if transport is None or transport._is_sealed:
            return False
        codec = self._codec
        is_compressed = codec is not None and is_first and is_last and codec.should_compress(len(payload))
        if is_compressed and codec is not None:
            # What the peer never gets must not become part of the context that it decompresses with.
            transport._check_thread("send")
            payload = codec.compress(payload)
        try:
            transport.send(opcode if is_first else CONTINUATION, payload, fin=is_last, rsv1=is_compressed)
        except Exception:
            if is_compressed:
                transport._abort()  # no memory: the context has what the peer will never get
            raise
        return True
