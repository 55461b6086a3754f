"""`picows connect`: what is typed is sent, and what comes is printed.

Three tasks share one connection: one receives and prints, one sends what it reads, one measures pings. The receiver
decides the end: the peer's CLOSE, a lost connection, or enough messages. The end of the input sends CLOSE, and what the
server still says before it answers that is printed too; so `echo hi | picows connect URL` shows the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import Any, Awaitable, Callable, List, Optional

from .. import _engine
from ..enums import WSCloseCode
from ..errors import WSConnectionClosed
from ..url import parse_url
from .faults import INTERRUPTED, Failure
from .lines import InputLines
from .opening import connection_arguments, open_connection
from .prompt import Prompt
from .screen import ColourScreen, Screen, make_screen
from .words import escaped

_CLEAN = (1000, 1001, 1005)
_HELP = "/ping [N]  /close [CODE [REASON]]  /help; anything else is sent, //x sends /x. Ctrl-D ends."
_PONG_TIMEOUT_S = 10.0
_MOST_PINGS = 20
#: How long a server may take to answer our CLOSE after Ctrl-C.
_INTERRUPTED_S = 1.0

Read = Callable[[], Awaitable[Optional[str]]]


async def connect(options: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    if options.bench:
        from .bench import quick_bench

        return await quick_bench(options)
    arguments = connection_arguments(options)
    if options.count is not None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        conversation = Conversation(make_screen(options.raw), options)
        await conversation.open(arguments)
        # Somebody who types while a program takes the output ends it by Ctrl-D, or never.
        reads = options.count is None if sys.stdin.isatty() else not options.send
        return await conversation.run(InputLines().read if reads else _nothing)
    conversation = Conversation(ColourScreen(options.raw, "the prompt of `picows connect`"), options)
    prompt = Prompt(conversation.facts, ("/ping", "/close", "/help"))
    conversation.has_commands = True
    await conversation.open(arguments)
    with prompt.screen_above():
        conversation.screen.remark(_HELP)
        code = await conversation.run(prompt.read)
    return INTERRUPTED if prompt.is_interrupted else code


async def _nothing() -> Optional[str]:
    return None


class Conversation:
    """One connection, and what is said on it."""

    def __init__(self, screen: Screen, options: argparse.Namespace) -> None:
        self.screen = screen
        self.has_commands = False
        self._options = options
        self._url = options.url
        self._sent = self._received = 0
        self._round_trip_s: Optional[float] = None
        self._transport: Any = None
        self._listener: Any = None
        self._has_closed = False

    def facts(self) -> str:
        """The bottom line."""
        ping = "" if self._round_trip_s is None else f"  ping {_milliseconds(self._round_trip_s)}"
        return escaped(f"{self._url}  sent {self._sent}  received {self._received}{ping}")

    async def open(self, arguments: dict[str, Any]) -> None:
        """Connect."""
        self._transport, self._listener = await open_connection(
            arguments,
            # While we close, nothing is dropped. The receiver takes what there is each time it runs.
            lambda request, response: (
                _engine.engine.WSMessageListener(request, response, max_queue=None)
                if self._options.count is None
                else _engine.engine.WSMessageListener(request, response)
            ),
        )
        self._url = parse_url(self._options.url).safe_url
        if self.has_commands:
            protocol = self._transport.response.headers.get("Sec-WebSocket-Protocol")
            self.screen.remark(f"connected to {self._url}" + (f", {protocol}" if protocol else ""))

    async def run(self, read: Read) -> int:
        """Talk until the input, the connection or the count ends. Returns the exit code."""
        receiving = asyncio.ensure_future(self._receive())
        others: List[asyncio.Future[None]] = [asyncio.ensure_future(self._send(read))]
        if self._options.ping is not None:
            others.append(asyncio.ensure_future(self._ping_repeatedly(self._options.ping)))
        sending = others[0]
        patience_s: Optional[float] = None
        try:
            both: List[asyncio.Future[Any]] = [receiving, sending]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done() and sending.exception() is None:
                await asyncio.wait([receiving])
        except asyncio.CancelledError:  # Ctrl-C
            patience_s = _INTERRUPTED_S
            raise
        finally:
            for task in others:
                task.cancel()
            results = await asyncio.gather(*others, return_exceptions=True)
            await self._end(patience_s)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (WSConnectionClosed, ConnectionError)):
                receiving.cancel()
                raise result
        return self._verdict(await receiving)

    async def _end(self, patience_s: Optional[float]) -> None:
        """Close, and wait for the server: so long, or for the close timeout."""
        closing = asyncio.ensure_future(self._listener.close())
        await asyncio.wait([closing], timeout=patience_s)
        self._transport.disconnect(graceful=False)
        await closing

    async def _receive(self) -> Optional[WSConnectionClosed]:
        """Print messages. Returns what ended the connection, None if it was the count."""
        count = self._options.count
        while count is None or self._received < count:
            try:
                message = await self._listener.recv()
            except WSConnectionClosed as exc:
                return exc
            self._received += 1
            self.screen.message(message)
        return None

    def _verdict(self, end: Optional[WSConnectionClosed]) -> int:
        if end is None:
            return 0
        count = self._options.count
        cause = f" ({end.__cause__})" if end.__cause__ is not None and str(end.__cause__) else ""
        if count is not None:
            raise Failure(f"got {self._received} of {count} messages: {end}{cause}")
        if end.code in _CLEAN or self._is_our_close_answered():
            if self.has_commands:
                self.screen.remark(str(end))
            return 0
        if end.code == WSCloseCode.ABNORMAL_CLOSURE and not cause:
            cause = ": the server hung up without a CLOSE, see its log"
            if self._has_closed:
                cause = ": the server did not answer our CLOSE, what was sent last may be lost"
        raise Failure(f"{end}{cause}")

    def _is_our_close_answered(self) -> bool:
        """With the code that we have sent: ours, not one with which the server has ended it meanwhile."""
        record = self._transport.close_handshake
        return (
            record is not None
            and None not in (record.sent, record.recv)
            and not record.recv_then_sent
            and record.sent.code == record.recv.code
        )

    async def _send(self, read: Read) -> None:
        """Send what is to be sent, then close, unless a count is waited for."""
        for text in self._options.send:
            await self._say(text)
        while not self._has_closed:
            line = await read()
            if line is None:
                break
            if self.has_commands and line.startswith("/") and not line.startswith("//"):
                await self._obey(line)
            elif line or not self.has_commands:
                await self._say(line[1:] if self.has_commands and line.startswith("//") else line)
        if self._options.count is None and not self._has_closed:
            self._has_closed = True
            await self._listener.close()

    async def _say(self, text: str) -> None:
        await self._listener.send(text)
        self._sent += 1

    async def _obey(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        if name == "ping":
            await self._ping(min(int(rest), _MOST_PINGS) if rest.strip().isdecimal() else 1)
        elif name == "close":
            code, _, reason = rest.strip().partition(" ")
            if code and not code.isdecimal():
                self.screen.remark(f"{code} is no close code: /close [CODE [REASON]]")
                return
            self._has_closed = True
            try:
                await self._listener.close(int(code or 1000), reason)
            except ValueError as exc:
                self._has_closed = False
                self.screen.remark(str(exc))
        else:
            self.screen.remark(_HELP)

    async def _ping(self, rounds: int) -> None:
        for _ in range(rounds):
            try:
                (round_trip_s,) = await self._transport.measure_roundtrip_time(1, _PONG_TIMEOUT_S)
            except asyncio.TimeoutError:
                self.screen.remark(f"no pong within {_PONG_TIMEOUT_S:g} s")
            else:
                self._round_trip_s = round_trip_s
                self.screen.remark(f"ping {_milliseconds(round_trip_s)}")

    async def _ping_repeatedly(self, interval_s: float) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._ping(1)
                await asyncio.sleep(interval_s)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"
