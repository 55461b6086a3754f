"""URLs: what is accepted, what goes on the wire, what never reaches a log."""

from __future__ import annotations

import dataclasses
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows.errors import WSHandshakeError, WSInvalidURL
from picows.url import WSParsedURL, is_same_origin, parse_url, resolve_redirect

PARTS = {
    "minimal": ("ws://example.com", ("ws", False, "example.com", 80, "/", "example.com")),
    "secure": ("wss://example.com", ("wss", True, "example.com", 443, "/", "example.com")),
    "path": ("ws://example.com/a/b", ("ws", False, "example.com", 80, "/a/b", "example.com")),
    "query": ("ws://example.com/a?b=c?d/e", ("ws", False, "example.com", 80, "/a?b=c?d/e", "example.com")),
    "query without path": ("ws://example.com?b=c", ("ws", False, "example.com", 80, "/?b=c", "example.com")),
    "empty query": ("ws://example.com/a?", ("ws", False, "example.com", 80, "/a", "example.com")),
    "empty fragment": ("ws://example.com/a#", ("ws", False, "example.com", 80, "/a", "example.com")),
    "case": ("WS://EXAMPLE.com/Aa", ("ws", False, "example.com", 80, "/Aa", "example.com")),
    "port": ("ws://example.com:8080/", ("ws", False, "example.com", 8080, "/", "example.com:8080")),
    "port 1": ("ws://example.com:1", ("ws", False, "example.com", 1, "/", "example.com:1")),
    "port 65535": ("ws://example.com:65535", ("ws", False, "example.com", 65535, "/", "example.com:65535")),
    "port with zeros": ("ws://example.com:00080", ("ws", False, "example.com", 80, "/", "example.com")),
    "empty port": ("ws://example.com:/", ("ws", False, "example.com", 80, "/", "example.com")),
    "default port, secure": ("wss://example.com:443", ("wss", True, "example.com", 443, "/", "example.com")),
    "port of the other scheme": ("wss://example.com:80", ("wss", True, "example.com", 80, "/", "example.com:80")),
    "ipv4": ("ws://127.0.0.1:9001", ("ws", False, "127.0.0.1", 9001, "/", "127.0.0.1:9001")),
    "ipv6": ("ws://[::1]:9001/x", ("ws", False, "::1", 9001, "/x", "[::1]:9001")),
    "ipv6, default port": ("wss://[2001:DB8::1]", ("wss", True, "2001:db8::1", 443, "/", "[2001:db8::1]")),
    "ipv6, mapped": ("ws://[::ffff:192.0.2.1]", ("ws", False, "::ffff:192.0.2.1", 80, "/", "[::ffff:192.0.2.1]")),
    "ipv6, zone": ("ws://[fe80::1%25eth0]", ("ws", False, "fe80::1%eth0", 80, "/", "[fe80::1]")),
    "ipv6, bare zone": ("ws://[fe80::1%eth0]:81", ("ws", False, "fe80::1%eth0", 81, "/", "[fe80::1]:81")),
    "underscore": ("ws://my_host", ("ws", False, "my_host", 80, "/", "my_host")),
    "root dot": ("ws://example.com.", ("ws", False, "example.com.", 80, "/", "example.com.")),
    "longest label": (f"ws://{'a' * 63}.b", ("ws", False, f"{'a' * 63}.b", 80, "/", f"{'a' * 63}.b")),
    "double slash": ("ws://example.com//a", ("ws", False, "example.com", 80, "//a", "example.com")),
    "at sign in the path": ("ws://example.com/@a", ("ws", False, "example.com", 80, "/@a", "example.com")),
    "escapes are kept": ("ws://example.com/%2F%zz", ("ws", False, "example.com", 80, "/%2F%zz", "example.com")),
    "other printable text is kept": (
        'ws://example.com/{"a"}?<|^`',
        ("ws", False, "example.com", 80, '/{"a"}?<|^`', "example.com"),
    ),
}


@pytest.mark.parametrize(("url", "expected"), PARTS.values(), ids=PARTS.keys())
def test_parts(url, expected):
    parsed = parse_url(url)
    found = (parsed.scheme, parsed.is_secure, parsed.host, parsed.port, parsed.resource_name, parsed.host_header)
    assert found == expected
    assert parsed.url == url
    assert (parsed.username, parsed.password, parsed.user_info) == (None, None, None)


