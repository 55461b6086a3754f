"""What messages cost beyond their frames, without sockets: permessage-deflate, and finding who gets a broadcast."""

from __future__ import annotations

from .drop_in import json_text
from .frames import BINARY
from .setting import ENGINES, Timed, use

MESSAGES = 64
CONNECTIONS = 500


class Codec(Timed):
    """64 JSON texts through the codec of an engine, as servers agree on it; zlib's own time is in it."""

    params = (ENGINES, [256, 1024])
    param_names = ("engine", "size")

    def setup(self, engine: str, size: int) -> None:
        from picows.deflate import SERVER_DEFLATE, DeflateParameters

        agreed = DeflateParameters(server_max_window_bits=12, client_max_window_bits=12)
        make = use(engine).DeflateCodec
        self.sender, self.receiver = (make(agreed, is_client, SERVER_DEFLATE) for is_client in (True, False))
        self.message = json_text(size).encode()

    def time_64_messages_both_ways(self, engine: str, size: int) -> None:
        for _ in range(MESSAGES):
            self.receiver.decompress(self.sender.compress(self.message), True)


class BroadcastMessages(Timed):
    """One message of 256 B to 500 connections of messages: who is open, and the frame."""

    params = (ENGINES,)
    param_names = ("engine",)

    def setup(self, engine: str) -> None:
        from fixtures.wire import Connection

        self.engine = use(engine)
        peers = [Connection(self.engine, listener=self.engine.WSMessageListener()) for _ in range(CONNECTIONS)]
        self.peers, self.listeners = peers, {peer.listener for peer in peers}

    def time_to_500(self, engine: str) -> None:
        transports, _ = self.engine.sort_for_broadcast(self.listeners)
        self.engine.ws_broadcast(transports, BINARY, bytes(256))
        for peer in self.peers:
            peer.wire.chunks.clear()
