"""The names of upstream's module `picows.api`: re-exports only."""

from .client import WSListenerFactory, ws_connect
from .http import WSHeadersLike
from .options import WSLoggerLike
from .proxy import WSSocketFactory
from .server import WSServerListenerFactory, ws_create_server

__all__ = [
    "WSHeadersLike",
    "WSListenerFactory",
    "WSLoggerLike",
    "WSServerListenerFactory",
    "WSSocketFactory",
    "ws_connect",
    "ws_create_server",
]
