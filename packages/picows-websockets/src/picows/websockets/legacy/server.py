"""The server: `serve`, and the protocol of one connection, whose methods are the hooks of the opening handshake."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import http
import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Union, cast

from picows.transports import listen

from ..datastructures import Headers, HeadersLike
from ..exceptions import InvalidHandshake, InvalidMessage
from ..extensions.base import ServerExtensionFactory
from ..extensions.permessage_deflate import enable_server_permessage_deflate
from ..frames import CloseCode
from ..headers import validate_subprotocols
from ..http11 import SERVER as SERVER
from ..typing import LoggerLike, Origin, StatusLike, Subprotocol
from ._deprecated import deprecate, old_arguments
from ._deprecated import remove_path_argument as remove_path_argument
from ._listening import WebSocketServer
from ._negotiation import Negotiation
from ._refusals import explain
from .exceptions import AbortHandshake
from .handshake import build_response, check_request
from .http import read_request
from .protocol import WebSocketCommonProtocol
from .protocol import broadcast as broadcast

__all__ = ["broadcast", "serve", "unix_serve", "WebSocketServerProtocol", "WebSocketServer"]

HTTPResponse = tuple[StatusLike, HeadersLike, bytes]
HeadersLikeOrCallable = Union[HeadersLike, Callable[[str, Headers], HeadersLike]]
Handler = Union[
    Callable[["WebSocketServerProtocol"], Awaitable[Any]], Callable[["WebSocketServerProtocol", str], Awaitable[Any]]
]


class WebSocketServerProtocol(Negotiation, WebSocketCommonProtocol):
    """A server's side of a connection; handlers get it.

    Args:
        ws_handler: called with the connection, and with its path if it wants two arguments, which is deprecated.
        ws_server: the server that accepted it.
        logger: `logging.getLogger("websockets.server")` by default.
        origins: which Origin headers are accepted, None for requests without; all by default.
        extensions: to negotiate, in order of preference.
        subprotocols: to negotiate, in order of preference.
        extra_headers: added to the response; a function gets path and headers of the request, and returns them.
        server_header: of the response; None for none.
        process_request: called with path and headers of the request; may return status, headers and body of a response
            to send instead of accepting.
        select_subprotocol: called with the client's subprotocols and ours, to choose one.
        open_timeout: seconds that a client may take for the handshake; None for ever.
        kwargs: for WebSocketCommonProtocol.
    """

    is_client = False
    side = "server"
    handler_task: asyncio.Task[None]

    def __init__(
        self,
        ws_handler: Handler,
        ws_server: WebSocketServer,
        *,
        logger: LoggerLike | None = None,
        origins: Sequence[Origin | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLikeOrCallable | None = None,
        server_header: str | None = SERVER,
        process_request: Callable[[str, Headers], Awaitable[HTTPResponse | None]] | None = None,
        select_subprotocol: Callable[[Sequence[Subprotocol], Sequence[Subprotocol]], Subprotocol] | None = None,
        open_timeout: float | None = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(logger=logging.getLogger("websockets.server") if logger is None else logger, **kwargs)
        self.ws_handler = remove_path_argument(ws_handler)
        self.ws_server = ws_server
        if origins is not None and "" in origins:
            deprecate("use None instead of '' in origins")
            origins = [None if origin == "" else origin for origin in origins]
        self.origins = origins
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self.extra_headers = extra_headers
        self.server_header = server_header
        self._process_request = process_request
        self._select_subprotocol = select_subprotocol
        self.open_timeout = open_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self.ws_server.register(self)
        self.handler_task = self.loop.create_task(self.handler())

    async def handler(self) -> None:
        """The life of the connection: opening handshake, `ws_handler`, closing handshake."""
        try:
            if await self._is_accepted():
                await self._handle()
        except Exception:
            self.logger.error("unexpected internal error", exc_info=True)
            await self.close_transport()
        finally:
            # An application may wait for this with the server: the connection is over when it is not registered.
            self.ws_server.unregister(self)
            self.logger.info("connection closed")

    async def _is_accepted(self) -> bool:
        try:
            async with asyncio.timeout(self.open_timeout):
                await self.handshake(
                    origins=self.origins,
                    available_extensions=self.available_extensions,
                    available_subprotocols=self.available_subprotocols,
                    extra_headers=self.extra_headers,
                )
        except (TimeoutError, ConnectionError):
            pass
        except Exception as exc:
            if not isinstance(exc, InvalidHandshake):
                self.logger.error("opening handshake failed", exc_info=True)
            self._refuse(*explain(exc))
        if self._link is None:
            await self.close_connection()
        return self._link is not None

    async def _handle(self) -> None:
        try:
            await self.ws_handler(self)
        except Exception:
            self.logger.error("connection handler failed", exc_info=True)
            self.fail_connection(CloseCode.INTERNAL_ERROR)
            await self.wait_closed()
        else:
            await self.close()

    def _refuse(self, status: http.HTTPStatus, headers: Headers, body: bytes) -> None:
        self._complete(headers)
        headers.setdefault("Content-Length", str(len(body)))
        headers.setdefault("Content-Type", "text/plain")
        headers.setdefault("Connection", "close")
        self.write_http_response(status, headers, body)
        self.logger.info("connection rejected (%d %s)", status.value, status.phrase)

    def _complete(self, headers: Headers) -> None:
        headers.setdefault("Date", email.utils.formatdate(usegmt=True))
        if self.server_header is not None:
            headers.setdefault("Server", self.server_header)

    # The steps of the handshake, which a subclass may override

    async def read_http_request(self) -> tuple[str, Headers]:
        """Wait for the request: path and headers. Raises InvalidMessage if it is none."""
        try:
            path, headers = await read_request(self.reader)
        except Exception as exc:
            raise InvalidMessage("did not receive a valid HTTP request") from exc
        self._log_head("<", f"GET {path} HTTP/1.1", headers)
        self.path = path
        self.request_headers = headers
        return path, headers

    def write_http_response(self, status: http.HTTPStatus, headers: Headers, body: bytes | None = None) -> None:
        """Send a response."""
        start_line = f"HTTP/1.1 {status.value} {status.phrase}"
        self._log_head(">", start_line, headers)
        if body is not None and self.debug:
            self.logger.debug("> [body] (%d bytes)", len(body))
        self.response_headers = headers
        self.transport.write(f"{start_line}\r\n".encode() + headers.serialize() + (body or b""))

    async def process_request(self, path: str, request_headers: Headers) -> HTTPResponse | None:
        """Look at the request.

        Args:
            path: with its query.
            request_headers: of the request.

        Returns:
            None to go on; or status, headers and body of a response to send instead.
        """
        if self._process_request is None:
            return None
        response = self._process_request(path, request_headers)
        if isinstance(response, Awaitable):
            return await response
        deprecate("declare process_request as a coroutine")
        return cast("HTTPResponse | None", response)

    async def handshake(
        self,
        origins: Sequence[Origin | None] | None = None,
        available_extensions: Sequence[ServerExtensionFactory] | None = None,
        available_subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLikeOrCallable | None = None,
    ) -> str:
        """Wait for the request, accept it, and open the connection.

        Args:
            origins: as for the class; likewise extra_headers.
            available_extensions: the `extensions` of the class.
            available_subprotocols: the `subprotocols` of the class.
            extra_headers: see the class.

        Returns:
            The path.

        Raises:
            InvalidHandshake: the request is not acceptable; which of the subclasses, says why.
        """
        path, request_headers = await self.read_http_request()
        answer: Any = self.process_request(path, request_headers)
        if isinstance(answer, Awaitable):
            answer = await answer
        else:
            deprecate("declare process_request as a coroutine")
        if self.closed:
            raise ConnectionResetError("the client has gone during the opening handshake")
        if not self.ws_server.is_serving():
            answer = http.HTTPStatus.SERVICE_UNAVAILABLE, [], b"Server is shutting down.\n"
        if answer is not None:
            raise AbortHandshake(*answer)
        key = check_request(request_headers)
        self.origin = self.process_origin(request_headers, origins)
        extensions, self.extensions = self.process_extensions(request_headers, available_extensions)
        self.subprotocol = self.process_subprotocol(request_headers, available_subprotocols)
        headers = Headers()
        build_response(headers, key)
        if extensions is not None:
            headers["Sec-WebSocket-Extensions"] = extensions
        if self.subprotocol is not None:
            headers["Sec-WebSocket-Protocol"] = self.subprotocol
        if callable(extra_headers):
            extra_headers = extra_headers(path, request_headers)
        if extra_headers is not None:
            headers.update(extra_headers)
        self._complete(headers)
        self.write_http_response(http.HTTPStatus.SWITCHING_PROTOCOLS, headers)
        self.logger.info("connection open")
        await self._end_handshake()
        return path


class Serve:
    """Serve connections: await this, or use it as a context manager, which closes the server.

    Args:
        ws_handler: called with each connection, which is closed when it returns.
        host: as for the event loop's `create_server`.
        port: the same.
        create_protocol: a subclass of WebSocketServerProtocol, or a function that makes one.
        logger: `logging.getLogger("websockets.server")` by default.
        compression: "deflate" adds permessage-deflate to the extensions; None does not.
        origins: as for WebSocketServerProtocol; likewise the other arguments.
        extensions: see WebSocketServerProtocol.
        subprotocols: see WebSocketServerProtocol.
        extra_headers: see WebSocketServerProtocol.
        server_header: see WebSocketServerProtocol.
        process_request: see WebSocketServerProtocol.
        select_subprotocol: see WebSocketServerProtocol.
        open_timeout: see WebSocketServerProtocol.
        ping_interval, ping_timeout, close_timeout: see WebSocketCommonProtocol.
        max_size, max_queue, read_limit, write_limit: see WebSocketCommonProtocol.
        kwargs: for the event loop's `create_server`: `ssl`, `sock`, `reuse_port`, `start_serving` and others.
            Deprecated: `klass` for create_protocol, `timeout` for close_timeout, `loop`, `legacy_recv`.

    Attributes:
        ws_server: what awaiting returns.
    """

    def __init__(
        self,
        ws_handler: Handler,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        create_protocol: Callable[..., WebSocketServerProtocol] | None = None,
        logger: LoggerLike | None = None,
        compression: str | None = "deflate",
        origins: Sequence[Origin | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        extra_headers: HeadersLikeOrCallable | None = None,
        server_header: str | None = SERVER,
        process_request: Callable[[str, Headers], Awaitable[HTTPResponse | None]] | None = None,
        select_subprotocol: Callable[[Sequence[Subprotocol], Sequence[Subprotocol]], Subprotocol] | None = None,
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
        if compression == "deflate":
            extensions = enable_server_permessage_deflate(extensions)
        elif compression is not None:
            raise ValueError(f"unsupported compression: {compression}")
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.ws_server = WebSocketServer(logger)
        self._where: Any = host, port
        self._factory = functools.partial(
            WebSocketServerProtocol if create_protocol is None else create_protocol,
            remove_path_argument(ws_handler),
            self.ws_server,
            host=host,
            port=port,
            secure=kwargs.get("ssl") is not None,
            open_timeout=open_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            close_timeout=close_timeout,
            max_size=max_size,
            max_queue=max_queue,
            read_limit=read_limit,
            write_limit=write_limit,
            loop=self._loop,
            legacy_recv=kwargs.pop("legacy_recv", False),
            origins=origins,
            extensions=extensions,
            subprotocols=subprotocols,
            extra_headers=extra_headers,
            server_header=server_header,
            process_request=process_request,
            select_subprotocol=select_subprotocol,
            logger=logger,
        )
        self._kwargs = kwargs

    async def __await_impl__(self) -> WebSocketServer:
        loop = asyncio.get_running_loop() if self._loop is None else self._loop
        kwargs = dict(self._kwargs)
        if kwargs.pop("unix", False):
            server = await listen(loop, "create_unix_server", False, self._factory, **kwargs)
        else:
            host, port = self._where
            server = await listen(loop, "create_server", False, self._factory, host, port, **kwargs)
        self.ws_server.wrap(server)
        return self.ws_server

    def __await__(self) -> Generator[Any, None, WebSocketServer]:
        return self.__await_impl__().__await__()

    async def __aenter__(self) -> WebSocketServer:
        return await self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ws_server.close()
        await self.ws_server.wait_closed()


serve = Serve


def unix_serve(
    ws_handler: Handler,
    path: str | None = None,
    **kwargs: Any,
) -> Serve:
    """Serve connections on a Unix socket.

    Args:
        ws_handler: as for `serve`.
        path: of the socket.
        kwargs: as for `serve`.
    """
    return serve(ws_handler, path=path, unix=True, **kwargs)


# Where `help` and `pickle` find them.
WebSocketServer.__module__ = remove_path_argument.__module__ = __name__
