"""K: origins, authentication and logs. Who is let in, and what a peer can make us write down."""

from __future__ import annotations

import base64
import hmac
import logging
import re
import sys
from typing import Any, Dict, List

import pytest
from fixtures.peers import request_head
from fixtures.places import Place, ask
from fixtures.sockets import until
from fixtures.wire import CLOSE, CONT, KEY, TEXT, build, close_payload

from picows.enums import PICOWS_DEBUG_LL

DROP_IN = pytest.mark.skipif(sys.version_info < (3, 11), reason="picows.websockets needs Python 3.11")
#: Origin -> whether a server that accepts ["https://good.com", <pattern>] lets it in
ORIGINS: Dict[str, bool] = {
    "https://good.com": True,
    "https://a.good.org": True,
    "http://good.com": False,
    "https://good.com:443": False,
    "https://good.com:8443": False,
    "https://good.com/": False,
    "https://Good.com": False,
    "HTTPS://good.com": False,
    "https://evil-good.com": False,
    "https://good.com.evil": False,
    "https://good.com@evil": False,
    "https://evil/https://good.com": False,
    "https://a.good.org.evil": False,
    "https://evil/a.good.org": False,
    "null": False,
    "": False,
}


@DROP_IN
@pytest.mark.parametrize("pattern", [r"https://[a-z]+\.good\.org", r"^https://[a-z]+\.good\.org$"])
def test_k1_origins_are_compared_whole(pattern: str) -> None:
    """A pattern must match all of an origin, whether it is anchored or not; a missing one is let in only by None."""
    from fixtures import compat

    async def scenario(library: Any, origins: Any) -> Any:
        answers = {}
        async with library.serve(origins=origins, logger=compat.silent()) as server:
            for origin in [*ORIGINS, None]:
                lines = [] if origin is None else [f"Origin: {origin}"]
                answers[origin] = (await compat.ask(server, request_head(*lines), b"\r\n\r\n"))[9:12]
            two = request_head("Origin: https://good.com", "Origin: https://evil")
            answers["two"] = (await compat.ask(server, two, b"\r\n\r\n"))[9:12]
        return answers

    compat.skip_unless_comparable()
    allowed = ["https://good.com", re.compile(pattern)]
    expected = {origin: b"101" if is_good else b"403" for origin, is_good in ORIGINS.items()}
    answers = compat.assert_same(scenario, allowed)
    two = answers.pop("two")
    assert two in (b"400", b"403")
    assert answers == {**expected, None: b"403"}
    assert compat.assert_same(scenario, [None])[None] == b"101"
    assert set(compat.assert_same(scenario, None).values()) <= {b"101", two}


async def test_k1_the_listener_factory_decides_about_origins(place: Place) -> None:
    """The frame API has no option for it: the factory sees the header, and None refuses."""

    def factory(request: Any) -> Any:
        same_host = f"http://{request.headers['Host']}"
        return place.engine.WSListener() if request.headers.get("Origin") == same_host else None

    server = await place.serve(factory)
    for origin, status in (("http://127.0.0.1", b"101"), ("http://evil", b"404"), ("null", b"404")):
        peer = await place.raw_client(server)
        peer.write(request_head(f"Origin: {origin}"))
        assert (await peer.read_head())[9:12] == status


@DROP_IN
@pytest.mark.parametrize(
    ("user", "password", "is_right"),
    [
        ("user", "secr\xe9t", True),
        ("user", "secret", False),
        ("user", "\u65e5\u672c", False),
        ("user", "", False),
        ("nobody", "secr\xe9t", False),
        ("", "", False),
    ],
    ids=["right", "wrong", "wide", "empty", "unknown", "nobody"],
)
def test_k2_passwords_are_compared_in_constant_time(monkeypatch: Any, user: str, password: str, is_right: bool) -> None:
    """Always by hmac.compare_digest, of bytes, and once: also where the user is not known."""
    from fixtures import compat

    compared: List[Any] = []
    real = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        compared.append((type(a), type(b)))
        return real(a, b)

    async def scenario() -> Any:
        check = compat.OURS.server.basic_auth("realm", ("user", "secr\xe9t"))
        async with compat.OURS.serve(process_request=check, logger=compat.silent()) as server:
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            answer = await compat.ask(server, request_head(f"Authorization: Basic {credentials}"), b"\r\n\r\n")
            return answer[9:12]

    compat.skip_unless_comparable()
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert compat.run(scenario()) == (b"101" if is_right else b"401")
    assert compared == [(bytes, bytes)]


