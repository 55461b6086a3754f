"""From the options that `connect` and `bench` share to an open connection, or a line that says why there is none."""

from __future__ import annotations

import argparse
import logging
from typing import Any, Callable, Dict, Tuple

from ..client import ws_connect
from ..proxy import check_proxy
from ..url import WSParsedURL, parse_url
from .faults import Failure
from .hops import Way, explain_opening
from .tls import client_context

#: The library warns of what is no news here: a load fills buffers, and how a connection ended is said in one line.
_LOGGER = logging.Logger("picows.cli", logging.CRITICAL)


def connection_arguments(options: argparse.Namespace) -> Dict[str, Any]:
    """The arguments of `ws_connect`, but for the listener's factory.

    Raises:
        Failure: a file of --ca-file, --cert or --key cannot be used, or --proxy is wrong.
    """
    headers = list(options.header)
    if options.subprotocol:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(options.subprotocol)))
    try:
        proxy = check_proxy(options.proxy)
    except ValueError as exc:
        raise Failure(f"--proxy: {exc}. Write http://HOST:PORT or socks5://HOST:PORT") from None
    context = client_context(options)
    return {
        "url": options.url,
        "ssl_context": context,
        "extra_headers": headers,
        "proxy": options.proxy,
        "proxy_ssl_context": context if proxy is not None and proxy.scheme == "https" else None,
        "websocket_handshake_timeout": options.timeout,
        "logger_name": _LOGGER,
    }


async def open_connection(arguments: Dict[str, Any], factory: Callable[..., Any]) -> Tuple[Any, Any]:
    """Connect. Returns the transport and the listener.

    Raises:
        Failure: says what is wrong, and where: at the server, where it redirects to, or at the proxy.
    """
    way = Way(timeout_s=arguments["websocket_handshake_timeout"], is_proxied=arguments["proxy"] is not None)

    def take_note(url: WSParsedURL) -> None:
        way.hop = url

    try:
        way.target = parse_url(arguments["url"])
        return await ws_connect(factory, socket_factory=take_note, **arguments)
    except Exception as exc:
        sentence = explain_opening(exc, way)
        if sentence is None:
            raise
        raise Failure(sentence) from exc
