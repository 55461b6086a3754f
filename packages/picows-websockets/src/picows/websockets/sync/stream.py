"""The bytes of a connection: a socket that one thread reads and others write at the same time.

The socket never blocks; threads wait for it outside of any lock. For TLS this is what makes it safe, because OpenSSL
must not read and write one connection at the same time, and a lock around a call that blocks would stop the other
direction. Whoever waits is woken by `abort`.
"""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket
import ssl
import threading
from typing import Any

from .nested_tls import NestedTLS
from .utils import MAX_WAIT_S


class Stream:
    """A connected socket.

    Args:
        sock: closed by `close`.
    """

    __slots__ = ("_lock", "_wants_write", "sock")

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self._lock = threading.Lock() if isinstance(sock, (ssl.SSLSocket, NestedTLS)) else None
        self._wants_write = False
        sock.setblocking(False)

    def try_recv(self, size: int) -> bytes | None:
        """Read what is there, at most `size` bytes.

        Returns:
            b"" at the end of the stream, None if nothing is there yet.

        Raises:
            OSError: the connection is broken.
        """
        try:
            if self._lock is None:
                return self.sock.recv(size)  # type: ignore[no-any-return]
            with self._lock:
                self._wants_write = False
                return self.sock.recv(size)  # type: ignore[no-any-return]
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return None
        except ssl.SSLEOFError:
            return b""

    def may_have_more(self, was_full: bool) -> bool:
        """Whether to read again before waiting: TLS has its own buffer, at which waiting does not look.

        Args:
            was_full: the last `try_recv` returned as much as it was asked for.
        """
        return was_full or self._lock is not None

    def try_send(self, data: memoryview) -> int:
        """Write what the socket takes.

        Returns:
            How many bytes; 0 if there is no room.

        Raises:
            OSError: the connection is broken.
        """
        try:
            if self._lock is None:
                return self.sock.send(data)  # type: ignore[no-any-return]
            with self._lock:
                return self.sock.send(data)  # type: ignore[no-any-return]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    def try_flush(self) -> bool:
        """Whether everything that `try_send` took is on its way; nested TLS keeps what the outer one had no room for.

        Raises:
            OSError: the connection is broken.
        """
        if self._lock is None or not isinstance(self.sock, NestedTLS):
            return True
        try:
            with self._lock:
                self.sock.flush()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def wait(self, timeout: float | None, *, to_read: bool = False, to_write: bool = False) -> bool:
        """Wait until the socket can be read or written, or is broken.

        Args:
            timeout: seconds; None for ever.
            to_read: wait for bytes.
            to_write: wait for room.

        Returns:
            Whether that is so; False after the timeout, or after MAX_WAIT_S.

        Raises:
            OSError: the socket was closed.
        """
        timeout = None if timeout is None else min(max(timeout, 0), MAX_WAIT_S)
        to_write = to_write or self._wants_write
        number = self.sock.fileno()
        if number < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(number, (select.POLLIN if to_read else 0) | (select.POLLOUT if to_write else 0))
            return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))
        reading, writing = [number] if to_read else [], [number] if to_write else []
        return any(select.select(reading, writing, [number], timeout))

    def send_eof(self) -> None:
        """Shut down the writing side; of TLS and TCP."""
        if isinstance(self.sock, ssl.SSLSocket) and self._lock is not None:
            # Waiting for the peer's close_notify is not our aim, and raises.
            with self._lock, contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()
        self._shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Make every read and write end now, in whichever thread."""
        self._shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def _shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError):
            if isinstance(self.sock, ssl.SSLSocket):
                # SSLSocket.shutdown() would make it a plain socket under the feet of the thread that reads.
                socket.socket.shutdown(self.sock, how)
            else:
                self.sock.shutdown(how)
