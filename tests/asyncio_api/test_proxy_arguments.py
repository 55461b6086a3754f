"""The arguments about proxies: what is refused before anything is opened."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from picows import proxy as proxy_module
from picows.errors import WSInvalidURL
from picows.proxy import check_proxy


@pytest.mark.parametrize(
    ("proxy", "port"),
    [
        ("http://h", 80),
        ("HTTPS://h", 443),
        ("http://u:p@h:3128/", 3128),
        ("socks4://h", 1080),
        ("socks4a://u@h", 1080),
        ("socks5://u:p@h", 1080),
        ("socks5h://[::1]", 1080),
        ("socks5h://[::1]:1081", 1081),
        ("socks5://h:80", 80),
    ],
)
def test_check_proxy(proxy: str, port: int) -> None:
    url = check_proxy(proxy)
    assert url is not None
    assert (url.port, url.scheme) == (port, proxy.partition(":")[0].lower())


def test_check_proxy_without_proxy() -> None:
    assert check_proxy(None) is None
    assert check_proxy("https://h", ssl.create_default_context()) is not None


@pytest.mark.parametrize(
    ("proxy", "with_context", "error", "match"),
    [
        ("ftp://h", False, ValueError, "http, https, socks4.*got ftp"),
        ("ws://h", False, ValueError, "got ws"),
        ("socks://h", False, ValueError, "got socks"),
        ("h:3128", False, WSInvalidURL, "scheme"),
        ("http://", False, WSInvalidURL, "host"),
        ("http://h\r\nX: y", False, WSInvalidURL, "control character"),
        ("http://h", True, ValueError, "https proxies, got a proxy of the scheme http"),
        ("socks5://h", True, ValueError, "https proxies"),
        (None, True, ValueError, "https proxies, got no proxy"),
        (b"http://h", False, TypeError, "bytes"),
        ("http://us%3Aer:p@h", False, ValueError, "colon"),
        ("https://us%3Aer@h", False, ValueError, "colon"),
        ("socks5://user@h", False, ValueError, "password"),
        ("socks5://:pass@h", False, ValueError, "password"),
        ("socks5://us%C3%A9r:p@h", False, ValueError, "ASCII"),
        ("socks5://u:" + "p" * 256 + "@h", False, ValueError, "255"),
        ("socks4://" + "u" * 256 + "@h", False, ValueError, "255"),
    ],
)  # fmt: skip
def test_W6_wrong_proxy_arguments(proxy: Any, with_context: bool, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_proxy(proxy, ssl.create_default_context() if with_context else None)


def test_W6_wrong_proxy_ssl_context() -> None:
    with pytest.raises(TypeError, match="proxy_ssl_context must be an SSLContext or None, got bool"):
        check_proxy("https://h", True)  # type: ignore[arg-type]


def test_public_names_are_there() -> None:
    assert all(hasattr(proxy_module, name) for name in proxy_module.__all__)
