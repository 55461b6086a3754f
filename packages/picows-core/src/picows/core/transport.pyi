"""The sending half of a connection."""

import asyncio
from typing import Any

from typing_extensions import disjoint_base

from picows.abc import WSBuffer
from picows.options import ConnectionOptions

from .connection import Connection

@disjoint_base
class WSTransport(Connection):
    def __init__(
        self,
        is_client_side: bool,
        underlying_transport: asyncio.Transport,
        logger: Any,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions | None = None,
    ) -> None: ...
    def send(
        self,
        msg_type: int,
        message: WSBuffer | None,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def send_ping(self, message: WSBuffer | None = None) -> None: ...
    def send_pong(self, message: WSBuffer | None = None) -> None: ...
    def send_close(self, close_code: int = ..., close_message: WSBuffer | None = None) -> None: ...
    def send_reuse_external_bytearray(
        self,
        msg_type: int,
        buffer: bytearray,
        msg_offset: int,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def flush(self) -> None: ...

    # For the layers above (see picows.abc).
    def _lend_transport(self) -> None: ...
