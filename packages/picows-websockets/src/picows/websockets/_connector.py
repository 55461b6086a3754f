"""What the clients of the threading and trio APIs have in common that connect again: arguments, and decisions."""

from __future__ import annotations

import logging
import ssl as ssl_module
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, Literal, TypeVar

from ._redirects import MAX_REDIRECTS
from .client import ClientProtocol
from .datastructures import HeadersLike
from .exceptions import SecurityError
from .extensions.base import ClientExtensionFactory
from .extensions.permessage_deflate import enable_client_permessage_deflate
from .headers import validate_subprotocols
from .http11 import Request
from .protocol import CONNECTING
from .typing import LoggerLike, Origin, Subprotocol
from .uri import parse_uri

ConnectionT = TypeVar("ConnectionT")


class BaseConnector(Generic[ConnectionT]):
    """A client. Arguments are those of `connect`.

    Raises:
        ValueError, TypeError: they do not fit together.
        InvalidURI: the URI.
    """

    def __init__(
        self,
        uri: str,
        *,
        ssl: ssl_module.SSLContext | None,
        server_hostname: str | None,
        origin: Origin | None,
        extensions: Sequence[ClientExtensionFactory] | None,
        subprotocols: Sequence[Subprotocol] | None,
        compression: str | None,
        additional_headers: HeadersLike | None,
        user_agent_header: str | None,
        proxy: str | Literal[True] | None,
        proxy_ssl: ssl_module.SSLContext | None,
        proxy_server_hostname: str | None,
        process_exception: Callable[[Exception], Exception | None],
        open_timeout: float | None,
        reconnect_delays: Callable[[], Generator[float]],
        max_size: int | None | tuple[int | None, int | None],
        logger: LoggerLike | None,
        create_connection: Callable[..., ConnectionT],
        connection_kwargs: dict[str, Any],
    ) -> None:
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        if compression == "deflate":
            extensions = enable_client_permessage_deflate(extensions)
        elif compression is not None:
            raise ValueError(f"unsupported compression: {compression}")
        self.uri = uri
        self.ws_uri = parse_uri(uri)
        if not self.ws_uri.secure and ssl is not None:
            raise ValueError("ssl argument is incompatible with a ws:// URI")
        self.ssl = ssl
        self.server_hostname = server_hostname
        self.additional_headers = additional_headers
        self.user_agent_header = user_agent_header
        self.proxy = proxy
        self.proxy_ssl = proxy_ssl
        self.proxy_server_hostname = proxy_server_hostname
        self.process_exception = process_exception
        self.open_timeout = open_timeout
        self.reconnect_delays = reconnect_delays
        self.logger: LoggerLike = logging.getLogger("websockets.client") if logger is None else logger
        self.create_connection = create_connection
        self.protocol_kwargs: dict[str, Any] = {
            "origin": origin,
            "extensions": extensions,
            "subprotocols": subprotocols,
            "max_size": max_size,
        }
        self.connection_kwargs = connection_kwargs
        self.connection: ConnectionT

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Decide whether a failed handshake is a redirect to follow.

        Returns:
            The new URI, or the exception to raise.
        """
        return exc

    def _make_protocol(self) -> ClientProtocol:
        return ClientProtocol(self.ws_uri, state=CONNECTING, logger=self.logger, **self.protocol_kwargs)

    def _tls_context(self) -> ssl_module.SSLContext:
        return self.ssl if isinstance(self.ssl, ssl_module.SSLContext) else ssl_module.create_default_context()

    def _begin(self) -> None:
        """Raises RuntimeError if this is connected already."""
        if hasattr(self, "connection"):
            raise RuntimeError("connect() isn't reentrant")

    def _follow(self, exc: Exception, attempts: int) -> None:
        """Go on to where a failed handshake redirects.

        Raises:
            Exception: it does not, or this may not be followed.
            SecurityError: there were too many attempts.
        """
        redirect = self.process_redirect(exc)
        if redirect is exc:
            raise exc
        if isinstance(redirect, Exception):
            raise redirect from exc
        self.uri, self.ws_uri = redirect, parse_uri(redirect)
        if attempts >= MAX_REDIRECTS:
            raise SecurityError(f"more than {MAX_REDIRECTS} redirects")

    def _decide(self, exc: Exception) -> None:
        """Return if another attempt is to be made after this."""
        try:
            answer = self.process_exception(exc)
        except Exception as raised:
            answer = raised
        if answer is exc:
            raise exc
        if answer is not None:
            raise answer from exc

    def _log_retry(self, exc: Exception, delay: float) -> None:
        reason = traceback.format_exception_only(exc)[0].strip()
        self.logger.info("connect failed; reconnecting in %.1f seconds: %s", delay, reason)


def prepare_request(
    protocol: ClientProtocol, additional_headers: HeadersLike | None, user_agent_header: str | None
) -> Request:
    """The opening request.

    Args:
        protocol: of the client.
        additional_headers: added to the request.
        user_agent_header: unless `additional_headers` have one; None for none.
    """
    request = protocol.connect()
    if additional_headers is not None:
        request.headers.update(additional_headers)
    if user_agent_header is not None:
        request.headers.setdefault("User-Agent", user_agent_header)
    return request


def local_uri(uri: str | None, kwargs: dict[str, Any]) -> str:
    """The URI for a Unix socket.

    Args:
        uri: the user's, if there is one.
        kwargs: the user's; with `ssl` the URI is a secure one.
    """
    if uri is not None:
        return uri
    return "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
