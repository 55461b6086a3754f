"""Which proxy leads to a URI: explicit URLs, and those that the environment or the operating system names."""

from __future__ import annotations

import dataclasses

from picows.errors import WSInvalidURL
from picows.url import parse_url

from .datastructures import Headers
from .exceptions import InvalidProxy
from .headers import build_authorization_basic, build_host
from .http11 import USER_AGENT
from .uri import UrlParts, WebSocketURI

__all__ = ["get_proxy", "parse_proxy", "Proxy"]

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_SOCKS_PORT = 1080
#: Where a proxy is looked for, in order: `<name>_proxy` in the environment, or what the operating system calls so.
_SECURE = ("wss", "socks", "https", "all")
_PLAIN = ("ws", "socks", "https", "http", "all")


@dataclasses.dataclass
class Proxy:
    """Where a proxy is.

    Attributes:
        scheme: http, https, socks4, socks4a, socks5 or socks5h.
        host: lower case and ASCII; an IPv6 address has no brackets.
        port: explicit or default.
        username: percent-decoded, or None.
        password: percent-decoded, or None.
    """

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None

    @property
    def user_info(self) -> tuple[str, str] | None:
        """(username, password), or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_proxy(proxy: str) -> Proxy:
    """Split and check the URL of a proxy.

    Raises:
        InvalidProxy: it is not one that can be used.
    """
    if not isinstance(proxy, str):  # False is meant for None
        raise InvalidProxy(proxy, f"str expected, not {type(proxy).__name__}")
    parts = UrlParts(proxy)
    if parts.scheme not in _SCHEMES:
        raise InvalidProxy(proxy, f"scheme {parts.scheme} isn't supported")
    if not parts.host_and_port or parts.host_and_port.startswith(":"):
        raise InvalidProxy(proxy, "hostname isn't provided")
    if parts.path not in ("", "/"):
        raise InvalidProxy(proxy, "path is meaningless")
    if parts.query:
        raise InvalidProxy(proxy, "query is meaningless")
    if parts.fragment:
        raise InvalidProxy(proxy, "fragment is meaningless")
    try:
        username, password = parts.credentials()
        parsed = parse_url(parts.without_credentials(), check_scheme=False)
    except WSInvalidURL as exc:
        raise InvalidProxy(proxy, exc.msg) from None
    except ValueError as exc:
        raise InvalidProxy(proxy, str(exc)) from None
    has_port = parts.host_and_port.rpartition(":")[2].isdigit() and not parts.host_and_port.endswith("]")
    port = parsed.port if has_port or not parts.scheme.startswith("socks") else _SOCKS_PORT
    return Proxy(parsed.scheme, parsed.host, port, username, password)


def get_proxy(uri: WebSocketURI) -> str | None:
    """The URL of the proxy that the environment or the operating system wants for a URI, or None.

    `ws_proxy`, `wss_proxy`, `socks_proxy`, `https_proxy`, `http_proxy`, `all_proxy` and `no_proxy` are looked at; those
    for HTTPS come first even for ws://, because a proxy for HTTP may not pass on what is not HTTP.
    """
    import urllib.request  # late, because it is slow and few programs need it

    forms = [f"{uri.host}:{uri.port}"]
    if ":" in uri.host:
        forms.append(f"[{uri.host}]:{uri.port}")
    if any(urllib.request.proxy_bypass(form) for form in forms):
        return None
    proxies = urllib.request.getproxies()
    for name in _SECURE if uri.secure else _PLAIN:
        url = proxies.get(name)
        if url:
            # What macOS calls its SOCKS proxy is not a URL of SOCKS.
            return f"socks5h://{url[7:]}" if name == "socks" and url.startswith("http://") else url
    return None


def prepare_connect_request(proxy: Proxy, ws_uri: WebSocketURI, user_agent_header: str | None = USER_AGENT) -> bytes:
    """The request by which an HTTP proxy connects to a server (RFC 9110 9.3.6).

    Args:
        proxy: its credentials are sent.
        ws_uri: where to connect to.
        user_agent_header: None for none.
    """
    headers = Headers(Host=build_host(ws_uri.host, ws_uri.port, ws_uri.secure))
    if user_agent_header is not None:
        headers["User-Agent"] = user_agent_header
    if proxy.user_info is not None:
        headers["Proxy-Authorization"] = build_authorization_basic(*proxy.user_info)
    authority = build_host(ws_uri.host, ws_uri.port, ws_uri.secure, always_include_port=True)
    return f"CONNECT {authority} HTTP/1.1\r\n".encode("ascii") + headers.serialize()
