"""Runs under callgrind and marks where a case begins and ends; `instructions` reads the counts.

usage: python -m suites.probe ENGINE GROUP       prints the names of the cases in order

Each case runs COUNT times and then twice COUNT times, with a call of getppid() before, between and after, at which
callgrind writes down what it counted. The difference is what COUNT repetitions cost, without what the loop and the
first use cost. Collection of garbage is off: when it happens would depend on everything before.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import partial
from typing import Any, Callable, Dict

from . import serving
from .frames import BINARY, connection
from .kernels import KEY, text
from .setting import LAYERS, LEVELS, kernels, use, use_for_all

COUNT = 8
#: In one read, or in one turn of the loop, so that what a test's loop and transport cost counts little.
MESSAGES = 16
MARKS_PER_CASE = 3


def kernel_cases() -> Dict[str, Callable[[], Any]]:
    """The kernels that this processor runs; valgrind's is one without AVX-512."""
    cases: Dict[str, Callable[[], Any]] = {}
    for level in LEVELS:
        try:
            module = kernels(level)
        except NotImplementedError:
            continue
        for size in (64, 4096):
            data, letters = bytearray(size), text("cyrillic", size)
            cases[f"mask {size} {level}"] = partial(module.mask_into, level, data, data, KEY)
            cases[f"utf8 {size} {level}"] = partial(module.validate_utf8, level, letters)
    return cases


def frame_cases(engine: Any) -> Dict[str, Callable[[], Any]]:
    """Receiving and sending messages on each side."""
    cases: Dict[str, Callable[[], Any]] = {}
    for side in ("client", "server"):
        for size in (64, 4096):
            peer = connection(engine, side)
            data, payload = peer.frame(BINARY, bytes(size)) * MESSAGES, bytes(size)

            cases[f"parse {size} {side}"] = partial(peer.feed, data)
            cases[f"send {size} {side}"] = partial(_send, peer, payload)
    return cases


def _send(peer: Any, payload: bytes) -> None:
    for _ in range(MESSAGES):
        peer.transport.send(BINARY, payload)
    peer.loop.advance(0)
    peer.wire.chunks.clear()


def server_cases(engine: str) -> Dict[str, Callable[[], Any]]:
    """Accepting a connection, and waking who waits for a message, by each API that is installed."""
    cases: Dict[str, Callable[[], Any]] = {}
    for layer in LAYERS:
        try:
            make = serving.without_sockets(layer, engine)
        except NotImplementedError:
            continue
        cases[f"accept {layer}"] = partial(_come_and_go, make)
        for size in (64, 4096) if layer != "listener" else ():
            peer = serving.accept(make)
            cases[f"wake {size} {layer}"] = partial(_wake, peer, peer.frame(BINARY, bytes(size)))
    return cases


def _come_and_go(make: Any) -> None:
    serving.leave(serving.accept(make))


def _wake(peer: Any, frame: bytes) -> None:
    written = serving.answers(peer, frame, MESSAGES)
    if written != MESSAGES:
        raise RuntimeError(f"{written} of {MESSAGES} messages were answered in the turn in which they came")


#: What is measured together: a process of its own each.
GROUPS: Dict[str, Callable[[str], Dict[str, Callable[[], Any]]]] = {
    "frames": lambda engine: frame_cases(use(engine)),
    "kernels": lambda engine: kernel_cases(),
    "servers": server_cases,
}


def main() -> None:
    """Run all cases of a group."""
    use_for_all(sys.argv[1])
    cases = GROUPS[sys.argv[2]](sys.argv[1])
    gc.disable()
    for call in cases.values():
        for _ in range(COUNT):  # caches of the first use
            call()
        os.getppid()
        for _ in range(COUNT):
            call()
        os.getppid()
        for _ in range(2 * COUNT):
            call()
        os.getppid()
    print(json.dumps(list(cases)))


if __name__ == "__main__":
    main()
