"""One connection that keeps N compressed messages in flight, of a set larger than any window: none finds itself again.

Each is compressed alone, which is right under any negotiation and takes as long to inflate as one that is not. Answers
are parsed, for their sizes are the server's choice; the first round is inflated and compared.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from typing import Any, Dict, Iterator, List

from spec import Spec

from . import wire
from .clock import cpu_clock_of

MESSAGES = 64
"""So many of 1 KiB are twice the largest window."""
COMPRESSED = 0x40
"""RSV1 (RFC 7692, section 6)."""


def run(spec: Spec) -> Dict[str, Any]:
    """Returns: operations, cpu_s of the server, wall_s, and what was negotiated."""
    messages = list(quotes(spec.size))
    sock, agreed = wire.connect_deflate(spec.port)
    frames = [wire.build_deflated(message, bits=wire.client_bits(agreed), first=0xC1) for message in messages]
    answers = Answers(sock)
    _check(sock, frames, messages, answers)
    for at in range(spec.in_flight):
        sock.sendall(frames[at % MESSAGES])
    sent = spec.in_flight
    sent = _exchange(sock, frames, answers, sent, spec.warm_s)
    clock = cpu_clock_of(spec.pid)
    cpu, start, load_cpu = clock(), time.perf_counter(), time.process_time()
    before = sent
    sent = _exchange(sock, frames, answers, sent, spec.seconds)
    return {
        "operations": sent - before,
        "cpu_s": clock() - cpu,
        "wall_s": time.perf_counter() - start,
        "load_cpu_s": time.process_time() - load_cpu,
        "facts": {"negotiated": agreed},
    }


class Answers:
    """The server's frames, cut out of the stream."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._rest = b""

    def read(self) -> List[bytes]:
        """Returns: the payloads of all frames that are complete after one more read. Raises: ConnectionError."""
        data = self._sock.recv(262144)
        if not data:
            raise ConnectionError("the server under test hung up")
        data = self._rest + data
        found, at = [], 0
        while len(data) - at >= 2:
            if not data[at] & COMPRESSED:
                raise ConnectionError(f"the server under test sent a frame that starts with {data[at]:#x}, wanted RSV1")
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            if len(data) < start + size:
                break
            found.append(data[start : start + size])
            at = start + size
        self._rest = data[at:]
        return found


def quotes(size: int) -> Iterator[bytes]:
    """Yields: different texts of quotes in JSON, of exactly that size, the same in every run."""
    chance = random.Random(size)
    for _ in range(MESSAGES):
        text = ""
        while True:
            bid = chance.randrange(10_000, 99_999) / 100
            quote = {"symbol": f"PAIR{chance.randrange(1000):03d}", "bid": bid, "ask": bid + chance.randrange(99) / 100}
            longer = text + ("," if text else "[") + json.dumps(quote)
            if len(longer) > size - 1:
                break
            text = longer
        yield (text + " " * (size - 1 - len(text)) + "]").encode()


def _check(sock: Any, frames: List[bytes], messages: List[bytes], answers: Answers) -> None:
    """Sends every message once, one at a time. Raises: ConnectionError unless each comes back as it was."""
    inflate = zlib.decompressobj(wbits=-15)
    for frame, message in zip(frames, messages):
        sock.sendall(frame)
        got: List[bytes] = []
        while not got:
            got = answers.read()
        text = inflate.decompress(got[0] + b"\0\0\xff\xff")
        if text != message:
            raise ConnectionError(f"the server under test answered {text[:80]!r}, wanted {message[:80]!r}")


def _exchange(sock: Any, frames: List[bytes], answers: Answers, sent: int, seconds: float) -> int:
    """Sends as many as came in. Returns: how many were sent in all."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        came = len(answers.read())
        sock.sendall(b"".join(frames[(sent + more) % MESSAGES] for more in range(came)))
        sent += came
    return sent
