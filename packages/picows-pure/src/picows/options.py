"""What a connection was asked to do: validated once, before anything is opened, and shared by all connections of a
server."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, Optional, Union

from .enums import WSAutoPingStrategy
from .keepalive import AutoPingPolicy

#: Frames of one connection that are handled before the loop serves others. The smallest have 2 bytes, so that one read
#: may bring tens of thousands.
FRAMES_PER_TURN = 2048

WSLoggerLike = Union[str, logging.Logger, "logging.LoggerAdapter[Any]", None]
AnyLogger = Union[logging.Logger, "logging.LoggerAdapter[Any]"]


class _Default(float):
    """A number with an identity: on PyPy equal floats are the same object."""


#: The default of `websocket_handshake_timeout`. An object of its own, so that an explicit 5 can be told from no
#: argument.
DEFAULT_HANDSHAKE_TIMEOUT = _Default(5)


class _NotGiven:
    def __repr__(self) -> str:
        return "<not given>"


#: The default of `open_timeout`: None already means that there is no timeout.
NOT_GIVEN: Any = _NotGiven()


@dataclass(frozen=True)
class ConnectionOptions:
    """The options of one side. Timeouts are in seconds, sizes in bytes."""

    is_client_side: bool
    logger: AnyLogger
    disconnect_on_exception: bool = True
    enable_auto_pong: bool = True
    enable_auto_close: bool = False
    strict: bool = False
    max_frame_size: int = 10 * 1024 * 1024
    close_timeout: Optional[float] = 10
    write_coalescing: bool = True
    max_write_buffer_size: Optional[int] = None
    read_buffer_init_size: int = 16 * 1024
    auto_ping: Optional[AutoPingPolicy] = None

    def __post_init__(self) -> None:
        check_size("max_frame_size", self.max_frame_size)
        check_size("read_buffer_init_size", self.read_buffer_init_size)
        check_timeout("close_timeout", self.close_timeout)
        if self.max_write_buffer_size is not None:
            check_size("max_write_buffer_size", self.max_write_buffer_size)


def make_options(
    is_client_side: bool,
    logger_name: WSLoggerLike,
    *,
    enable_auto_ping: bool,
    auto_ping_strategy: Union[WSAutoPingStrategy, int],
    auto_ping_idle_timeout: float,
    auto_ping_reply_timeout: float,
    **options: Any,
) -> ConnectionOptions:
    """The options of `ws_connect` and `ws_create_server` out of their arguments.

    Args:
        is_client_side: True for `ws_connect`.
        logger_name: the argument of that name; likewise those of auto-ping.
        enable_auto_ping: see `auto_ping_policy`.
        auto_ping_strategy: see `auto_ping_policy`.
        auto_ping_idle_timeout: see `auto_ping_policy`.
        auto_ping_reply_timeout: see `auto_ping_policy`.
        options: fields of `ConnectionOptions` as they are.

    Raises:
        ValueError, TypeError: a bad argument.
    """
    return ConnectionOptions(
        is_client_side,
        resolve_logger(logger_name, "client" if is_client_side else "server"),
        auto_ping=auto_ping_policy(
            enable_auto_ping, auto_ping_strategy, auto_ping_idle_timeout, auto_ping_reply_timeout
        ),
        **options,
    )


def check_size(name: str, value: object) -> None:
    """Refuse what is not a positive int."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")


def check_count(name: str, value: object) -> None:
    """Refuse what is not an int of at least 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")


def check_callable(name: str, value: object, is_optional: bool = False) -> None:
    """Refuse what cannot be called; None is accepted if `is_optional`."""
    if not callable(value) and not (is_optional and value is None):
        raise TypeError(f"{name} must be callable{' or None' if is_optional else ''}, got {type(value).__name__}")


def check_timeout(name: str, value: object) -> None:
    """Refuse what is neither None nor a positive number of seconds."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds or None, got {type(value).__name__}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")


def handshake_timeout(websocket_handshake_timeout: Any, open_timeout: Any) -> Optional[float]:
    """The handshake timeout, which has two names (`open_timeout` is the second): giving both is a TypeError."""
    name, value = "websocket_handshake_timeout", websocket_handshake_timeout
    if open_timeout is not NOT_GIVEN:
        if websocket_handshake_timeout is not DEFAULT_HANDSHAKE_TIMEOUT:
            raise TypeError("open_timeout and websocket_handshake_timeout are two names of one option: give only one")
        name, value = "open_timeout", open_timeout
    check_timeout(name, value)
    return None if value is None else float(value)


def auto_ping_policy(
    enable: bool, strategy: Union[WSAutoPingStrategy, int], idle_timeout: float, reply_timeout: float
) -> Optional[AutoPingPolicy]:
    """The auto-ping policy; its arguments are validated even where auto-ping is off."""
    if enable:
        return AutoPingPolicy(WSAutoPingStrategy(strategy), idle_timeout, reply_timeout)
    WSAutoPingStrategy(strategy)
    check_timeout("auto_ping_idle_timeout", idle_timeout)
    check_timeout("auto_ping_reply_timeout", reply_timeout)
    return None


def resolve_logger(logger: WSLoggerLike, default: str) -> AnyLogger:
    """`picows.<default>` for None, `picows.<name>` for a name, and a logger or adapter as it is."""
    if logger is None:
        return logging.getLogger(f"picows.{default}")
    if isinstance(logger, str):
        return logging.getLogger(f"picows.{logger}")
    if not callable(getattr(logger, "log", None)) or not callable(getattr(logger, "isEnabledFor", None)):
        raise TypeError(f"logger_name must be a str, a Logger, a LoggerAdapter or None, got {type(logger).__name__}")
    return logger


def connection_logger(logger: AnyLogger, fileno: Optional[int]) -> AnyLogger:
    """A child logger named after the connection's file descriptor.

    It is not registered with the logging module, which would keep it for ever.
    """
    if not isinstance(logger, logging.Logger) or fileno is None:
        return logger
    child = logging.Logger(f"{logger.name}.{fileno}")
    child.parent = logger
    return child
