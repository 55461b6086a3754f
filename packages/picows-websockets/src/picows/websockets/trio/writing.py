"""What a connection has to say, written in order by one task at a time.

Whoever adds something may write it himself and does so for everybody; others wait. Cancelling a task that writes must
not leave half a frame on the wire: a socket tells how much it took, and a task of our own writes the rest. Other
streams do not tell (`trio.abc.SendStream.send_all`), so there it is always a task of our own that writes.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from collections.abc import Callable

import trio

from .._pongs import Pongs

#: How often a task that writes is scheduled before it must wait for room; TLS needs more than one.
_ROUNDS = 5


def _ignore(exc: BaseException) -> None:
    return None


class Writer:
    """A queue of bytes to write; b"" in it shuts the writing side down.

    Args:
        stream: where to.
        nursery: for the task that writes.
        on_failure: called with the exception when writing fails.

    Attributes:
        queue: what was not written yet; append to it, then call `flush` or `hand_over`.
        is_broken: whether writing has failed; nothing is written any more.
    """

    __slots__ = ("_idle", "_nursery", "_on_failure", "_pongs", "_scope", "_stream", "is_broken", "queue")

    def __init__(
        self, stream: trio.abc.Stream, nursery: trio.Nursery, on_failure: Callable[[BaseException], None]
    ) -> None:
        self.queue: deque[bytes | Pongs] = deque()
        self.is_broken = False
        self._stream = stream
        self._nursery = nursery
        self._on_failure = on_failure
        self._pongs = Pongs()
        #: Set once who writes now has written everything.
        self._idle: trio.Event | None = None
        #: Of the task of our own.
        self._scope: trio.CancelScope | None = None

    async def flush(self) -> bool:
        """Write everything, or wait until somebody has. Cancelling it cancels only the waiting.

        Returns:
            False if the connection broke.
        """
        if self._idle is not None or not isinstance(self._stream, trio.SocketStream):
            self.hand_over()
            if self._idle is None:
                await trio.lowlevel.checkpoint()
            while self._idle is not None:  # again if who wrote was cancelled and somebody else goes on
                await self._idle.wait()
        elif self.queue:
            self._idle = trio.Event()
            try:
                await self._drain()
            finally:
                self._rest()
                self.hand_over()  # what is left if we were cancelled
        return not self.is_broken

    def answer(self, frames: list[bytes]) -> None:
        """Have written what the protocol says to what it has received; of pongs only so many if the peer does not
        read."""
        self.queue += self._pongs.admit(frames, is_idle=self._idle is None)
        self.hand_over()

    def hand_over(self) -> None:
        """Have everything written without waiting for it."""
        if self.queue and self._idle is None and not self.is_broken:
            self._idle = trio.Event()
            self._scope = trio.CancelScope(shield=True)  # until `stop`
            self._nursery.start_soon(self._run, self._scope)

    async def try_once(self) -> None:
        """Write what there is room for now, even if we are cancelled."""
        self.hand_over()
        for _ in range(_ROUNDS):
            if self._idle is None:
                break
            await trio.lowlevel.cancel_shielded_checkpoint()

    def stop(self) -> None:
        """Write nothing more; who waits is told that the connection broke."""
        self.is_broken = True
        self._on_failure = _ignore  # so that what it belongs to is freed without the garbage collector
        self.queue.clear()
        if self._scope is not None:
            self._scope.cancel()
        self._rest()

    async def _run(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._drain()
        finally:
            self._scope = None
            self._rest()

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    async def _drain(self) -> None:
        try:
            while self.queue:
                data = self.queue.popleft()
                if isinstance(data, Pongs):
                    data = data.take()
                if not data:
                    await self._send_eof()
                elif isinstance(self._stream, trio.SocketStream):
                    await self._send(self._stream.socket, data)
                else:
                    await self._stream.send_all(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            on_failure = self._on_failure
            self.stop()
            on_failure(exc)

    async def _send(self, sock: trio.socket.SocketType, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[await sock.send(rest) :]
        except trio.Cancelled:
            self.queue.appendleft(bytes(rest))
            raise
        except OSError as exc:
            if exc.errno in (errno.EBADF, errno.ENOTSOCK):
                raise trio.ClosedResourceError("this socket was already closed") from None
            raise trio.BrokenResourceError(f"socket connection broken: {exc}") from exc

    async def _send_eof(self) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):  # then it has ended
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            else:
                await self._stream.aclose()  # TLS has no other way to say it
