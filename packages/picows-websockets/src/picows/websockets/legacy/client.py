"""The client: `connect`, and the protocol whose handshake it makes."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import random
import traceback
import urllib.parse
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, cast

from picows.url import tls_name

from .._redirects import without_credentials
from ..client import ClientProtocol
from ..datastructures import Headers, HeadersLike
from ..exceptions import InvalidHeader, InvalidHeaderValue, InvalidMessage, SecurityError
from ..extensions.base import ClientExtensionFactory, Extension
from ..extensions.permessage_deflate import enable_client_permessage_deflate
from ..headers import (
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    validate_subprotocols,
)
from ..http11 import USER_AGENT as USER_AGENT
from ..typing import LoggerLike, Origin, Subprotocol
from ..uri import WebSocketURI, parse_uri
from ._deprecated import old_arguments
from .exceptions import InvalidStatusCode, RedirectHandshake
from .handshake import build_request, check_response
from .http import read_response
from .protocol import WebSocketCommonProtocol

__all__ = ["connect", "unix_connect", "WebSocketClientProtocol"]

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
#: Of what our Sans-I/O client is asked, nothing depends on where it connects.
_ANYWHERE = WebSocketURI(False, "localhost", 80, "/", "")


class WebSocketClientProtocol(WebSocketCommonProtocol):
    """A client's side of a connection; `connect` returns it.

    Args:
        logger: `logging.getLogger("websockets.client")` by default.
        origin: value of the Origin header.
        extensions: offered, in order.
        subprotocols: offered, in order.
        extra_headers: added to the request.
        user_agent_header: of the request, unless `extra_headers` have one; None for none.
        kwargs: for WebSocketCommonProtocol.
    """

    is_client = True
    side = "client"

    def __init__(
        self,
        *,
        logger: LoggerLike | None = None,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        **kwargs: Any,
    ) -> None:
        super().__init__(logger=logging.getLogger("websockets.client") if logger is None else logger, **kwargs)
        self.origin = origin
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self.extra_headers = extra_headers
        self.user_agent_header = user_agent_header

    def write_http_request(self, path: str, headers: Headers) -> None:
        """Send the request."""
        self.path = path
        self.request_headers = headers
        self._log_head(">", f"GET {path} HTTP/1.1", headers)
        self.transport.write(f"GET {path} HTTP/1.1\r\n".encode() + headers.serialize())

    async def read_http_response(self) -> tuple[int, Headers]:
        """Wait for the response: status and headers. Raises InvalidMessage if it is none."""
        try:
            status, reason, headers = await read_response(self.reader)
        except Exception as exc:
            raise InvalidMessage("did not receive a valid HTTP response") from exc
        self._log_head("<", f"HTTP/1.1 {status} {reason}", headers)
        self.response_headers = headers
        return status, headers

    @staticmethod
    def process_extensions(
        headers: Headers, available_extensions: Sequence[ClientExtensionFactory] | None
    ) -> list[Extension]:
        """The extensions that a response accepts.

        Args:
            headers: of the response.
            available_extensions: what was offered.

        Raises:
            NegotiationError: one of them was not offered, or not like that.
        """
        return ClientProtocol(_ANYWHERE, extensions=available_extensions).process_extensions(headers)

    @staticmethod
    def process_subprotocol(
        headers: Headers, available_subprotocols: Sequence[Subprotocol] | None
    ) -> Subprotocol | None:
        """The subprotocol that a response chose, or None.

        Args:
            headers: of the response.
            available_subprotocols: what was offered.

        Raises:
            NegotiationError: it was not offered.
        """
        try:
            return ClientProtocol(_ANYWHERE, subprotocols=available_subprotocols).process_subprotocol(headers)
        except InvalidHeader as exc:
            raise InvalidHeaderValue(exc.name, exc.value) from None

    async def handshake(
        self,
        wsuri: WebSocketURI,
        origin: Origin | None = None,
        available_extensions: Sequence[ClientExtensionFactory] | None = None,
        available_subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLike | None = None,
    ) -> None:
        """Send the request, wait for the response, and open the connection. `connect` does that.

        Args:
            wsuri: where to.
            origin: as for the class; likewise extra_headers.
            available_extensions: the `extensions` of the class.
            available_subprotocols: the `subprotocols` of the class.
            extra_headers: see the class.

        Raises:
            InvalidHandshake: the server refused, or answered with something else.
        """
        headers = Headers()
        headers["Host"] = build_host(wsuri.host, wsuri.port, wsuri.secure)
        if wsuri.user_info is not None:
            headers["Authorization"] = build_authorization_basic(*wsuri.user_info)
        if origin is not None:
            headers["Origin"] = origin
        key = build_request(headers)
        if available_extensions is not None:
            offers = [(factory.name, factory.get_request_params()) for factory in available_extensions]
            headers["Sec-WebSocket-Extensions"] = build_extension(offers)
        if available_subprotocols is not None:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(available_subprotocols)
        if self.extra_headers is not None:
            headers.update(self.extra_headers)
        if self.user_agent_header is not None:
            headers.setdefault("User-Agent", self.user_agent_header)
        self.write_http_request(wsuri.resource_name, headers)
        status, answer = await self.read_http_response()
        if status in _REDIRECTS:
            if "Location" not in answer:
                raise InvalidHeader("Location")
            raise RedirectHandshake(answer["Location"])
        if status != 101:
            raise InvalidStatusCode(status, answer)
        check_response(answer, key)
        self.extensions = self.process_extensions(answer, available_extensions)
        self.subprotocol = self.process_subprotocol(answer, available_subprotocols)
        await self._end_handshake()


class Connect:
    """Connect to a server: await this, use it as a context manager, or iterate over it to connect again and again.

    Args:
        uri: ws:// or wss://.
        create_protocol: a subclass of WebSocketClientProtocol, or a function that makes one.
        logger: `logging.getLogger("websockets.client")` by default.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        origin: as for WebSocketClientProtocol; likewise the other arguments.
        extensions: see WebSocketClientProtocol.
        subprotocols: see WebSocketClientProtocol.
        extra_headers: see WebSocketClientProtocol.
        user_agent_header: see WebSocketClientProtocol.
        open_timeout: seconds that opening may take; None for ever.
        ping_interval, ping_timeout, close_timeout: see WebSocketCommonProtocol.
        max_size, max_queue, read_limit, write_limit: see WebSocketCommonProtocol.
        kwargs: for the event loop's `create_connection`: `ssl`, `host`, `port`, `sock` and others. Deprecated:
            `klass` for create_protocol, `timeout` for close_timeout, `loop`, `legacy_recv`.

    Raises:
        InvalidURI: the URI.
        ValueError, TypeError: arguments do not fit together.
        OSError: the network.
        InvalidHandshake: the server refused, or answered with something else.
        TimeoutError: opening took too long.
    """

    MAX_REDIRECTS_ALLOWED = int(os.environ.get("WEBSOCKETS_MAX_REDIRECTS", "10"))
    #: Seconds between attempts in `async for`: the first wait is random up to BACKOFF_INITIAL.
    BACKOFF_INITIAL = 5.0
    BACKOFF_MIN = float(os.environ.get("WEBSOCKETS_BACKOFF_MIN_DELAY", "3.1"))
    BACKOFF_MAX = float(os.environ.get("WEBSOCKETS_BACKOFF_MAX_DELAY", "90.0"))
    BACKOFF_FACTOR = float(os.environ.get("WEBSOCKETS_BACKOFF_FACTOR", "1.618"))

    def __init__(
        self,
        uri: str,
        *,
        create_protocol: Callable[..., WebSocketClientProtocol] | None = None,
        logger: LoggerLike | None = None,
        compression: str | None = "deflate",
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = None,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        **kwargs: Any,
    ) -> None:
        create_protocol, close_timeout, self._loop = old_arguments(create_protocol, close_timeout, kwargs)
        legacy_recv = kwargs.pop("legacy_recv", False)
        self._wsuri = parse_uri(uri)
        self._uri = uri
        if not self._wsuri.secure and kwargs.get("ssl") is not None:
            raise ValueError("connect() received a ssl argument for a ws:// URI, use a wss:// URI to enable TLS")
        if compression == "deflate":
            extensions = enable_client_permessage_deflate(extensions)
        elif compression is not None:
            raise ValueError(f"unsupported compression: {compression}")
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.open_timeout = open_timeout
        self.logger: LoggerLike = logging.getLogger("websockets.client") if logger is None else logger
        self._kwargs = kwargs
        self._factory = functools.partial(
            WebSocketClientProtocol if create_protocol is None else create_protocol,
            logger=logger,
            origin=origin,
            extensions=extensions,
            subprotocols=subprotocols,
            extra_headers=extra_headers,
            user_agent_header=user_agent_header,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_size=max_size,
            max_queue=max_queue,
            read_limit=read_limit,
            write_limit=write_limit,
            legacy_recv=legacy_recv,
            loop=self._loop,
        )

    def handle_redirect(self, uri: str) -> None:
        """Connect to another URI next.

        Args:
            uri: absolute, or relative to the current one.

        Raises:
            InvalidURI: it is none.
            SecurityError, ValueError: it must not be followed.
        """
        old, kwargs = self._wsuri, self._kwargs
        uri = urllib.parse.urljoin(self._uri, uri)
        new = parse_uri(uri)
        if old.secure and not new.secure:
            raise SecurityError("redirect from WSS to WS")
        if kwargs.get("sock") is not None:
            raise ValueError(f"cannot follow redirect to {uri} with a preexisting socket")
        if (old.secure, old.host, old.port) != (new.secure, new.host, new.port):
            if kwargs.get("unix"):
                raise ValueError(f"cannot follow cross-origin redirect to {uri} with a Unix socket")
            kwargs.pop("host", None)
            kwargs.pop("port", None)
            options = self._factory.keywords
            options["extra_headers"] = without_credentials(options["extra_headers"])
        self._wsuri, self._uri = new, uri

    async def _open(self) -> WebSocketClientProtocol:
        loop = asyncio.get_running_loop() if self._loop is None else self._loop
        uri = self._wsuri
        kwargs = dict(self._kwargs)
        if uri.secure:
            kwargs.setdefault("ssl", True)
        factory = functools.partial(self._factory, host=uri.host, port=uri.port, secure=uri.secure)
        is_unix = kwargs.pop("unix", False)
        if is_unix or kwargs.get("sock") is not None:
            if kwargs.get("ssl"):
                kwargs.setdefault("server_hostname", tls_name(uri.host))
            create = loop.create_unix_connection if is_unix else loop.create_connection
            _, protocol = await create(factory, **kwargs)
        else:
            if kwargs.get("ssl") and "host" not in kwargs:
                kwargs.setdefault("server_hostname", tls_name(uri.host))
            kwargs.setdefault("host", uri.host)
            kwargs.setdefault("port", uri.port)
            _, protocol = await loop.create_connection(factory, **kwargs)
        return cast(WebSocketClientProtocol, protocol)

    async def __await_impl__(self) -> WebSocketClientProtocol:
        async with asyncio.timeout(self.open_timeout):
            for _ in range(self.MAX_REDIRECTS_ALLOWED):
                protocol = await self._open()
                try:
                    await protocol.handshake(
                        self._wsuri,
                        origin=protocol.origin,
                        available_extensions=protocol.available_extensions,
                        available_subprotocols=protocol.available_subprotocols,
                        extra_headers=protocol.extra_headers,
                    )
                except RedirectHandshake as exc:
                    await _give_up(protocol)
                    self.handle_redirect(exc.uri)
                except BaseException:
                    await _give_up(protocol)
                    raise
                else:
                    self.protocol = protocol
                    return protocol
            raise SecurityError("too many redirects")

    def __await__(self) -> Generator[Any, None, WebSocketClientProtocol]:
        return self.__await_impl__().__await__()

    async def __aenter__(self) -> WebSocketClientProtocol:
        return await self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.protocol.close()

    async def __aiter__(self) -> AsyncIterator[WebSocketClientProtocol]:
        delays = self._delays()
        while True:
            try:
                protocol = await self
            except Exception as exc:
                words, delay = next(delays)
                reason = traceback.format_exception_only(exc)[0].strip()
                self.logger.info(f"{words}: %s", delay, reason)
                await asyncio.sleep(delay)
                continue
            delays = self._delays()
            try:
                yield protocol
            finally:
                await protocol.close()

    def _delays(self) -> Generator[tuple[str, float]]:
        """Seconds between attempts, and how the log says it. The first are random, so that clients spread out."""
        yield "connect failed; reconnecting in %.1f seconds", random.random() * self.BACKOFF_INITIAL
        delay = self.BACKOFF_MIN
        while True:
            delay = min(delay * self.BACKOFF_FACTOR, self.BACKOFF_MAX)
            yield "connect failed again; retrying in %d seconds", int(delay)


connect = Connect


def unix_connect(path: str | None = None, uri: str = "ws://localhost/", **kwargs: Any) -> Connect:
    """Connect to a server that listens on a Unix socket.

    Args:
        path: of the socket.
        uri: whose host is what the server is asked for; wss:// for TLS.
        kwargs: as for `connect`.
    """
    return connect(uri=uri, path=path, unix=True, **kwargs)


async def _give_up(protocol: WebSocketClientProtocol) -> None:
    """Nobody will use this connection."""
    protocol.transport.abort()
    await protocol.wait_closed()
