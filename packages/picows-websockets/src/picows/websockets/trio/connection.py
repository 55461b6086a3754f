"""One connection: what `connect` returns and what handlers get."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self, overload

import trio

from .._facts import Facts
from .._payloads import control_payload, encode_fragment
from ..exceptions import ConcurrencyError, ConnectionClosedOK, TooManyFragments
from ..frames import CloseCode
from ..http11 import Request, Response
from ..protocol import CLOSED, OPEN, Protocol
from ..typing import BytesLike, Data, DataLike
from .broadcast import broadcast as broadcast
from .link import Link, socket_of

__all__ = ["Connection"]

_BUSY = "cannot call {} while another coroutine is already running recv or recv_streaming"


class Connection(Link, Facts, trio.abc.AsyncResource):
    """A WebSocket connection.

    Args:
        nursery: for the tasks of the connection; they end with it.
        stream: connected; closed at the end.
        protocol: the Sans-I/O side of the connection.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for their pongs; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.

    Attributes:
        nursery: as given.
        stream: as given; do not read or write it.
        protocol: as given.
        logger: a LoggerAdapter whose records have the connection as `websocket`.
        request: the opening request, once there is one.
        response: the opening response, once there is one.
        latency: seconds from the last ping to its pong; 0 before the first.
        recv_messages: the frames that were received.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        stream: trio.abc.Stream,
        protocol: Protocol,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_queue: int | None | tuple[int | None, int | None] = 16,
    ) -> None:
        self.request: Request | None = None
        self.response: Response | None = None
        super().__init__(
            nursery,
            stream,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

    # What it is

    @property
    def local_address(self) -> Any:
        """What `getsockname` says: (host, port) for TCP over IPv4. NotImplementedError if the stream has no socket."""
        return socket_of(self.stream).getsockname()

    @property
    def remote_address(self) -> Any:
        """What `getpeername` says: (host, port) for TCP over IPv4. NotImplementedError if the stream has no socket."""
        return socket_of(self.stream).getpeername()

    # Context manager and iteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            await self.aclose()
        else:
            await self.aclose(CloseCode.INTERNAL_ERROR)

    def __aiter__(self) -> AsyncIterator[Data]:
        """Give messages until the connection is closed. Raises ConnectionClosedError if it does not close well."""
        return _Messages(self)

    # Receiving

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...

    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...

    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive a message. Cancelling it loses nothing.

        Args:
            decode: True returns str, False bytes; None str for text and bytes for binary messages.

        Raises:
            ConnectionClosed: the connection is closed, and everything that came before was received.
            ConcurrencyError: another task is receiving.
        """
        try:
            return await self.recv_messages.get(decode)
        except EOFError:
            pass
        except ConcurrencyError:
            raise ConcurrencyError(_BUSY.format("recv")) from None
        except (UnicodeDecodeError, TooManyFragments) as exc:
            await self._refuse_message(exc)
        await self._ended.wait()
        raise self.close_exc

    @overload
    def recv_streaming(self, decode: Literal[True]) -> AsyncIterator[str]: ...

    @overload
    def recv_streaming(self, decode: Literal[False]) -> AsyncIterator[bytes]: ...

    @overload
    def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]: ...

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]:
        """Receive a message fragment by fragment. Iterate to its end before receiving anything else.

        Args:
            decode: as for `recv`.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: another task is receiving.
        """
        try:
            # Trio warns of a generator that nobody closes.
            async with aclosing(self.recv_messages.get_iter(decode)) as fragments:
                async for fragment in fragments:
                    yield fragment
            return
        except EOFError:
            pass
        except ConcurrencyError:
            raise ConcurrencyError(_BUSY.format("recv_streaming")) from None
        except UnicodeDecodeError as exc:
            await self._refuse_message(exc)
        await self._ended.wait()
        raise self.close_exc

    async def _refuse_message(self, exc: UnicodeDecodeError | TooManyFragments) -> None:
        if isinstance(exc, UnicodeDecodeError):
            await self._fail(CloseCode.INVALID_DATA, f"{exc.reason} at position {exc.start}", exc)
        else:
            await self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments", exc)

    # Sending

    async def send(
        self, message: DataLike | Iterable[DataLike] | AsyncIterable[DataLike], *, text: bool | None = None
    ) -> None:
        """Send a message. Waits while the peer's and the kernel's buffers are full.

        A message that was begun is sent to its end even if waiting for that is cancelled, except for fragmented ones,
        which then end the connection.

        Args:
            message: str makes a text, bytes-like a binary message; an iterable of these a fragmented one.
            text: True or False make it a text or a binary message whatever its type.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: the message is of none of these types.
        """
        if isinstance(message, str):
            await self._send_data(message.encode(), text is not False, True)
        elif isinstance(message, BytesLike):
            await self._send_data(message, text is True, True)
        elif isinstance(message, Mapping):
            raise TypeError("data is a dict-like object")
        elif isinstance(message, Iterable):
            await self._send_fragments(_Fragments(message), text, "iterable")
        elif isinstance(message, AsyncIterable):
            await self._send_fragments(aiter(message), text, "async iterable")
        else:
            raise TypeError("data must be str, bytes, iterable, or async iterable")

    async def _send_data(self, data: BytesLike, is_text: bool, fin: bool) -> None:
        """Send a message, or begin a fragmented one."""
        while self.send_in_progress is not None and self.protocol.state is OPEN:
            await self.send_in_progress.wait()
        is_open = self.protocol.state is OPEN
        if is_open:
            (self.protocol.send_text if is_text else self.protocol.send_binary)(data, fin)
            if not fin:
                self.send_in_progress = trio.Event()
        await self._flush_or_refuse(is_open)

    async def _continue(self, data: BytesLike, fin: bool) -> None:
        is_open = self.protocol.state is OPEN
        if is_open:
            self.protocol.send_continuation(data, fin)
        await self._flush_or_refuse(is_open)

    async def _send_fragments(self, fragments: AsyncIterator[Any], text: bool | None, what: str) -> None:
        try:
            fragment = await anext(fragments)
        except StopAsyncIteration:
            return
        kind: Any = str if isinstance(fragment, str) else BytesLike
        has_begun = False
        try:
            if not isinstance(fragment, kind):
                raise TypeError(f"{what} must contain bytes or str")
            is_text = kind is str if text is None else text
            while self.send_in_progress is not None and self.protocol.state is OPEN:
                await self.send_in_progress.wait()
            has_begun = True
            await self._send_data(encode_fragment(fragment), is_text, False)
            async for fragment in fragments:
                if not isinstance(fragment, kind):
                    raise TypeError(f"{what} must contain uniform types")
                await self._continue(encode_fragment(fragment), False)
            await self._continue(b"", True)
        except Exception:
            if self.protocol.state is not CLOSED:  # else there is nothing to end
                await self._fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        except BaseException:  # Cancelled, for example, does not wait
            if has_begun:
                self._fail_protocol(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        finally:
            if has_begun and self.send_in_progress is not None:
                self.send_in_progress.set()
                self.send_in_progress = None

    def _begin_broadcast(self, data: BytesLike, is_text: bool) -> bool:
        """Send a message without waiting. Returns whether it was sent.

        Raises:
            ConcurrencyError: a fragmented message is being sent.
        """
        if self.protocol.state is not OPEN:
            return False
        if self.send_in_progress is not None:
            raise ConcurrencyError("sending a fragmented message")
        (self.protocol.send_text if is_text else self.protocol.send_binary)(data)
        self._write()
        return True

    async def _end_broadcast(self) -> None:
        """Wait until it is on its way. Raises ConnectionClosed if the connection broke."""
        await self._flush_or_refuse(True)

    async def _flush_or_refuse(self, is_open: bool) -> None:
        """After the protocol was told to send something, or was not."""
        if is_open:
            self._writer.queue += self.protocol.data_to_send()
            if await self._writer.flush():
                return
        await self._ended.wait()
        raise self.close_exc

    # Closing

    async def aclose(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection and wait until it is closed, at most for `close_timeout`. Idempotent.

        Cancelling it closes the connection at once, without waiting for the peer.

        Args:
            code: why.
            reason: the same in words; at most 123 bytes of UTF-8.

        Raises:
            ProtocolError: the code may not be sent, or the reason is too long; the connection goes on.
        """
        if self.protocol.state is OPEN:
            if self.send_in_progress is not None:
                self.protocol.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message")
            else:
                self.protocol.send_close(code, reason)
            self._write()
            self._notice_closing()
        if not self._has_started:  # the opening handshake finds the end
            await trio.aclose_forcefully(self.stream)
            return
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._reading.cancel()
            raise

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, whoever closes it."""
        await self._ended.wait()

    # Pings

    async def ping(self, data: DataLike | None = None, *, ack_on_close: bool = False) -> trio.Event:
        """Send a PING.

        Args:
            data: at most 125 bytes; None for random ones.
            ack_on_close: the event is also set when the connection is closed.

        Returns:
            An event that is set when the pong comes.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: a ping with the same data has no pong yet.
            TypeError: data is neither str nor bytes-like.
        """
        payload = None if data is None else control_payload(data)
        event = trio.Event()
        is_open = self.protocol.state is OPEN
        if is_open:
            payload, event = self._pings.add(payload, ack_on_close)
            self.protocol.send_ping(payload)
        await self._flush_or_refuse(is_open)
        return event

    async def pong(self, data: DataLike = b"") -> None:
        """Send a PONG that nobody asked for. PINGs are answered without being asked to.

        Args:
            data: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: data is neither str nor bytes-like.
        """
        payload = control_payload(data)
        is_open = self.protocol.state is OPEN
        if is_open:
            self.protocol.send_pong(payload)
        await self._flush_or_refuse(is_open)


class _Messages(AsyncIterator[Data]):
    """Not a generator, because trio warns of generators that are not iterated to their end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __anext__(self) -> Data:
        try:
            return await self._connection.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None


class _Fragments(AsyncIterator[Any]):
    """Fragments from an iterable, as if it were an asynchronous one."""

    def __init__(self, fragments: Iterable[Any]) -> None:
        self._next = iter(fragments).__next__

    async def __anext__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            raise StopAsyncIteration from None
