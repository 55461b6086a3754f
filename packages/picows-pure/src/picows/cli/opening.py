"""From the options that `connect` and `bench` share to an open connection."""

from __future__ import annotations

import argparse
import ssl
from typing import Any, Callable, Dict, Optional, Tuple

from ..client import ws_connect
from .faults import Failure


def connection_arguments(options: argparse.Namespace) -> Dict[str, Any]:
    """The arguments of `ws_connect`, but for the listener's factory.

    Raises:
        Failure: the file of authorities cannot be used.
    """
    headers = list(options.header)
    if options.subprotocol:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(options.subprotocol)))
    return {
        "url": options.url,
        "ssl_context": _tls(options),
        "extra_headers": headers,
        "proxy": options.proxy,
        "websocket_handshake_timeout": options.timeout,
    }


async def open_connection(arguments: Dict[str, Any], factory: Callable[..., Any]) -> Tuple[Any, Any]:
    """Connect. Returns the transport and the listener."""
    return await ws_connect(factory, **arguments)


def _tls(options: argparse.Namespace) -> Optional[ssl.SSLContext]:
    if options.insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if options.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except ssl.SSLError:
        raise Failure(f"--ca-file {options.ca_file} holds no certificate in PEM") from None
    except OSError as exc:
        raise Failure(f"--ca-file {options.ca_file} cannot be read: {exc.strerror}") from None
