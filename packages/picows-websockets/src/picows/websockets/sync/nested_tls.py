"""TLS within TLS, for wss:// through an https:// proxy: the standard library wraps a socket only once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")
_CHUNK = 65536


class NestedTLS:
    """What a socket offers, over an SSLSocket.

    Args:
        sock: connected; its timeout is obeyed during the handshake.
        context: for the inner TLS.
        server_hostname: the name in the certificate.

    Raises:
        ssl.SSLError: the handshake failed.
        TimeoutError: it took too long.
    """

    def __init__(self, sock: ssl.SSLSocket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.outer = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._unsent = b""
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=server_hostname)
        self._run(self._tls.do_handshake)

    def _run(self, call: Callable[..., _T], *args: Any) -> _T:
        """Call something of the inner TLS, and carry bytes in and out until it is content."""
        while True:
            try:
                result = call(*args)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.outer.recv(_CHUNK)
                if data:
                    self._in.write(data)
                else:
                    self._in.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        self._unsent += self._out.read()
        while self._unsent:
            self._unsent = self._unsent[self.outer.send(self._unsent) :]

    def recv(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        try:
            return self._run(self._tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def send(self, data: Any) -> int:
        """Write bytes. What the outer socket did not take yet goes first next time."""
        self._flush()
        sent = self._tls.write(bytes(data[:_CHUNK]))
        try:
            self._flush()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass  # they are ours now
        return sent

    def flush(self) -> None:
        """Send them. Raises ssl.SSLWantWriteError if there is no room."""
        self._flush()

    def shutdown(self, how: int) -> None:
        """Shut down the TCP connection."""
        socket.socket.shutdown(self.outer, how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.outer, name)
