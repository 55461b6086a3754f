"""Why a connection could not be opened, in one line that names the hop that failed and says what to do.

Between the keyboard and an open connection there may be a proxy and redirects. The exception alone does not tell which
of them it came from, so `Way` keeps where we were going last.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import socket
import ssl
from typing import Optional

from ..errors import WSError, WSHandshakeEOFError, WSInvalidStatusError, WSInvalidURL
from ..url import WSParsedURL
from .faults import explain
from .words import escaped

MISMATCH = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH of OpenSSL
EXPIRED = (9, 10)  # not yet, and no longer, valid
_OWN_CERTIFICATE = "it may want a certificate of yours (--cert)"
#: What to do about a status that a server refuses with; `picows.websockets` has no options to name.
STATUS_HINTS = {
    401: "give credentials, in the URL or with --header 'Authorization: ...'",
    403: "it may want credentials or another origin: see --header",
    404: "check the path of the URL",
    426: "a proxy between may take the Upgrade header away, or it speaks another version of the protocol",
    429: "it has had too many requests: wait, and try again",
    500: "see the server's log",
    502: "the gateway does not reach the server behind it",
    503: "it is overloaded or in maintenance: try again later",
    504: "the server behind the gateway does not answer",
    505: "a proxy between may speak HTTP/1.0 with it: it must be told to speak HTTP/1.1",
}


@dataclasses.dataclass
class Way:
    """Where a connection was to go.

    Attributes:
        timeout_s: how long opening it may take.
        is_proxied: there is a proxy.
        target: what the user asked for; None where that is no URL.
        hop: what was connected to last: the target, where it redirects to, or the proxy. None before that.
    """

    timeout_s: float
    is_proxied: bool = False
    target: Optional[WSParsedURL] = None
    hop: Optional[WSParsedURL] = None

    @property
    def peer(self) -> str:
        """Who answered: the server, also through a proxy."""
        if self.target is None:
            return "the server"
        if self.hop is None or self.is_proxied or self.hop.netloc == self.target.netloc:
            return self.target.host_header
        return f"{self.hop.host_header} (redirected there by {self.target.host_header})"

    @property
    def next(self) -> str:
        """Who was connected to."""
        return f"the proxy {self.hop.host_header}" if self.is_proxied and self.hop is not None else self.peer

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken with the one that was connected to."""
        hop = self.hop or self.target
        return hop is not None and (hop.is_secure or hop.scheme == "https")


def explain_opening(exc: Exception, way: Way) -> Optional[str]:
    """One line about why there is no connection, or None where that has no explanation.

    Args:
        exc: what `ws_connect` raised.
        way: where it was going.
    """
    if isinstance(exc, WSInvalidURL):
        return escaped(f"{exc}. Write ws://HOST[:PORT]/PATH, or wss:// for TLS")
    if type(exc).__module__.startswith("python_socks"):
        if isinstance(exc, OSError) and isinstance(exc.__cause__, OSError):
            return _network(exc.__cause__, way, way.next)
        text = f"the {exc}" if str(exc).startswith("proxy ") else f"{way.next} refused: {exc}"
        return escaped(f"{text}. Check --proxy, its credentials, and host and port of the URL")
    if isinstance(exc, ssl.SSLCertVerificationError):
        return escaped(_certificate(exc, way))
    if isinstance(exc, (asyncio.TimeoutError, TimeoutError)):
        through = f" through {way.next}" if way.is_proxied and way.hop is not None else ""
        check = "host, port and --proxy" if way.is_proxied else "host and port"
        return (
            f"{way.peer} did not answer{through} within {way.timeout_s:g} s:"
            f" check {check}, or wait longer with --timeout"
        )
    if isinstance(exc, ssl.SSLError):
        return escaped(_tls(exc, way))
    if isinstance(exc, WSError):
        return escaped(_handshake(exc, way))
    if isinstance(exc, OSError):
        # The proxy of SOCKS4 has us resolve the name of the target, and its own failures are those of python-socks
        is_socks = way.hop is not None and way.hop.scheme.startswith("socks")
        return _network(exc, way, way.peer if is_socks else way.next)
    return explain(exc)


def _certificate(exc: ssl.SSLCertVerificationError, way: Way) -> str:
    hops = (way.target, way.hop) if way.is_proxied else (way.hop or way.target,)
    hosts = dict.fromkeys(hop.host for hop in hops if hop is not None and hop.scheme in ("wss", "https"))
    host = " or of ".join(hosts) or "the server"
    if exc.verify_code in MISMATCH:
        host = host.replace(" or of ", " or for ")
        return (
            f"the certificate is not for {host}: connect with the name that is in it, or, only for a test, --insecure"
        )
    if exc.verify_code in EXPIRED:
        return f"the certificate of {host} is not valid now ({exc.verify_message}): check it, and this machine's clock"
    return (
        f"the certificate of {host} is not trusted ({exc.verify_message}):"
        " give its authority with --ca-file, or, only for a test, --insecure"
    )


def _tls(exc: ssl.SSLError, way: Way) -> str:
    reason = exc.reason or str(exc)
    if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason:
        hint = _OWN_CERTIFICATE
    elif "PROTOCOL" in reason:
        hint = "its versions of TLS are not allowed here: it needs an update"
    else:
        hint = "for a server without TLS write ws://" if not way.is_proxied else "check the scheme of --proxy and URL"
    return f"{way.next} does not speak TLS with us ({reason}): {hint}"


def _handshake(exc: WSError, way: Way) -> str:
    if isinstance(exc, WSInvalidStatusError) and exc.response is not None:
        status = int(exc.response.status)
        hint = STATUS_HINTS.get(status, "is it a WebSocket server, and the path right?")
        if 300 <= status < 400:
            hint = f"it redirects to {exc.response.headers.get('Location')}: connect to that"
        return f"{way.peer} refused with status {status}: {hint}"
    if isinstance(exc, WSHandshakeEOFError):
        hint = _OWN_CERTIFICATE if way.is_secure else "it may want wss://"
        return f"{way.peer} hung up before it answered: is it a WebSocket server? I{hint[1:]}"
    return f"{way.peer}: {exc}. Is it a WebSocket server?"


def _network(exc: OSError, way: Way, where: str) -> str:
    if isinstance(exc, socket.gaierror):
        return escaped(f"the host name of {where} cannot be resolved: check its spelling and your network")
    # With several addresses asyncio joins their errors in a text, and gives the sum no errno.
    if exc.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(exc):
        return f"nothing listens on {where}: {_other_place(way)}"
    if isinstance(exc, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
        if way.is_secure:
            return f"{where} hung up during the TLS handshake: is it a TLS server? If it is, {_OWN_CERTIFICATE}"
        return f"the connection to {where} broke: see the server's log"
    if exc.errno == errno.EMFILE:
        return "too many files and sockets are open: raise the limit (ulimit -n), or ask for fewer --connections"
    if exc.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{where} cannot be reached from here: check host, network and --proxy"
    return escaped(f"{where}: {exc.strerror or str(exc) or type(exc).__name__}")


def _other_place(way: Way) -> str:
    """What to do where nothing listens."""
    if way.is_proxied:
        return "correct --proxy"
    hop = way.hop
    if hop is None or not (hop.host in ("localhost", "::1") or hop.host.startswith("127.")):
        return "correct host or port"
    cert = " --cert FILE" if hop.is_secure else ""
    return f"correct host or port, or start a server (picows serve --port {hop.port}{cert})"
