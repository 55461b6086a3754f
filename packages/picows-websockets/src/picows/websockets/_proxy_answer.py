"""What proxies answer, for clients that read it from a socket themselves."""

from __future__ import annotations

from .exceptions import InvalidProxyMessage, InvalidProxyStatus
from .http11 import Response
from .streams import StreamReader

#: Scheme to whether the target's name is resolved by the proxy.
SOCKS_RESOLVES = {"socks4": False, "socks4a": True, "socks5": False, "socks5h": True}


class ProxyAnswer:
    """Reads the response to CONNECT. What comes after it is dropped: the server speaks second."""

    def __init__(self) -> None:
        self._reader = StreamReader()
        reader = self._reader
        self._parser = Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True)
        next(self._parser)

    def feed(self, data: bytes) -> bool:
        """Add bytes; b"" at the end of the stream.

        Returns:
            Whether the proxy has accepted; False if more bytes are needed.

        Raises:
            InvalidProxyStatus: the proxy refuses.
            InvalidProxyMessage: this is not HTTP.
        """
        try:
            if data:
                self._reader.feed_data(data)
            else:
                self._reader.feed_eof()
            next(self._parser)
        except StopIteration as stop:
            response: Response = stop.value
        except Exception as exc:
            raise InvalidProxyMessage("did not receive a valid HTTP response from proxy") from exc
        else:
            return False
        if not 200 <= response.status_code < 300:
            raise InvalidProxyStatus(response)
        return True
