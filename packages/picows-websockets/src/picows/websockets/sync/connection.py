"""One connection: what `connect` returns and what handlers get."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, overload

from .._facts import Facts
from .._payloads import control_payload, encode_fragment
from ..exceptions import (
    ConcurrencyError,
    ConnectionClosedOK,
    TooManyFragments,
)
from ..frames import CloseCode
from ..http11 import Request, Response
from ..protocol import CLOSED, OPEN, Protocol
from ..typing import BytesLike, Data, DataLike
from .broadcast import broadcast as broadcast
from .link import Link
from .utils import Deadline

__all__ = ["Connection"]

_BUSY = "cannot call {} while another thread is already running recv or recv_streaming"


class Connection(Link, Facts):
    """A WebSocket connection.

    Args:
        sock: connected; closed at the end.
        protocol: the Sans-I/O side of the connection.
        ping_interval: seconds between keepalive pings; None for none.
        ping_timeout: seconds to wait for their pongs; None for ever.
        close_timeout: seconds that closing may take; None for ever.
        max_queue: frames that wait for `recv` before reading pauses, or (high, low); None never pauses.

    Attributes:
        socket: as given; do not read or write it.
        protocol: as given.
        logger: a LoggerAdapter whose records have the connection as `websocket`.
        request: the opening request, once there is one.
        response: the opening response, once there is one.
        latency: seconds from the last ping to its pong; 0 before the first.
        recv_messages: the frames that were received.
        recv_events_thread: the thread that reads, once the connection is open.
    """

    def __init__(
        self,
        sock: Any,
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
            sock,
            protocol,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_queue=max_queue,
        )

    # What it is

    @property
    def local_address(self) -> Any:
        """What `getsockname` says: (host, port) for TCP over IPv4."""
        return self.socket.getsockname()

    @property
    def remote_address(self) -> Any:
        """What `getpeername` says: (host, port) for TCP over IPv4."""
        return self.socket.getpeername()

    # Context manager and iteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.close(CloseCode.INTERNAL_ERROR)

    def __iter__(self) -> Iterator[Data]:
        """Yield messages until the connection is closed. Raises ConnectionClosedError if it does not close well."""
        try:
            while True:
                yield self.recv()
        except ConnectionClosedOK:
            return

    # Receiving

    @overload
    def recv(self, timeout: float | None = None, decode: Literal[True] = ...) -> str: ...

    @overload
    def recv(self, timeout: float | None = None, decode: Literal[False] = ...) -> bytes: ...

    @overload
    def recv(self, timeout: float | None = None, decode: bool | None = None) -> Data: ...

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> Data:
        """Receive a message.

        Args:
            timeout: seconds to wait for it; None for ever; 0 or less for what is there.
            decode: True returns str, False bytes; None str for text and bytes for binary messages.

        Raises:
            ConnectionClosed: the connection is closed, and everything that came before was received.
            ConcurrencyError: another thread is receiving.
            TimeoutError: no message came.
        """
        self.maybe_raise_legacy_warning()
        try:
            return self.recv_messages.get(timeout, decode)
        except EOFError:
            pass
        except ConcurrencyError:
            raise ConcurrencyError(_BUSY.format("recv")) from None
        except (UnicodeDecodeError, TooManyFragments) as exc:
            self._refuse_message(exc)
        self._await_end(None)
        raise self.close_exc

    @overload
    def recv_streaming(self, decode: Literal[True]) -> Iterator[str]: ...

    @overload
    def recv_streaming(self, decode: Literal[False]) -> Iterator[bytes]: ...

    @overload
    def recv_streaming(self, decode: bool | None = None) -> Iterator[Data]: ...

    def recv_streaming(self, decode: bool | None = None) -> Iterator[Data]:
        """Receive a message fragment by fragment. Iterate to its end before receiving anything else.

        Args:
            decode: as for `recv`.

        Raises:
            ConnectionClosed: the connection is closed.
            ConcurrencyError: another thread is receiving.
        """
        self.maybe_raise_legacy_warning()
        try:
            yield from self.recv_messages.get_iter(decode)
            return
        except EOFError:
            pass
        except ConcurrencyError:
            raise ConcurrencyError(_BUSY.format("recv_streaming")) from None
        except UnicodeDecodeError as exc:
            self._refuse_message(exc)
        self._await_end(None)
        raise self.close_exc

    def _refuse_message(self, exc: UnicodeDecodeError | TooManyFragments) -> None:
        if isinstance(exc, UnicodeDecodeError):
            self._fail(CloseCode.INVALID_DATA, f"{exc.reason} at position {exc.start}", exc)
        else:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments", exc)

    # Sending

    def send(self, message: DataLike | Iterable[DataLike], *, text: bool | None = None) -> None:
        """Send a message. Waits while the peer's and the kernel's buffers are full.

        Args:
            message: str makes a text, bytes-like a binary message; an iterable of these a fragmented one.
            text: True or False make it a text or a binary message whatever its type.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: the message is of none of these types.
        """
        self.maybe_raise_legacy_warning()
        if isinstance(message, str):
            self._send_data(message.encode(), text is not False, True)
        elif isinstance(message, BytesLike):
            self._send_data(message, text is True, True)
        elif isinstance(message, Mapping):
            raise TypeError("data is a dict-like object")
        elif isinstance(message, Iterable):
            self._send_fragments(iter(message), text)
        else:
            raise TypeError("data must be str, bytes, or iterable")

    def _send_data(self, data: BytesLike, is_text: bool, fin: bool) -> None:
        """Send a message, or begin a fragmented one."""
        with self.protocol_mutex:
            while self.send_in_progress and self.protocol.state is OPEN:
                self._may_send.wait()
            is_open = self.protocol.state is OPEN
            if is_open:
                (self.protocol.send_text if is_text else self.protocol.send_binary)(data, fin)
                self.send_in_progress = not fin
                self._writes += self.protocol.data_to_send()
        self._flush_or_refuse(is_open)

    def _continue(self, data: BytesLike, fin: bool) -> None:
        with self.protocol_mutex:
            is_open = self.protocol.state is OPEN
            if is_open:
                self.protocol.send_continuation(data, fin)
                self._writes += self.protocol.data_to_send()
        self._flush_or_refuse(is_open)

    def _send_fragments(self, fragments: Iterator[Any], text: bool | None) -> None:
        try:
            fragment = next(fragments)
        except StopIteration:
            return
        kind: Any = str if isinstance(fragment, str) else BytesLike
        has_begun = False
        try:
            if not isinstance(fragment, kind):
                raise TypeError("iterable must contain bytes or str")
            is_text = kind is str if text is None else text
            self._send_data(encode_fragment(fragment), is_text, False)
            has_begun = True
            for fragment in fragments:
                if not isinstance(fragment, kind):
                    raise TypeError("iterable must contain uniform types")
                self._continue(encode_fragment(fragment), False)
            self._continue(b"", True)
        except Exception:
            if self.protocol.state is not CLOSED:  # else there is nothing to end
                self._fail(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            raise
        except BaseException:  # KeyboardInterrupt, for example, does not wait
            with self.protocol_mutex:
                self._fail_protocol(CloseCode.INTERNAL_ERROR, "error in fragmented message")
            self._flush_if_free()
            raise
        finally:
            if has_begun:
                with self.protocol_mutex:
                    self.send_in_progress = False
                    self._may_send.notify_all()

    def _begin_broadcast(self, data: BytesLike, is_text: bool) -> bool:
        """Send a message as far as there is room; False if `_end_broadcast` must send the rest.

        Raises:
            RuntimeError: a fragmented message is being sent.
        """
        with self.protocol_mutex:
            if self.protocol.state is not OPEN:
                return True
            if self.send_in_progress:
                raise RuntimeError("sending a fragmented message")
            (self.protocol.send_text if is_text else self.protocol.send_binary)(data)
            self._writes += self.protocol.data_to_send()
        return self._flush_if_free()

    def _end_broadcast(self) -> None:
        """Wait for room, and send the rest. Raises ConnectionClosed if the connection broke."""
        self._flush_or_refuse(True)

    def _flush_or_refuse(self, is_open: bool) -> None:
        """After something was put into the queue, or was not."""
        if is_open and self._flush():
            return
        self._await_end(None)
        raise self.close_exc

    # Closing

    def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection and wait until it is closed, at most for `close_timeout`. Idempotent.

        Args:
            code: why.
            reason: the same in words; at most 123 bytes of UTF-8.

        Raises:
            ProtocolError: the code may not be sent, or the reason is too long; the connection goes on.
        """
        self.maybe_raise_legacy_warning()
        self._begin_close(code, reason)()

    def _begin_close(self, code: CloseCode | int, reason: str) -> Callable[[], None]:
        """Say goodbye; what is returned waits for the end."""
        with self.protocol_mutex:
            if self.protocol.state is OPEN:
                if self.send_in_progress:
                    self.protocol.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message")
                else:
                    self.protocol.send_close(code, reason)
                self._writes += self.protocol.data_to_send()
                self._may_send.notify_all()
        deadline = Deadline(self.close_timeout)
        self._flush_if_free()
        return lambda: self._end(deadline)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is closed, whoever closes it.

        Args:
            timeout: seconds; None for ever.

        Returns:
            Whether it is.
        """
        return self._ended.wait(timeout)

    # Pings

    def ping(self, data: DataLike | None = None, *, ack_on_close: bool = False) -> threading.Event:
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
        self.maybe_raise_legacy_warning()
        payload = None if data is None else control_payload(data)
        with self.protocol_mutex:
            event = threading.Event()
            is_open = self.protocol.state is OPEN
            if is_open:
                payload, event = self._pings.add(payload, ack_on_close)
                self.protocol.send_ping(payload)
                self._writes += self.protocol.data_to_send()
        self._flush_or_refuse(is_open)
        return event

    def pong(self, data: DataLike = b"") -> None:
        """Send a PONG that nobody asked for. PINGs are answered without being asked to.

        Args:
            data: at most 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed.
            TypeError: data is neither str nor bytes-like.
        """
        self.maybe_raise_legacy_warning()
        payload = control_payload(data)
        with self.protocol_mutex:
            is_open = self.protocol.state is OPEN
            if is_open:
                self.protocol.send_pong(payload)
                self._writes += self.protocol.data_to_send()
        self._flush_or_refuse(is_open)

    # For subclasses

    def maybe_raise_legacy_warning(self) -> None:
        """Overridden where something is deprecated."""