def test_fields_are_those_users_know():
    parsed = parse_url("wss://u:p@Example.com:8443/a?b=c")
    assert dataclasses.asdict(parsed) == {
        "url": "wss://u:p@Example.com:8443/a?b=c",
        "scheme": "wss",
        "is_secure": True,
        "netloc": "u:p@Example.com:8443",
        "host": "example.com",
        "port": 8443,
        "path": "/a",
        "query": "b=c",
        "username": "u",
        "password": "p",
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.host = "other"
    assert parsed != parse_url(parsed.url)


ENCODED = {
    "space in path": ("ws://h/a b", "/a%20b"),
    "space in query": ("ws://h/?a b", "/?a%20b"),
    "non-ASCII path": ("ws://h/\xfc", "/%C3%BC"),
    "non-ASCII query": ("ws://h/?\U0001f600=%41", "/?%F0%9F%98%80=%41"),
    "byte of a Location header": ("ws://h/\udcfc", "/%FC"),
    "C1 control and line separator": ("ws://h/\x85\u2028", "/%C2%85%E2%80%A8"),
}


@pytest.mark.parametrize(("url", "target"), ENCODED.values(), ids=ENCODED.keys())
def test_W8_path_and_query_are_percent_encoded(url, target):
    assert parse_url(url).resource_name == target


HOSTS = {
    "IDNA": ("ws://b\xfccher.example", "xn--bcher-kva.example"),
    "IDNA, upper case": ("ws://B\xdcCHER.example", "xn--bcher-kva.example"),
    "full-width": ("ws://\uff45xample.com", "example.com"),
    "ideographic full stop": ("ws://example\u3002com", "example.com"),
}


@pytest.mark.parametrize(("url", "host"), HOSTS.values(), ids=HOSTS.keys())
def test_W9_host_is_idna_encoded(url, host):
    parsed = parse_url(url)
    assert (parsed.host, parsed.host_header) == (host, host)


CREDENTIALS = {
    "both": ("ws://user:secret@h", ("user", "secret")),
    "no password": ("ws://user@h", ("user", "")),
    "empty password": ("ws://user:@h", ("user", "")),
    "empty user": ("ws://:secret@h", ("", "secret")),
    "nothing": ("ws://@h", None),
    "percent-decoded": ("ws://us%40er:p%3A%2F%25@h", ("us@er", "p:/%")),
    "UTF-8": ("ws://%C3%BC:\xfc@h", ("\xfc", "\xfc")),
    "colon in the password": ("ws://user:a:b@h", ("user", "a:b")),
    "at sign in the password": ("ws://user:a@b@h", ("user", "a@b")),
}


@pytest.mark.parametrize(("url", "user_info"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_credentials(url, user_info):
    parsed = parse_url(url)
    assert parsed.user_info == user_info
    assert parsed.host_header == "h"


def test_user_info_needs_both():
    fields = {
        "url": "",
        "scheme": "ws",
        "is_secure": False,
        "netloc": "",
        "host": "h",
        "port": 80,
        "path": "",
        "query": "",
    }
    assert WSParsedURL(**fields, username="u").user_info is None
    assert WSParsedURL(**fields, password="p").user_info is None
    assert WSParsedURL(**fields, username="u", password="p").user_info == ("u", "p")


def test_W9_nothing_to_be_logged_has_credentials():
    parsed = parse_url("wss://user:sesame@example.com:8443/a?b#")
    assert parsed.safe_url == "wss://example.com:8443/a?b"
    assert repr(parsed) == "WSParsedURL('wss://example.com:8443/a?b', username='***', password='***')"
    assert repr(parse_url("ws://example.com/@a")) == "WSParsedURL('ws://example.com/@a')"
    assert parsed.host_header == "example.com:8443"


INVALID = {
    "empty": ("", "scheme://"),
    "no scheme": ("example.com", "scheme://"),
    "no slashes": ("ws:example.com", "scheme://"),
    "one slash": ("ws:/example.com", "scheme://"),
    "leading space": (" ws://example.com", "scheme://"),
    "http": ("http://example.com", "must be ws or wss, not http"),
    "no host": ("ws:///", "no host"),
    "no host, port": ("ws://:80/", "no host"),
    "no host, user": ("ws://user:password@/", "no host"),
    "fragment": ("ws://example.com/#a", "fragment"),
    "port 0": ("ws://example.com:0", "1 to 65535"),
    "port 65536": ("ws://example.com:65536", "1 to 65535"),
    "port of 6 digits": ("ws://example.com:000080", r"host\[:port\]"),
    "port -1": ("ws://example.com:-1", r"host\[:port\]"),
    "port +1": ("ws://example.com:+1", r"host\[:port\]"),
    "port not a number": ("ws://example.com:http", r"host\[:port\]"),
    "port with underscore": ("ws://example.com:8_0", r"host\[:port\]"),
    "port of Arabic digits": ("ws://example.com:\u0668\u0660", r"host\[:port\]"),
    "two ports": ("ws://example.com:80:90", r"host\[:port\]"),
    "ipv6 without brackets": ("ws://::1/", r"host\[:port\]"),
    "ipv6, open bracket": ("ws://[::1", r"host\[:port\]"),
    "ipv6, text after": ("ws://[::1]a", r"host\[:port\]"),
    "ipv6, empty": ("ws://[]", "IPv6"),
    "ipv6, wrong": ("ws://[1:2]", "IPv6"),
    "ipv6, name": ("ws://[example]", "IPv6"),
    "ipv6, empty zone": ("ws://[fe80::1%]", "IPv6"),
    "ipv6, zone with slash": ("ws://[fe80::1%25a%2Fb]", "IPv6"),
    "future address": ("ws://[v1.a]", "IPv6"),
    "space in host": ("ws://exa mple.com", r"host\[:port\]"),
    "backslash in host": ("ws://evil\\@example.com", r"host\[:port\]"),
    "quote in host": ('ws://exa"mple.com', "domain name"),
    "escape in host": ("ws://%65xample.com", "domain name"),
    "empty label": ("ws://a..b", "1 to 63"),
    "only a dot": ("ws://.", "1 to 63"),
    "label of 64": (f"ws://{'a' * 64}.b", "1 to 63"),
    "host of 254": (f"ws://{'a.' * 126}aa", "domain name"),
    "host of 100,000": (f"ws://{chr(0xFC) * 100_000}", "domain name"),
    "IDNA refuses": ("ws://\u2028.example", "IDNA"),
    "IDNA gives a slash": ("ws://a\u2100b.example", "domain name"),
    "full-width colon": ("ws://example.com\uff1a80", "domain name"),
    "surrogate in host": ("ws://\udcfc", "IDNA"),
    "surrogate in path": ("ws://h/\ud800", "surrogate"),
    "surrogate in user": ("ws://\ud800@h/", "UTF-8"),
    "broken escape in user": ("ws://a%z@h", "hexadecimal"),
    "broken escape in password": ("ws://a:b%4@h", "hexadecimal"),
    "password not UTF-8": ("ws://a:%ff@h", "UTF-8"),
    "control character in password": ("ws://a:%0d%0ab@h", "control"),
    "space in user": ("ws://a b@h", r"host\[:port\]"),
}


@pytest.mark.parametrize(("url", "text"), INVALID.values(), ids=INVALID.keys())
def test_invalid(url, text):
    with pytest.raises(WSInvalidURL, match=text) as caught:
        parse_url(url)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isprintable()


def test_host_of_253_characters_and_a_root_dot():
    host = "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61
    assert len(host) == 253
    assert parse_url(f"ws://{host}").host == host
    assert parse_url(f"ws://{host}.").host == f"{host}."


@pytest.mark.parametrize(
    "place",
    ["{}ws://h/", "w{}s://h/", "ws://{}h/", "ws://h{}/", "ws://u{}@h/", "ws://h/{}", "ws://h/?{}", "ws://h/#{}"],
)
@pytest.mark.parametrize("character", ["\r", "\n", "\t", "\0", "\x01", "\x1f", "\x7f", "\x0b", "\x1c"])
def test_W8_control_characters_are_refused_everywhere(place, character):
    with pytest.raises(WSInvalidURL, match="control character") as caught:
        parse_url(place.format(character))
    assert str(caught.value).isprintable()


HIDDEN = {
    "plain": ("http://user:sesame@h/a", "http://***@h/a"),
    "slash in the password": ("ws://user:ses/ame@h/a", "ws://***@h/a"),
    "hash in the password": ("ws://user:ses#ame@h/a", "ws://***@h/a"),
    "question mark in the password": ("ws://user:ses?ame@h:x/a", "ws://***@h:x/a"),
    "control character": ("ws://user:ses\name@h/\n", "ws://***@h/\\n"),
    "no slashes": ("ws:user:sesame@h", "ws:***@h"),
    "no scheme": ("user:sesame@h", "user:***@h"),
}


@pytest.mark.parametrize(("url", "shown"), HIDDEN.values(), ids=HIDDEN.keys())
def test_W9_errors_do_not_show_passwords(url, shown):
    with pytest.raises(WSInvalidURL) as caught:
        parse_url(url)
    assert caught.value.url == shown
    text = "".join(traceback.format_exception_only(type(caught.value), caught.value))
    assert "ses" not in text
    assert "ame@" not in text


@pytest.mark.parametrize("url", [None, b"ws://h", 5, parse_url("ws://h")], ids=["None", "bytes", "int", "parsed"])
def test_W6_url_must_be_a_str(url):
    with pytest.raises(TypeError, match="must be a str"):
        parse_url(url)


def test_other_schemes_without_check():
    proxy = parse_url("http://user@proxy:3128", check_scheme=False)
    assert (proxy.scheme, proxy.port, proxy.user_info, proxy.is_secure) == ("http", 3128, ("user", ""), False)
    assert parse_url("https://proxy", check_scheme=False).port == 443
    assert parse_url("socks5h://proxy", check_scheme=False).port == 80
    assert parse_url("https://proxy", check_scheme=False).origin == ("wss", "proxy", 443)


@pytest.mark.parametrize(
    ("host", "name"),
    [("Example.com.", "example.com"), ("[FE80::1%25eth0]", "fe80::1"), ("b\xfccher.test", "xn--bcher-kva.test")],
)
def test_the_name_that_a_certificate_must_have(host, name):
    assert parse_url(f"wss://{host}:1/").tls_name == name


REDIRECTS = {
    "path": ("ws://u:p@h/a/b?c", "/d", "ws://h/d", ("u", "p")),
    "absolute path of the same origin": ("ws://u:p@h/a", "ws://H:80/b", "ws://h/b", ("u", "p")),
    "http to the same origin": ("wss://u:p@h/a", "https://h/b", "wss://h/b", ("u", "p")),
    "own credentials for the same origin": ("ws://u:p@h/a", "ws://x:y@h/b", "ws://h/b", ("x", "y")),
    "relative": ("ws://h/a/b?c", "d", "ws://h/a/d", None),
    "up": ("ws://h/a/b/c", "../d", "ws://h/a/d", None),
    "query": ("ws://h/a/b?c", "?d", "ws://h/a/b?d", None),
    "empty": ("ws://h/a", "", "ws://h/a", None),
    "without scheme": ("wss://u:p@h/a", "//other/b", "wss://other/b", None),
    "absolute": ("wss://u:p@h/a", "wss://other:8443/b", "wss://other:8443/b", None),
    "own credentials": ("ws://u:p@h/a", "ws://x:y@other/b", "ws://other/b", ("x", "y")),
    "http": ("ws://h/a", "http://other/b", "ws://other/b", None),
    "https": ("ws://h/a", "HTTPS://other/b", "wss://other/b", None),
    "https from wss": ("wss://h/a", "https://other/b", "wss://other/b", None),
    "ws to wss": ("ws://h/a", "wss://h/a", "wss://h/a", None),
    "ipv6": ("ws://[fe80::1%25eth0]:81/a", "b", "ws://[fe80::1]:81/b", None),
    "bytes of the header": ("ws://h/a", "/\udcc3\udcbc d", "ws://h/%C3%BC%20d", None),
}


@pytest.mark.parametrize(("current", "location", "target", "user_info"), REDIRECTS.values(), ids=REDIRECTS.keys())
def test_W9_redirect_target(current, location, target, user_info):
    found = resolve_redirect(parse_url(current), location)
    assert (found.safe_url, found.user_info) == (target, user_info)


@pytest.mark.parametrize("location", ["ws://h/", "http://h/", "ws://u:p@other/"])
def test_W9_wss_never_goes_to_ws(location):
    with pytest.raises(WSHandshakeError, match="non-secure URL") as caught:
        resolve_redirect(parse_url("wss://user:sesame@h/"), location)
    assert "sesame" not in str(caught.value)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/",
        "http://[",
        "http:h",
        "wss://",
        "/a#b",
        "ws://h:0/",
        "mailto:a@b",
        "ws://h\uff0fb/",
        "ws://a%3Ab:c@h/",
    ],
)
def test_bad_redirect_target(location):
    with pytest.raises(WSInvalidURL):
        resolve_redirect(parse_url("ws://h/a"), location)


@pytest.mark.parametrize("location", ["/a\r\nB: c", "/a\n", "\t/a", "/\0", "/\x7f"])
def test_W8_control_characters_in_a_location(location):
    with pytest.raises(WSInvalidURL, match="control character"):
        resolve_redirect(parse_url("ws://h/a"), location)


ORIGINS = {
    "same": ("ws://h/a", "ws://H:80/b", True),
    "credentials do not matter": ("ws://h", "ws://u:p@h", True),
    "other host": ("ws://h", "ws://g", False),
    "subdomain": ("ws://example.com", "ws://a.example.com", False),
    "other port": ("ws://h", "ws://h:81", False),
    "other scheme": ("ws://h:443", "wss://h:443", False),
}


@pytest.mark.parametrize(("a", "b", "expected"), ORIGINS.values(), ids=ORIGINS.keys())
def test_W9_same_origin(a, b, expected):
    assert is_same_origin(parse_url(a), parse_url(b)) is expected


@given(st.text(st.sampled_from("ws:/@[]%?#.\\ \xfc\u2100\ud800\n1aA-"), max_size=30).map(lambda text: "ws://" + text))
def test_any_text_is_parsed_or_invalid_and_what_is_parsed_fits_the_wire(url):
    try:
        parsed = parse_url(url)
    except WSInvalidURL as exc:
        wire = str(exc)
    else:
        wire = parsed.host_header + parsed.resource_name
        assert 1 <= parsed.port <= 65535
        assert wire.isascii()
        assert " " not in wire
    assert wire.isprintable()