EVIL = "\x1b[31m\r\n\0\u202e\x85x"
RAW = EVIL.encode()


async def test_k3_no_peer_writes_lines_of_its_own(place: Place, caplog: Any) -> None:
    """Each record is one line of printable text, whatever the peer puts where; and credentials are hidden."""
    caplog.set_level(PICOWS_DEBUG_LL)
    server = await place.serve(lambda request: place.engine.WSMessageListener(max_message_size=1000))
    secret = "c2VjcmV0OnNlY3JldA=="
    for data in (
        RAW + b" / HTTP/1.1\r\n\r\n",
        b"GET /" + RAW + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1" + RAW + b"\r\n\r\n",
        request_head().replace(b"\r\n\r\n", b"\r\nX: " + RAW + b"\r\n\r\n"),
        request_head().replace(b"\r\n\r\n", b"\r\n" + RAW + b": x\r\n\r\n"),
        request_head(host="a\x1b[31m"),
        request_head(f"Authorization: Basic {secret}", f"Cookie: id={secret}", target="/%0d%0a%1b[31m"),
    ):
        if b"Authorization" in data:
            data += build(TEXT, b"\x1b", key=KEY) + build(CLOSE, close_payload(1000, RAW), key=KEY)
        await ask(place, server, data, then_eof=True)
    peer = await place.raw_client(server)
    await peer.upgrade(then=build(TEXT, b"\xff" + RAW, key=KEY))
    await peer.read_frame()
    await peer.aclose()
    await until(lambda: not server.connections)
    assert len(caplog.records) > 10
    for record in caplog.records:
        if record.name.startswith("picows"):
            text = record.getMessage()
            assert text.isprintable(), ascii(text)
            assert secret not in text


@DROP_IN
def test_k3_the_drop_in() -> None:
    """Its log of frames and heads is escaped as that of websockets; no line is the peer's."""
    from fixtures import compat

    async def scenario(library: Any) -> Any:
        lines = compat.Lines(logging.DEBUG)
        async with library.serve(logger=lines.logger, ping_interval=None) as server:
            frames = build(TEXT, RAW, key=KEY) + build(CLOSE, close_payload(1000, RAW), key=KEY)
            await compat.ask(server, request_head("X: y") + frames)
            await compat.ask(server, b"GET /" + RAW + b" HTTP/1.1\r\n\r\n")
        return [line for line in lines.lines if "\n" in line.split(" (", 1)[0] or "\x1b" in line]

    compat.skip_unless_comparable()
    assert compat.run(scenario(compat.OURS)) == []


MALFORMED = {
    "frame": request_head() + build(3, b"x", key=KEY) * 100,
    "unmasked": request_head() + build(TEXT, b"x") * 100,
    "continuation": request_head() + build(CONT, b"x", key=KEY) * 100,
    "text": request_head() + build(TEXT, b"\xff", key=KEY) * 100,
    "method": b"POST / HTTP/1.1\r\nHost: a\r\n\r\n" * 100,
    "rubbish": b"\xff" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_k4_at_most_one_record_for_a_connection(place: Place, data: bytes, caplog: Any) -> None:
    """At the level that is logged by default. `tests/load` does it 10,000 times."""
    server = await place.serve(lambda request: place.engine.WSMessageListener())
    count = 5
    for _ in range(count):
        peer = await place.raw_client(server)
        peer.write(data)
        if not data:
            peer.writer.write_eof()
        await peer.reader.readuntil(b"\r\n\r\n") if data else await peer.read_rest()
        peer.reset()
        await peer.aclose()
    await until(lambda: not server.connections)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= count


@DROP_IN
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_k4_the_drop_in(data: bytes) -> None:
    from fixtures import compat

    async def scenario() -> Any:
        lines = compat.Lines(logging.WARNING)
        async with compat.OURS.serve(logger=lines.logger, ping_interval=None, open_timeout=0.2) as server:
            for _ in range(5):
                await compat.ask(server, data)
        return len(lines.lines)

    compat.skip_unless_comparable()
    assert compat.run(scenario()) <= 5
