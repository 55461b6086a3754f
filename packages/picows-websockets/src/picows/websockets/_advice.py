"""What to do about a connection that could not be opened: the sentence that the command adds to the error's own."""

from __future__ import annotations

import errno
import socket
import ssl

from ..cli.hops import EXPIRED, MISMATCH, STATUS_HINTS
from .exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)

_PROXY = "the proxy that the environment names (https_proxy, socks_proxy ...)"
_STATUS = {
    **{status: f"{hint[0].upper()}{hint[1:]}." for status, hint in STATUS_HINTS.items()},
    401: "Give credentials: ws://USER:PASSWORD@HOST/PATH.",  # without our options
    403: "It may want credentials or another origin.",
    404: "Check the path.",
}


def advice(exc: Exception, uri: str) -> str:
    """One sentence, or nothing where there is nothing to advise.

    Args:
        exc: what `connect` raised.
        uri: where to.
    """
    is_secure = uri.lower().startswith("wss:")
    if isinstance(exc, InvalidURI):
        return "Write ws://HOST[:PORT]/PATH, or wss:// for TLS."
    if isinstance(exc, InvalidProxy):
        return f"Correct {_PROXY}."
    if isinstance(exc, InvalidHandshake):
        return _handshake(exc, is_secure)
    if isinstance(exc, TimeoutError):
        return f"Check host and port, and {_PROXY}."
    if isinstance(exc, ssl.SSLCertVerificationError):
        return _certificate(exc)
    if isinstance(exc, OSError):
        return _network(exc, is_secure)
    return ""


def _handshake(exc: InvalidHandshake, is_secure: bool) -> str:
    if isinstance(exc, InvalidStatus):
        return _STATUS.get(exc.response.status_code, "Is it a WebSocket server, and the path right?")
    if isinstance(exc, InvalidProxyStatus) and exc.response.status_code == 407:
        return f"Give credentials to {_PROXY}: http://USER:PASSWORD@HOST:PORT."
    if isinstance(exc, ProxyError):
        return f"Check {_PROXY}, and host and port."
    if isinstance(exc, InvalidMessage):
        other = "It may want a certificate of yours." if is_secure else "It may want wss://."
        return f"Is it a WebSocket server? {other}"
    return "Is it a WebSocket server?"


def _certificate(exc: ssl.SSLCertVerificationError) -> str:
    if exc.verify_code in MISMATCH:
        return "Connect with the name that is in the certificate, or, only for a test, --insecure."
    if exc.verify_code in EXPIRED:
        return "Check the certificate, and this machine's clock."
    return "Name its authority in SSL_CERT_FILE, or, only for a test, --insecure."


def _network(exc: OSError, is_secure: bool) -> str:
    if isinstance(exc, ssl.SSLError):
        return "For a server without TLS write ws://." if is_secure else f"Check {_PROXY}."
    if isinstance(exc, socket.gaierror):
        return "Check the spelling of the host's name, and your network."
    # With several addresses asyncio joins their errors in a text, and gives the sum no errno.
    if exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc):
        return "Nothing listens there: correct host or port."
    if isinstance(exc, ConnectionError) and is_secure:
        return "Is it a TLS server? It may want a certificate of yours."
    return "See the server's log." if isinstance(exc, ConnectionError) else "Check host, port and your network."
