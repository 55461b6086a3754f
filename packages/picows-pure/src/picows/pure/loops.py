"""Which protocol reads fastest on which event loop."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import Any, MutableSet, Optional, Union

from ..abc import Opening
from ..options import ConnectionOptions
from .protocol import WSProtocol, _Connection


class WSStreamProtocol(_Connection, asyncio.Protocol):
    """The protocol for loops whose own read buffer is as good as ours (uvloop): one call a read instead of two."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Bytes were read."""
        if get_ident() != self._thread_id:
            self._follow_loop()
        pool = self._pool
        if pool.in_read:
            self._receive(data)
            return
        pool.in_read = True
        try:
            self._receive(data)
        finally:
            pool.end_read()


def make_protocol(
    loop: asyncio.AbstractEventLoop,
    options: ConnectionOptions,
    opening: Opening,
    registry: Optional[MutableSet[Any]] = None,
    is_plain: bool = True,
) -> Union[WSProtocol, WSStreamProtocol]:
    """The protocol that reads fastest on this loop.

    Args:
        loop: as for WSProtocol; likewise options, opening and registry.
        options: see WSProtocol.
        opening: see WSProtocol.
        registry: see WSProtocol.
        is_plain: True if the transport is the loop's own, without TLS. uvloop's TLS allocates 256 KiB for every
            read into bytes, which costs as much as the rest of the read.
    """
    module = type(loop).__module__
    if module.startswith("uvloop") and is_plain:
        return WSStreamProtocol(loop, options, opening, registry)
    protocol = WSProtocol(loop, options, opening, registry)
    if "Proactor" in type(loop).__name__ or module.startswith("winloop"):
        # Completion-based loops keep the buffer while they wait for data.
        protocol._own_view = memoryview(bytearray(options.read_buffer_init_size))
    return protocol
