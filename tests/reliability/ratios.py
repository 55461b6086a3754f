"""What grows with its input, and not with the square of it: times of four times as much, compared (B4 to B6, C4).

Not a test, because times depend on what else the machine does: `hatch run ratios`. Prints a table, and fails where
something takes more than LIMIT times as long instead of 4.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from fixtures.feeding import bytewise
from fixtures.messages import fragments, recv
from fixtures.wire import BINARY, CONT, KEY, Connection, build

from picows import _engine
from picows.deflate import DeflateCodec, DeflateParameters
from picows.errors import WSProtocolError
from picows.handshake import ServerHandshake

FACTOR, LIMIT, ROUNDS = 4, 12.0, 5  # with the square it would be 16
Work = Callable[[], Any]


def join_fragments(engine: Any, count: int) -> Work:
    """A message of so many fragments of 256 bytes."""
    connection = Connection(engine, listener=engine.WSMessageListener())
    pieces = bytewise(fragments(connection, BINARY, *[b"x" * 256] * count), 64 * 1024)

    def work() -> None:
        connection.feed(*pieces)
        recv(connection)

    return work


def join_crumbs(engine: Any, count: int) -> Work:
    """The same of one byte, with nobody who receives until the end."""
    connection = Connection(engine, listener=engine.WSMessageListener())
    middle = [build(CONT, b"x", fin=False, key=KEY)] * count

    def work() -> None:
        connection.feed(build(BINARY, b"x", fin=False, key=KEY), *middle, build(CONT, b"x", key=KEY))
        recv(connection)

    return work


def read_frame(engine: Any, size: int) -> Work:
    """A frame of that size in reads of 16 bytes."""
    connection = Connection(engine, listener=engine.WSMessageListener())
    pieces = bytewise(build(BINARY, bytes(size), key=KEY), 16)

    def work() -> None:
        connection.feed(*pieces)
        recv(connection)

    return work


def read_head(engine: Any, size: int) -> Work:
    """A request of that size, byte by byte."""
    start = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    start += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\na: "
    pieces = bytewise(start + b"b" * (size - len(start) - 4) + b"\r\n\r\n")

    def work() -> None:
        handshake = ServerHandshake(engine.scan_upgrade)
        for piece in pieces:
            handshake.receive_data(piece)

    return work


def inflate_empty_blocks(engine: Any, count: int) -> Work:
    """So many empty blocks."""
    data = b"\x00\x00\x00\xff\xff" * count
    return lambda: DeflateCodec(DeflateParameters(), False).decompress(data, True)


def inflate_streams(engine: Any, count: int) -> Work:
    """So many empty streams; that ends at the limit of them."""

    def work() -> None:
        try:
            DeflateCodec(DeflateParameters(), False).decompress(b"\x03\x00" * count, True)
        except WSProtocolError:
            return

    return work


def drop_in_frame(engine: Any, size: int) -> Work:
    """The Sans-I/O reader of picows.websockets: a frame of that size in reads of 16 bytes."""
    from picows.websockets.protocol import SERVER, Protocol

    pieces = bytewise(build(BINARY, bytes(size), key=KEY), 16)

    def work() -> None:
        protocol = Protocol(SERVER)
        for piece in pieces:
            protocol.receive_data(piece)

    return work


#: id and name -> (what is done, how much of it)
WORKS: Dict[str, Tuple[Callable[[Any, int], Work], int]] = {
    "B4 frame in reads of 16": (read_frame, 256 * 1024),
    "B4 the same in the drop-in": (drop_in_frame, 256 * 1024),
    "B5 fragments of 256": (join_fragments, 2048),
    "B5 fragments of 1": (join_crumbs, 4096),
    "B6 head byte by byte": (read_head, 2048),
    "C4 empty blocks": (inflate_empty_blocks, 25_000),
    "C4 empty streams": (inflate_streams, 50_000),
}


def seconds(work: Work) -> float:
    """Processor time of the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def ratios() -> Iterator[Tuple[str, str, float, float]]:
    """Engine, name, milliseconds of the larger one, ratio."""
    for name in ("pure", "core"):
        try:
            engine = _engine.load(name)
        except ImportError as exc:
            print(f"without picows.{name}: {exc}")
            continue
        for what, (prepare, amount) in WORKS.items():
            once, more = seconds(prepare(engine, amount)), seconds(prepare(engine, FACTOR * amount))
            yield name, what, more * 1000, more / max(once, 1e-6)


def main() -> int:
    """Print all; 1 if one is beyond the limit."""
    logging.disable(logging.CRITICAL)
    is_bad = False
    for engine, what, milliseconds, ratio in ratios():
        is_bad = is_bad or ratio > LIMIT
        print(f"{engine:5} {what:28} {milliseconds:9.2f} ms   x {ratio:4.1f}{'   MORE THAN LINEAR' * (ratio > LIMIT)}")
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
