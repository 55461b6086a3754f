"""Client and server on one loop: CPU of both, for one message under way at a time and for many."""

from __future__ import annotations

import time

from .session import Session, counting_listener, echo_listener
from .setting import ENGINES_BY_LEVEL, LINKS, LOOPS, Timed


class _RoundTrips(Timed):
    timer = time.thread_time
    depth = 1

    def setup(self, engine: str, loop: str, link: str, size: int) -> None:
        self.session = Session(engine, loop, link)
        self.session.serve(echo_listener(self.session.engine))
        self.client = self.session.connect(counting_listener(self.session.engine))
        self.payload = bytes(size)

    def teardown(self, engine: str, loop: str, link: str, size: int) -> None:
        if hasattr(self, "session"):
            self.session.close()

    def _run(self, count: int) -> None:
        session = self.session
        session.run(self.client.round_trips(session.loop, count, self.payload, self.depth))


class Echo(_RoundTrips):
    """16 round trips, one after the other."""

    params = (ENGINES_BY_LEVEL, LOOPS, LINKS, [256, 8192, 1 << 20])
    param_names = ("engine", "loop", "link", "size")

    def time_16_round_trips(self, engine: str, loop: str, link: str, size: int) -> None:
        self._run(16)


class Pipeline(_RoundTrips):
    """256 round trips with 64 messages under way."""

    depth = 64
    params = (ENGINES_BY_LEVEL, LOOPS, LINKS, [256, 8192])
    param_names = ("engine", "loop", "link", "size")

    def time_256_round_trips(self, engine: str, loop: str, link: str, size: int) -> None:
        self._run(256)
