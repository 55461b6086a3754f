"""Frames to bytes."""

import asyncio
from typing import Any

from typing_extensions import disjoint_base

from picows.options import ConnectionOptions

from .connection import Connection

@disjoint_base
class FrameWriter(Connection):
    def __init__(
        self,
        is_client_side: bool,
        underlying_transport: asyncio.Transport,
        logger: Any,
        loop: asyncio.AbstractEventLoop,
        options: ConnectionOptions | None = None,
    ) -> None: ...
