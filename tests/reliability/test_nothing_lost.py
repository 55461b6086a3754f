"""T13: nothing is lost without the sender knowing it: the ledger (`fixtures.ledger`) through a chaos proxy.

150 faults for each engine and API, and 20 through TLS. `hatch run chaos` runs as many as are wanted, with other seeds.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, AsyncIterator, Callable, List

import pytest
from fixtures.chaos import FAULTS, SHAPES
from fixtures.ledger import Book, Channel, Message, Session, make_message
from fixtures.ledger_run import LAYERS, run_ledger
from fixtures.sockets import Net

FAULT_COUNT = 150
SEED = 13


@pytest.mark.parametrize("layer", LAYERS)
async def test_t13_faults(local: Net, engine: Any, layer: str) -> None:
    asyncio.get_running_loop().set_debug(False)  # which costs as much as the rest
    report = await run_ledger(engine, layer, SEED, FAULT_COUNT, session_count=16)
    shown = "\n".join([*report.errors, "the proxy's log ends with:", *report.log[-20:]])
    assert not report.errors, f"seed {SEED}: {shown}"
    assert sum(report.faults.values()) >= FAULT_COUNT
    assert set(report.faults) == {*FAULTS} - {"none"}
    assert set(report.shapes) == {*SHAPES} - {"whole"}
    assert bool(report.retries) is (layer == "drop-in")
    assert report.connections > 50
    assert report.messages > 2000
    assert 0 < report.gaps < report.unknown


@pytest.mark.parametrize("layer", LAYERS)
async def test_t13_faults_below_tls(caplog: Any, local: Net, engine: Any, layer: str, certificates: Any) -> None:
    asyncio.get_running_loop().set_debug(False)
    # asyncio's TLS warns of what is sent between the peer's end and connection_lost; the ledger knows of it.
    caplog.set_level(logging.ERROR, "asyncio")
    logging.getLogger("aiofastnet").setLevel(logging.ERROR)
    local.allowed_reports.append("SSL handshake failed")  # by a reset, of which transports tell the loop too
    report = await run_ledger(engine, layer, SEED, 20, session_count=8, certificates=certificates)
    assert not report.errors, f"seed {SEED}: {report.errors}, the proxy's log ends with: {report.log[-20:]}"
    assert sum(report.faults.values()) >= 20
    assert report.messages > 100


# --- the ledger finds what it looks for ---


class Lossy(Channel):
    """A channel to a peer that is right here, with a fault of its own."""

    class Closed(Exception):
        """The end."""

    closed_errors = (Closed,)

    def __init__(self, inbox: List[Message], outbox: List[Message], fault: str) -> None:
        self.inbox = inbox
        self.outbox = outbox
        self.fault = fault
        self.sent = 0
        self.is_closed = False

    async def release(self) -> None:
        pass

    async def send_whole(self, message: Message) -> None:
        self.sent += 1
        if self.is_closed and self.fault != "sends when closed":
            raise self.Closed
        if self.sent == 5:
            if self.fault == "loses one":
                return
            if self.fault == "twice":
                self.outbox.append(message)
            if self.fault == "tears":
                message = message[:-1]
            if self.fault == "swaps":
                self.outbox.insert(max(0, len(self.outbox) - 1), message)
                return
        if self.fault != "loses all" and not self.is_closed:
            self.outbox.append(message)

    async def send_fragments(self, fragments: Any) -> None:
        parts = [part async for part in fragments] if hasattr(fragments, "__aiter__") else fragments
        await self.send_whole(parts[0][:0].join(parts))

    async def recv_whole(self) -> Message:
        while not self.inbox:
            if self.is_closed:
                raise self.Closed
            await asyncio.sleep(0)
        return self.inbox.pop(0)

    async def recv_streaming(self) -> AsyncIterator[Message]:
        yield await self.recv_whole()

    async def close(self) -> None:
        self.is_closed = self.fault != "close does nothing"
        if not self.is_closed:
            self.recv_whole = self._raise  # type: ignore[method-assign]

    async def _raise(self) -> Message:
        raise self.Closed

    async def ping(self, timeout: float) -> None:
        await asyncio.sleep(0)

    def abort(self) -> None:
        self.is_closed = True

    def hang_up(self) -> None:
        self.is_closed = True

    def is_sealed(self) -> bool:
        return self.is_closed

    def closed_first_and_answered(self) -> bool:
        return True

    def code_of(self, exc: Any) -> int:
        return 1011 if self.fault == "wrong code" else 1000


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("none", ""),
        ("loses one", "order: "),
        ("twice", "order: "),
        ("tears", "order: "),
        ("swaps", "order: "),
        ("loses all", "clean: "),
        ("wrong code", "told: "),
        ("close does nothing", "told: close returned"),
    ],
)
async def test_what_the_ledger_finds(local: Net, fault: str, found: str) -> None:
    session = Session("0", 1)
    up: List[Message] = []
    down: List[Message] = []
    server = Lossy(up, down, "none")
    client = Lossy(down, up, fault)

    async def opener(path: str) -> Channel:
        session.serve(server)
        return client

    async def follow() -> None:
        while not client.is_closed and not (fault == "close does nothing" and "recv_whole" in client.__dict__):
            await asyncio.sleep(0)
        while up:
            await asyncio.sleep(0)
        server.is_closed = client.is_closed = True

    following = asyncio.ensure_future(follow())
    await session.connect(opener, (), is_last=True)
    await following
    if not found:
        assert session.errors == []
    assert any(found in error for error in session.errors) is bool(found), session.errors


def told(use: Callable[[Book, Callable[[str], None]], None]) -> List[str]:
    errors: List[str] = []
    use(Book("seed"), errors.append)
    return [error.split(":")[0] for error in errors]


def test_what_a_book_finds() -> None:
    def lost_though_confirmed(book: Book, tell: Callable[[str], None]) -> None:
        book.offered = book.returned = book.confirmed = 2
        book.receive(make_message("seed", 0), tell)
        book.end(False, tell)

    def received_though_not_sent(book: Book, tell: Callable[[str], None]) -> None:
        book.receive(make_message("seed", 0), tell)
        book.end(False, tell)

    def unknown(book: Book, tell: Callable[[str], None]) -> None:
        book.offered = book.returned = 3
        book.confirmed = 1
        book.receive(make_message("seed", 0), tell)
        book.end(False, tell)
        assert (book.gaps, book.unknown) == (2, 2)

    assert told(lost_though_confirmed) == ["confirmed", "gap"]
    assert told(received_though_not_sent) == ["prefix"]
    assert told(unknown) == []
