"""The asyncio protocol of one connection."""

import asyncio
from collections.abc import MutableSet
from typing import Any

from typing_extensions import disjoint_base

from picows.abc import Opening
from picows.http import WSUpgradeRequest, WSUpgradeResponse
from picows.options import ConnectionOptions

from .listener import WSListener
from .parser import Parser
from .transport import WSTransport

@disjoint_base
class Receiver(Parser):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions,
        opening: Opening,
        registry: MutableSet[Any] | None = None,
    ) -> None: ...
    @property
    def transport(self) -> WSTransport | None: ...
    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def is_buffered_protocol(self) -> bool: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def buffer_updated(self, nbytes: int) -> None: ...
    def open(
        self, listener: WSListener, request: WSUpgradeRequest, response: WSUpgradeResponse, remainder: bytes
    ) -> None: ...
    def abandon(self) -> None: ...

class WSProtocol(Receiver, asyncio.BufferedProtocol): ...

def make_protocol(
    loop: asyncio.AbstractEventLoop,
    options: ConnectionOptions,
    opening: Opening,
    registry: MutableSet[Any] | None = None,
    is_plain: bool = True,
) -> WSProtocol: ...
