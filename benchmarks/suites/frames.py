"""The path of a frame without sockets: bytes into the protocol, and messages to the write of an asyncio transport."""

from __future__ import annotations

from typing import Any

from .setting import ENGINES_BY_LEVEL, Timed, use

SIZES = [64, 4096, 1 << 18]
BATCH = 64 * 1024
BINARY = 2


def batch(size: int) -> int:
    """How many messages one call handles."""
    return max(1, BATCH // size)


def connection(engine: Any, side: str) -> Any:
    """A connection whose listener takes each payload and keeps nothing."""
    from fixtures.wire import Connection

    class Taking(engine.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            frame.get_payload_as_bytes()

    return Connection(engine, client=side == "client", listener=Taking())


class Parse(Timed):
    """64 KiB or one message arrive in reads of the protocol's own size; masked ones at a server."""

    params = (ENGINES_BY_LEVEL, ["client", "server"], SIZES)
    param_names = ("engine", "side", "size")

    def setup(self, engine: str, side: str, size: int) -> None:
        self.connection = connection(use(engine), side)
        self.data = self.connection.frame(BINARY, bytes(size)) * batch(size)

    def time_parse(self, engine: str, side: str, size: int) -> None:
        self.connection.feed(self.data)


class Send(Timed):
    """64 KiB or one message are sent in one turn of the loop; a client masks them."""

    params = (ENGINES_BY_LEVEL, ["client", "server"], SIZES)
    param_names = ("engine", "side", "size")

    def setup(self, engine: str, side: str, size: int) -> None:
        self.connection = connection(use(engine), side)
        self.payload, self.count = bytes(size), batch(size)

    def time_send(self, engine: str, side: str, size: int) -> None:
        send, payload = self.connection.transport.send, self.payload
        for _ in range(self.count):
            send(BINARY, payload)
        self.connection.loop.advance(0)
        self.connection.wire.chunks.clear()
