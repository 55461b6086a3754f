"""What went wrong, in one line that says what to do.

Exceptions of the library say what was received and what is allowed; at the keyboard one wants to know which option to
change. What is not explained here is a bug, and keeps its traceback.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import socket
import ssl
from typing import Any, Optional

from ..errors import WSConnectionClosed, WSError, WSHandshakeEOFError, WSInvalidStatusError, WSInvalidURL
from ..url import WSParsedURL, parse_url
from .words import escaped

_MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH of OpenSSL
_EXPIRED = (9, 10)  # not yet, and no longer, valid


class Failure(Exception):
    """A failure that explains itself. Its text is one line.

    Attributes:
        code: the exit code.
    """

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def need(module: str, what: str, install: str = "picows-pure[cli]") -> Any:
    """Import an optional package, or fail with what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        missing = exc.name or module
        raise Failure(f"{what} needs {missing}, which is not installed: pip install '{install}'") from None


def explain(exc: BaseException, url: Optional[str] = None, timeout_s: Optional[float] = None) -> Optional[str]:
    """One line about an exception, or None where it has no explanation.

    Args:
        exc: what was raised.
        url: what was connected to, where something was.
        timeout_s: how long that was allowed to take.
    """
    if isinstance(exc, Failure):
        return str(exc)
    if isinstance(exc, WSInvalidURL):
        return escaped(f"{exc}. Write ws://HOST[:PORT]/PATH, or wss:// for TLS")
    server = _server(url)
    where = server.host_header if server else "the server"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return escaped(_certificate(exc, server))
    if isinstance(exc, (asyncio.TimeoutError, TimeoutError)):
        limit = f" within {timeout_s:g} s" if timeout_s is not None else ""
        return f"{where} did not answer{limit}: check host and port, or wait longer with --timeout"
    if isinstance(exc, ssl.SSLError):
        return f"{where} does not speak TLS with us ({exc.reason or exc}): for a server without TLS write ws://"
    if isinstance(exc, WSConnectionClosed):
        return escaped(f"the server closed: {exc}")
    if isinstance(exc, WSError):
        return escaped(_handshake(exc, where, server))
    if isinstance(exc, OSError):
        return _network(exc, where, server)
    if type(exc).__module__.startswith("python_socks"):
        return escaped(f"the proxy refused: {exc}. Check --proxy and its credentials")
    if isinstance(exc, ValueError):
        return escaped(str(exc))  # an option that the library refuses: a header with a newline, say
    return None


def _server(url: Optional[str]) -> Optional[WSParsedURL]:
    try:
        return parse_url(url) if url is not None else None
    except ValueError:
        return None


def _certificate(exc: ssl.SSLCertVerificationError, server: Optional[WSParsedURL]) -> str:
    host = server.host if server else "the host"
    if exc.verify_code in _MISMATCH:
        return (
            f"the certificate is not for {host}: connect with the name that is in it, or, only for a test, --insecure"
        )
    if exc.verify_code in _EXPIRED:
        return f"the certificate of {host} is not valid now ({exc.verify_message}): check it, and this machine's clock"
    return (
        f"the certificate of {host} is not trusted ({exc.verify_message}):"
        " give its authority with --ca-file, or, only for a test, --insecure"
    )


def _handshake(exc: WSError, where: str, server: Optional[WSParsedURL]) -> str:
    if isinstance(exc, WSInvalidStatusError) and exc.response is not None:
        status = int(exc.response.status)
        hint = {
            401: "give credentials, in the URL or with --header 'Authorization: ...'",
            403: "it may want credentials or another origin: see --header",
            404: "check the path of the URL",
            426: "it speaks another version of the protocol",
        }.get(status, "is it a WebSocket server, and the path right?")
        return f"{where} refused with status {status}: {hint}"
    if isinstance(exc, WSHandshakeEOFError):
        other = "wss://" if server is None or not server.is_secure else "ws://"
        return f"{where} hung up before it answered: is it a WebSocket server? It may want {other}"
    return f"{where}: {exc}. Is it a WebSocket server?"


def _network(exc: OSError, where: str, server: Optional[WSParsedURL]) -> str:
    if isinstance(exc, socket.gaierror):
        return (
            f"the host name {server.host if server else ''!s} cannot be resolved: check its spelling and your network"
        )
    # With several addresses asyncio joins their errors in a text, and gives the sum no errno.
    if exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc):
        port = f" --port {server.port}" if server else ""
        return f"nothing listens on {where}: correct host or port, or start a server (picows serve{port})"
    if exc.errno in (errno.ECONNRESET, errno.EPIPE):
        return f"the connection to {where} broke: see the server's log"
    if exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{where} cannot be reached from here: check host, network and --proxy"
    return escaped(f"{exc.strerror or exc}{f': {exc.filename}' if exc.filename else ''}")
