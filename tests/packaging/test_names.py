"""The public names, and the signatures that users of picows 2.3 rely on."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

import picows

SEED_NAMES = {
    "PICOWS_DEBUG_LL",
    "WSAutoPingStrategy",
    "WSCloseCode",
    "WSError",
    "WSFrame",
    "WSHandshakeError",
    "WSInvalidHeaderError",
    "WSInvalidMessageError",
    "WSInvalidStatusError",
    "WSInvalidURL",
    "WSInvalidUpgradeError",
    "WSListener",
    "WSMsgType",
    "WSParsedURL",
    "WSProtocolError",
    "WSTransport",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
    "ws_connect",
    "ws_create_server",
}
OUR_NAMES = {
    "WSConnectionClosed",
    "WSHandshakeEOFError",
    "WSMessageListener",
    "WSMessageTooBigError",
    "WSServer",
    "ws_broadcast",
}

ALSO_IMPORTABLE = {
    "picows": ["__version__", "__author__", "__impl__"],
    "picows.api": ["WSListenerFactory", "WSLoggerLike", "WSServerListenerFactory", "ws_connect", "ws_create_server"],
    "picows.common": ["WSBuffer", "WSHeadersLike", "WSHost", "WSPort", "add_extra_headers"],
    "picows.picows": [
        "MemoryBuffer",
        "WSCloseHandshake",
        "WSCloseInfo",
        "WSFrame",
        "WSListener",
        "WSProtocol",
        "WSTransport",
    ],
    "picows.proxy": ["WSSocketFactory"],
    "picows.url": ["parse_url"],
}

#: Keyword parameters with their defaults, as in picows 2.3.1.
COMMON_DEFAULTS: dict[str, Any] = {
    "disconnect_on_exception": True,
    "websocket_handshake_timeout": 5,
    "logger_name": None,
    "enable_auto_ping": False,
    "auto_ping_strategy": 1,
    "enable_auto_pong": True,
    "max_frame_size": 10 * 1024 * 1024,
    "read_buffer_init_size": 16 * 1024,
    "use_aiofastnet": None,
}
SEED_DEFAULTS: dict[str, dict[str, Any]] = {
    "ws_connect": {
        **COMMON_DEFAULTS,
        "ssl_context": None,
        "auto_ping_idle_timeout": 10,
        "auto_ping_reply_timeout": 10,
        "extra_headers": None,
        "max_redirects": 5,
        "proxy": None,
        "proxy_ssl_context": None,
        "socket_factory": None,
    },
    "ws_create_server": {**COMMON_DEFAULTS, "auto_ping_idle_timeout": 20, "auto_ping_reply_timeout": 20},
}
SEED_POSITIONAL: dict[str, dict[str, Any]] = {
    "ws_connect": {"ws_listener_factory": inspect.Parameter.empty, "url": inspect.Parameter.empty},
    "ws_create_server": {"ws_listener_factory": inspect.Parameter.empty, "host": None, "port": None},
}
#: What improvements.md adds (P4, P5, P6, F2, F7), with values that leave code written for 2.3.1 as it was.
OUR_DEFAULTS = {
    "close_timeout": 10,
    "enable_auto_close": False,
    "strict": False,
    "write_coalescing": True,
    "max_write_buffer_size": None,
}


def test_all_is_what_it_says() -> None:
    assert len(picows.__all__) == len(set(picows.__all__))
    assert set(picows.__all__) == SEED_NAMES | OUR_NAMES
    for name in picows.__all__:
        assert getattr(picows, name) is not None, name


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in ALSO_IMPORTABLE.items() for n in names])
def test_also_importable(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", ["picows.api", "picows.common", "picows.picows", "picows.url"])
def test_a_class_has_one_identity_under_all_its_paths(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in SEED_NAMES & set(vars(loaded)):
        assert getattr(loaded, name) is getattr(picows, name), name


@pytest.mark.parametrize("function", SEED_DEFAULTS)
def test_seed_keywords_have_their_defaults(function: str) -> None:
    parameters = inspect.signature(getattr(picows, function)).parameters
    found = {name: parameters[name].default for name in SEED_DEFAULTS[function] if name in parameters}
    assert found == SEED_DEFAULTS[function]
    assert {parameters[name].kind for name in found} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("function", SEED_POSITIONAL)
def test_seed_positional_parameters(function: str) -> None:
    parameters = inspect.signature(getattr(picows, function)).parameters
    positional = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == list(SEED_POSITIONAL[function].items())
    assert any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


@pytest.mark.parametrize("function", SEED_DEFAULTS)
def test_our_keywords_change_nothing_by_default(function: str) -> None:
    parameters = inspect.signature(getattr(picows, function)).parameters
    assert {name: parameters[name].default for name in OUR_DEFAULTS if name in parameters} == OUR_DEFAULTS


@pytest.mark.parametrize("function", SEED_DEFAULTS)
def test_both_are_coroutine_functions(function: str) -> None:
    assert inspect.iscoroutinefunction(getattr(picows, function))
