"""The load of `picows bench`: connections that send, and count how long the answers take.

Without a rate each connection keeps `depth` messages in flight: an answer sends the next one. With a rate messages are
due at fixed times and a message that has to wait for its turn has waited since it was due, so a server that stalls is
charged for all that it held up (coordinated omission).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Dict, List, NamedTuple, Optional

from .. import _engine
from ..enums import WSMsgType
from .faults import Failure
from .latency import Latencies
from .opening import open_connection

if TYPE_CHECKING:
    from ..pure import WSListener
else:
    WSListener = _engine.engine.WSListener

_OPENING_AT_ONCE = 64
#: What the loop's clock may be late is not the server's fault; epoll counts in whole milliseconds.
_TIMER_NS = 2_000_000
_CLOSE_S = 2.0
_CONTROL = 8
#: The default of `ws_connect`.
_MAX_FRAME_SIZE = 10 * 1024 * 1024


class Settings(NamedTuple):
    """What is sent. `depth` None is no limit, `rate` None no schedule (messages per second over all connections)."""

    connections: int
    size: int
    depth: Optional[int]
    rate: Optional[float]
    is_text: bool


class Load:
    """All connections of a run.

    Args:
        settings: what is sent.
        limit: end after so many counted messages; None goes on until it is stopped.
    """

    def __init__(self, settings: Settings, limit: Optional[int]) -> None:
        self.settings = settings
        self.limit = limit
        self.latencies = Latencies()
        self.opening = Latencies()
        self.answers = 0
        self.payload = b"x" * settings.size
        self.opcode = WSMsgType.TEXT if settings.is_text else WSMsgType.BINARY
        self.is_counting = self.is_sending = False
        #: Its result is None when the limit is reached, its exception what broke the run.
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connections: List[_Connection] = []
        self._schedule: Optional[asyncio.Future[None]] = None
        self._loss: Optional[asyncio.Future[None]] = None

    async def open(self, arguments: Dict[str, Any]) -> None:
        """Open all connections, some at a time; none stays open if one fails."""
        arguments = {**arguments, "max_frame_size": max(self.settings.size, _MAX_FRAME_SIZE)}  # the answers fit
        turns = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def open_one() -> None:
            async with turns:
                started = time.perf_counter_ns()
                await open_connection(arguments, self._add)
                self.opening.add(time.perf_counter_ns() - started)

        tasks = [asyncio.ensure_future(open_one()) for _ in range(self.settings.connections)]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()
            raise

    def start(self) -> None:
        """Send; nothing is counted before `count`."""
        self.is_sending = True
        if self.settings.rate is not None:
            self._schedule = asyncio.ensure_future(self._keep_schedule(self.settings.rate))
            return
        for connection in self._connections:
            for _ in range(self.settings.depth or 1):
                connection.send(time.perf_counter_ns())

    def count(self) -> None:
        """What was answered so far was the warm-up."""
        self.latencies = Latencies()
        self.is_counting = True

    def stop(self) -> int:
        """Send and count nothing more. Returns how many messages have no answer yet."""
        self.is_sending = self.is_counting = False
        if self._schedule is not None:
            self._schedule.cancel()
        return sum(len(connection.sent_at) + len(connection.waiting) for connection in self._connections)

    async def close(self) -> None:
        """Close all connections."""
        self.stop()
        tasks = [task for task in (self._schedule, self._loss) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self.ended.done():
            self.ended.set_result(None)
        elif not self.ended.cancelled():
            self.ended.exception()  # it may not have been asked for
        transports = [connection.transport for connection in self._connections if connection.transport is not None]
        for transport in transports:
            if not transport.is_disconnected:
                transport.send_close(1000)
        waiting = [asyncio.ensure_future(_wait_for_end(transport)) for transport in transports]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSE_S)
            for transport in transports:
                transport.disconnect(graceful=False)
            await asyncio.wait(waiting)

    def answered(self, latency_ns: int) -> None:
        """A connection has got an answer."""
        self.answers += 1
        if not self.is_sending:
            return
        self.latencies.add(latency_ns)
        if self.is_counting and self.latencies.count == self.limit and not self.ended.done():
            self.is_sending = False
            self.ended.set_result(None)

    def fail(self, sentence: str) -> None:
        """The run cannot go on."""
        if not self.ended.done():
            self.is_sending = False
            self.ended.set_exception(Failure(sentence))

    def lost(self, transport: Any) -> None:
        """A connection has ended, which is wrong while the load runs."""
        if self._loss is None and not self.ended.done():
            self._loss = asyncio.ensure_future(self._explain_loss(transport))

    async def _explain_loss(self, transport: Any) -> None:
        try:
            await transport.wait_disconnected()
        except Exception as exc:
            self.fail(f"the connection was ended here: {exc}")
        else:
            self.fail("a connection broke: see the server's log")

    def _add(self, request: Any, response: Any) -> Any:
        connection = _Connection(self)
        self._connections.append(connection)
        return connection

    async def _keep_schedule(self, rate: float) -> None:
        """Send what is due, over the connections in turn."""
        interval_ns = 1e9 / rate
        start = time.perf_counter_ns()
        number = 0
        while self.is_sending:
            now = time.perf_counter_ns()
            due = start + number * interval_ns
            if due > now:
                await asyncio.sleep((due - now) / 1e9)
                continue
            late = now - due > _TIMER_NS
            self._connections[number % len(self._connections)].send(int(due) if late else now)
            number += 1
            if number % 64 == 0:
                await asyncio.sleep(0)  # far behind: the answers want to be read too


async def _wait_for_end(transport: Any) -> None:
    with contextlib.suppress(Exception):  # why it ended does not matter any more
        await transport.wait_disconnected()


class _Connection(WSListener):
    """One connection: when what is in flight was due, and what waits for its turn."""

    def __init__(self, load: Load) -> None:
        self.transport: Any = None
        self.sent_at: Deque[int] = deque()
        self.waiting: Deque[int] = deque()
        self._load = load
        self._depth = load.settings.depth
        self._size = 0
        self._is_first = True

    def send(self, due_ns: int) -> None:
        """Send a message, or let it wait for its turn."""
        if self._depth is not None and len(self.sent_at) >= self._depth:
            self.waiting.append(due_ns)
            return
        self.sent_at.append(due_ns)
        self.transport.send(self._load.opcode, self._load.payload)

    def on_ws_connected(self, transport: Any) -> None:
        """It can be used."""
        self.transport = transport

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """An answer, or a part of one."""
        load = self._load
        if frame.msg_type >= _CONTROL:
            if frame.msg_type == WSMsgType.CLOSE:
                self._on_close(transport, frame)
            return
        self._size += frame.payload_size
        if self._is_first and frame.fin:
            self._is_first = False
            if frame.get_payload_as_bytes()[-self._size :] != load.payload:
                load.fail("the server answers with something else: bench needs one that echoes (picows serve)")
                return
        if not frame.fin:
            return
        size, self._size = self._size, 0
        if size != len(load.payload) or not self.sent_at:
            load.fail(
                f"the server sent {size} bytes where {len(load.payload)} were expected: bench needs one that echoes"
            )
            return
        now = time.perf_counter_ns()
        load.answered(now - self.sent_at.popleft())
        if load.is_sending:
            if self.waiting:
                self.send(self.waiting.popleft())
            elif load.settings.rate is None:
                self.send(now)

    def _on_close(self, transport: Any, frame: Any) -> None:
        reason = frame.get_close_reason()
        self._load.fail(f"the server closed: code {int(frame.get_close_code())}" + (f", {reason}" if reason else ""))
        if not transport.is_close_frame_sent:
            transport.send_close(frame.get_close_code())
        transport.disconnect()

    def on_ws_disconnected(self, transport: Any) -> None:
        """It has ended."""
        self._load.lost(transport)
