"""The options of a connection: what is refused, before anything is opened, and with which words."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import weakref
from typing import Any, Callable

import pytest

from picows import abc
from picows.enums import WSAutoPingStrategy
from picows.keepalive import AutoPingPolicy
from picows.options import (
    DEFAULT_HANDSHAKE_TIMEOUT,
    NOT_GIVEN,
    ConnectionOptions,
    auto_ping_policy,
    check_callable,
    check_count,
    check_size,
    check_timeout,
    connection_logger,
    handshake_timeout,
    make_options,
    resolve_logger,
)

LOGGER = logging.getLogger("picows.test")
IDLE, PERIODIC = WSAutoPingStrategy.PING_WHEN_IDLE, WSAutoPingStrategy.PING_PERIODICALLY


# --- single values ---


@pytest.mark.parametrize(
    ("check", "value", "error", "text"),
    [
        (check_size, 0, ValueError, "x must be greater than 0, got 0"),
        (check_size, -1, ValueError, "x must be greater than 0, got -1"),
        (check_size, 1.0, TypeError, "x must be an int, got float"),
        (check_size, True, TypeError, "x must be an int, got bool"),
        (check_size, None, TypeError, "x must be an int, got NoneType"),
        (check_count, -1, ValueError, "x must not be negative, got -1"),
        (check_count, "1", TypeError, "x must be an int, got str"),
        (check_count, False, TypeError, "x must be an int, got bool"),
        (check_timeout, 0, ValueError, "x must be greater than 0, got 0"),
        (check_timeout, -0.5, ValueError, "x must be greater than 0, got -0.5"),
        (check_timeout, math.nan, ValueError, "x must be greater than 0, got nan"),
        (check_timeout, "1", TypeError, "x must be a number of seconds or None, got str"),
        (check_timeout, True, TypeError, "x must be a number of seconds or None, got bool"),
        (check_callable, None, TypeError, "x must be callable, got NoneType"),
        (check_callable, 1, TypeError, "x must be callable, got int"),
    ],
)
def test_what_is_refused(check: Callable[..., None], value: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        check("x", value)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_size, 1),
        (check_size, 2**70),
        (check_count, 0),
        (check_timeout, None),
        (check_timeout, 1),
        (check_timeout, 1e-9),
        (check_timeout, math.inf),
        (check_callable, print),
    ],
)
def test_what_is_accepted(check: Callable[..., None], value: Any) -> None:
    check("x", value)


def test_what_may_be_left_out() -> None:
    check_callable("x", None, is_optional=True)
    with pytest.raises(TypeError, match="x must be callable or None, got int"):
        check_callable("x", 1, is_optional=True)


# --- options together ---


def test_the_defaults_are_finite_where_a_peer_could_use_them() -> None:
    made = ConnectionOptions(is_client_side=False, logger=LOGGER)
    assert made.max_frame_size == 10 * 1024 * 1024
    assert made.close_timeout == 10
    assert made.auto_ping is None
    assert (made.disconnect_on_exception, made.enable_auto_pong, made.write_coalescing) == (True, True, True)
    assert (made.enable_auto_close, made.strict) == (False, False)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_frame_size", 0, ValueError),
        ("max_frame_size", None, TypeError),
        ("read_buffer_init_size", -1, ValueError),
        ("read_buffer_init_size", "1", TypeError),
        ("close_timeout", 0, ValueError),
        ("close_timeout", "1", TypeError),
        ("max_write_buffer_size", 0, ValueError),
        ("max_write_buffer_size", 1.5, TypeError),
    ],
)
def test_options_are_checked(name: str, value: Any, error: Any) -> None:
    with pytest.raises(error, match=name):
        ConnectionOptions(is_client_side=True, logger=LOGGER, **{name: value})


def test_options_may_be_absent() -> None:
    made = ConnectionOptions(is_client_side=True, logger=LOGGER, close_timeout=None, max_write_buffer_size=None)
    assert (made.close_timeout, made.max_write_buffer_size) == (None, None)
    assert ConnectionOptions(is_client_side=True, logger=LOGGER, max_write_buffer_size=1).max_write_buffer_size == 1


def test_options_are_shared_and_do_not_change() -> None:
    made = ConnectionOptions(is_client_side=True, logger=LOGGER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.strict = True  # type: ignore[misc]


@pytest.mark.parametrize(("is_client_side", "name"), [(True, "picows.client"), (False, "picows.server")])
def test_options_out_of_arguments(is_client_side: bool, name: str) -> None:
    pings: Any = {"auto_ping_strategy": 2, "auto_ping_idle_timeout": 4, "auto_ping_reply_timeout": 3}
    made = make_options(is_client_side, None, enable_auto_ping=True, **pings, strict=True, max_frame_size=9)
    assert made == ConnectionOptions(
        is_client_side, logging.getLogger(name), strict=True, max_frame_size=9, auto_ping=AutoPingPolicy(PERIODIC, 4, 3)
    )
    assert make_options(is_client_side, LOGGER, enable_auto_ping=False, **pings).auto_ping is None
    with pytest.raises(ValueError, match="max_frame_size must be greater than 0, got 0"):
        make_options(is_client_side, None, enable_auto_ping=False, **pings, max_frame_size=0)


# --- the handshake's timeout and its two names ---


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (DEFAULT_HANDSHAKE_TIMEOUT, NOT_GIVEN, 5.0),
        (3, NOT_GIVEN, 3.0),
        (None, NOT_GIVEN, None),
        (DEFAULT_HANDSHAKE_TIMEOUT, 3, 3.0),
        (DEFAULT_HANDSHAKE_TIMEOUT, None, None),
    ],
)
def test_handshake_timeout(first: Any, second: Any, expected: Any) -> None:
    assert handshake_timeout(first, second) == expected


@pytest.mark.parametrize(("first", "second"), [(5, 5), (3, 4), (None, 4), (3, None), (None, None)])
def test_only_one_of_its_names_may_be_given(first: Any, second: Any) -> None:
    with pytest.raises(TypeError, match="two names of one option"):
        handshake_timeout(first, second)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [(0, NOT_GIVEN, "websocket_handshake_timeout"), (DEFAULT_HANDSHAKE_TIMEOUT, -1, "open_timeout")],
)
def test_the_name_that_was_given_is_complained_about(first: Any, second: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be greater than 0"):
        handshake_timeout(first, second)


def test_not_given_says_so_in_signatures() -> None:
    assert repr(NOT_GIVEN) == "<not given>"


# --- auto-ping ---


@pytest.mark.parametrize("strategy", [IDLE, PERIODIC, 1, 2], ids=repr)
def test_auto_ping_policy(strategy: Any) -> None:
    policy = auto_ping_policy(True, strategy, 10, 5)
    assert policy == AutoPingPolicy(WSAutoPingStrategy(strategy), 10, 5)
    assert auto_ping_policy(False, strategy, 10, 5) is None


@pytest.mark.parametrize(
    ("strategy", "idle", "reply", "error"),
    [(3, 10, 5, ValueError), (IDLE, 0, 5, ValueError), (IDLE, 10, -1, ValueError), (IDLE, "10", 5, TypeError)],
)
@pytest.mark.parametrize("enable", [False, True], ids=["off", "on"])
def test_its_arguments_are_checked_also_where_it_is_off(
    enable: bool, strategy: Any, idle: Any, reply: Any, error: Any
) -> None:
    with pytest.raises(error):
        auto_ping_policy(enable, strategy, idle, reply)


def test_the_reply_timeout_may_not_be_the_longer_one() -> None:
    with pytest.raises(ValueError, match="at most"):
        auto_ping_policy(True, IDLE, 10, 11)
    assert auto_ping_policy(False, IDLE, 10, 11) is None


# --- loggers ---


def test_loggers_by_name() -> None:
    assert resolve_logger(None, "client") is logging.getLogger("picows.client")
    assert resolve_logger("mine", "client") is logging.getLogger("picows.mine")


@pytest.mark.parametrize("logger", [LOGGER, logging.LoggerAdapter(LOGGER, {})], ids=["Logger", "LoggerAdapter"])
def test_loggers_as_they_are(logger: Any) -> None:
    assert resolve_logger(logger, "client") is logger


class Half:
    """Has one of the two methods that are needed."""

    def log(self) -> None:
        """Never called."""


@pytest.mark.parametrize("logger", [b"mine", 1, Half()], ids=lambda value: type(value).__name__)
def test_what_is_no_logger(logger: Any) -> None:
    with pytest.raises(TypeError, match="logger_name must be a str, a Logger, a LoggerAdapter or None, got "):
        resolve_logger(logger, "client")


def test_a_connection_has_a_logger_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    child: Any = connection_logger(LOGGER, 7)
    with caplog.at_level(logging.INFO, "picows.test"):
        child.info("text")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("picows.test.7", "text")]


def test_it_is_not_kept() -> None:
    """N5: the logging module knows nothing of it."""
    before = set(logging.root.manager.loggerDict)
    child = connection_logger(LOGGER, 7)
    gone = weakref.ref(child)
    del child
    gc.collect()
    assert gone() is None
    assert set(logging.root.manager.loggerDict) == before


@pytest.mark.parametrize(
    ("logger", "fileno"), [(LOGGER, None), (logging.LoggerAdapter(LOGGER, {}), 7)], ids=["no socket", "adapter"]
)
def test_loggers_that_stay(logger: Any, fileno: Any) -> None:
    assert connection_logger(logger, fileno) is logger


# --- the contract's only data ---


def test_frame_rules_by_default() -> None:
    assert abc.FrameRules() == (0, None, True, False)
    assert abc.FrameRules._fields == (
        "reserved_bits",
        "max_message_size",
        "minimal_lengths",
        "refuse_close_in_message",
    )
