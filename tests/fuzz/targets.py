"""What is tried on any bytes: functions that raise where the library does not keep its promises.

Every parser must do the same however its bytes are cut, and must raise nothing but its own errors. An input begins with
a few bytes that choose the side, the options and the cuts; the rest is what a peer sends. A target takes any bytes at
all, and does the same with the same bytes each time.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Optional

from fixtures.wire import Connection
from fuzz.promises import ACCEPT, LIMIT, must, pieces_of, same, ways, ways_of_heads

from picows import _engine, deflate
from picows.abc import FrameRules
from picows.errors import WSError, WSHandshakeError, WSInvalidHeaderError, WSInvalidURL, WSProtocolError
from picows.extensions import parse_extensions
from picows.handshake import ClientHandshake, ServerHandshake, refusal
from picows.head import HeadReader
from picows.http import parse_request, parse_response
from picows.pure.parser import FrameParser
from picows.pure.upgrade import scan_upgrade
from picows.url import WSParsedURL, parse_url, resolve_redirect

_AGREED = deflate.DeflateParameters()
_AGREED_WITHOUT_CONTEXT = deflate.DeflateParameters(True, True, 9, 9)
_URL = parse_url("ws://user:secret@example.com:8080/chat?room=1")


def _without_received(text: str) -> str:
    """An error's text up to what it quotes: that is what had arrived by then."""
    return text.partition(", received ")[0]


# --- frames and messages ---


def frames(data: bytes) -> None:
    """picows.pure's frame parser, bare or with the rules of messages."""
    if len(data) < 3:
        return
    flags, first, second = data[:3]

    rules = FrameRules(0x40 if flags & 4 else 0, LIMIT if flags & 8 else None, bool(flags & 16), bool(flags & 32))

    def read(pieces: list[bytes]) -> Any:
        delivered: list[Any] = []

        def deliver(frame: Any) -> bool:
            delivered.append((frame._first, bytes(frame._payload)))
            return True

        parser = FrameParser(bool(flags & 1), LIMIT, deliver, rules if flags & 2 else None)
        try:
            for piece in pieces:
                parser.feed(piece)
        except WSProtocolError as exc:
            return delivered, int(exc.code), str(exc)
        kept = len(parser._tail) if parser.pending is None else len(parser.pending.payload)
        must(kept <= max(LIMIT, 4096) + 14, f"{kept} bytes are kept")
        return delivered, None, None

    same("frames", *map(read, ways(data[3:], first, second)))


def _codec(flags: int, client: bool) -> Optional[deflate.DeflateCodec]:
    if not flags & 2:
        return None
    return deflate.DeflateCodec(_AGREED_WITHOUT_CONTEXT if flags & 4 else _AGREED, client)


def converse(engine: Any, flags: int, pieces: list[bytes]) -> Any:
    """A connection of an engine's message layer: what is received, what is written, and how it ends."""
    client = bool(flags & 1)
    listener = engine.WSMessageListener(
        max_message_size=LIMIT,
        max_queue=(None, 1, 16)[flags >> 3 & 1],
        max_fragments=3 if flags & 16 else None,
        codec=_codec(flags, client),
    )
    connection = Connection(engine, client=client, listener=listener, max_frame_size=LIMIT)
    received: list[Any] = []

    async def receive() -> None:
        async for message in listener:
            must(len(message) <= LIMIT, f"a message of {len(message)}")
            received.append(message)
            if flags & 32:
                await listener.send(message)

    task = connection.loop.create_task(receive())
    for piece in pieces:
        connection.feed(piece)
        connection.loop.settle()
    connection.lose()
    connection.loop.settle()
    must(task.done(), "recv waits after the connection has ended")
    error, sent = task.exception(), [frame._replace(key=None) for frame in connection.sent()]
    calls = list(connection.wire.calls)
    connection.shut()
    if error is not None and not isinstance(error, WSError):
        raise error
    return received, sent, calls, repr(error), repr(error and error.__cause__)


def messages(data: bytes) -> None:
    """picows.pure's message layer: the same messages, however they are cut."""
    if len(data) < 3:
        return
    flags, first, second = data[:3]
    engine = _engine.load("pure")
    # What is echoed before the end, and when reading pauses, depends on what came together.
    flags &= ~(32 | 8)
    outcomes = [converse(engine, flags, pieces) for pieces in ways(data[3:], first, second)[:2]]
    same("messages", *((received, error, cause) for received, _, _, error, cause in outcomes))


def twins(data: bytes) -> None:
    """The message layers of both engines, which get the same reads."""
    if len(data) < 3:
        return
    flags, first, second = data[:3]
    engines = _engine.load("pure"), _engine.load("core")
    pieces = pieces_of(data[3:], first, second)
    same("core", *(converse(engine, flags, pieces) for engine in engines))


# --- the handshake ---


def request(data: bytes) -> None:
    """The server's half: a request is accepted, or refused with an answer, and the engines' shortcut agrees."""
    if len(data) < 1:
        return
    sent = data[1:]
    same("a request", *(_answer(ServerHandshake(scan_upgrade), pieces) for pieces in ways_of_heads(sent, data[0])))
    answer = same("a whole request", *(_answer(ServerHandshake(scan), [sent]) for scan in (None, scan_upgrade)))
    found = scan_upgrade(sent)
    if found is not None:
        size, target, accept = found
        must(answer[0] == 101 and accept in answer[1], f"{found} of a request that is answered with {answer}")
        same("an ordinary request", (target, sent[size:]), answer[2])
    for core in _core():
        same("scan_upgrade", found, core.scan_upgrade(sent) or found)


def _core() -> list[Any]:
    """picows.core, where there is one."""
    with contextlib.suppress(ModuleNotFoundError):
        return [_engine.load("core")]
    return []


def _answer(handshake: ServerHandshake, pieces: list[bytes]) -> Any:
    """Status, answer, and what was understood."""
    try:
        for piece in pieces:
            handshake.receive_data(piece)
    except WSHandshakeError as exc:
        answer, is_accepted = handshake.respond(refusal(exc))
    else:
        if handshake.request is None:
            return None
        answer, is_accepted = handshake.accept()
    size = answer.index(b"\r\n\r\n") + 4
    response = parse_response(answer[:size])
    response.body = answer[size:]
    must(is_accepted is (response.status == 101), "accepted or not")
    must(is_accepted or response.headers["Connection"] == "close", "a refusal that leaves the connection open")
    understood = (handshake.request.path, handshake.remainder) if is_accepted and handshake.request else None
    if handshake.request is not None:
        must(repr(handshake.request).isprintable(), "a request that cannot be logged")
    # Of the text of a refusal: what it quotes had arrived by then.
    return int(response.status), answer if is_accepted else _without_received(response.body.decode()), understood


def response(data: bytes) -> None:
    """The client's half."""
    if len(data) < 1:
        return
    same("a response", *(_outcome(pieces) for pieces in ways_of_heads(data[1:], data[0])))


def _outcome(pieces: list[bytes]) -> Any:
    handshake = ClientHandshake(_URL, {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "a"})
    handshake._accept = ACCEPT.decode()  # the right one is another each time
    try:
        for piece in pieces:
            if handshake.receive_data(piece):
                must(handshake.response is not None and handshake.response.status == 101, "accepted without a 101")
    except WSHandshakeError as exc:
        must(len(exc.raw_body or b"") <= 65536, "a body beyond its limit")
        return (
            type(exc),
            _without_received(str(exc)),
            handshake.response and (handshake.response.status, handshake.response.body),
        )
    return handshake._accepted, handshake.remainder, handshake.response and handshake.response.status


def head(data: bytes) -> None:
    """HTTP heads and the grammars of their fields: nothing but their own errors, however they are cut."""
    if len(data) < 1:
        return
    is_request = bool(data[0] & 1)
    same("a head", *(_read_head(is_request, pieces) for pieces in ways_of_heads(data[1:], data[0] & 254)))
    for parse in (parse_request, parse_response):
        try:
            message: Any = parse(data[1:])
        except WSHandshakeError as exc:
            must(str(exc).isprintable() and str(exc).isascii(), f"an error that cannot be logged: {exc!r}")
        else:
            for name, value in message.headers.items():
                must(not {"\r", "\n", "\0"}.intersection(name + value), "a control character within a field")
    text = data[1:].decode("latin-1")
    with contextlib.suppress(WSInvalidHeaderError):
        parse_extensions(text)
    negotiated = deflate.negotiate(deflate.SERVER_DEFLATE, [text])
    if negotiated is not None:  # what a server answers to an offer is what a client understands
        agreed = deflate.accept_response(deflate.CLIENT_DEFLATE, negotiated[0])
        must(agreed is not None and agreed.server_max_window_bits <= 12, f"{negotiated} understood as {agreed}")
    with contextlib.suppress(WSInvalidHeaderError):
        deflate.accept_response(deflate.CLIENT_DEFLATE, text)


def _read_head(is_request: bool, pieces: list[bytes]) -> Any:
    reader = HeadReader(is_request)
    for at, piece in enumerate(pieces):
        try:
            found = reader.feed(piece)
        except WSHandshakeError as exc:
            return _without_received(str(exc)), exc.status
        if found is not None:
            return found[0], found[1] + b"".join(pieces[at + 1 :])
    must(len(reader.received) <= 16384, "a head beyond its limit")
    return None


def url(data: bytes) -> None:
    """URLs, and where redirects lead: fit for the wire, free of credentials where they are shown."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_url, lambda text: resolve_redirect(_URL, text)):
        try:
            parsed: WSParsedURL = parse(text)
        except (WSInvalidURL, WSHandshakeError) as exc:
            must(str(exc).isprintable(), f"an error that cannot be logged: {exc!r}")
            must("secret" not in str(exc), "a password in an error")
            continue
        must(parsed.resource_name.isascii() and parsed.resource_name.isprintable(), "a target that cannot be sent")
        must(" " not in parsed.resource_name and parsed.resource_name[0] == "/", "a target that cannot be sent")
        must("secret" not in repr(parsed) or "secret" in parsed.safe_url, "a password in repr()")
        again = parse_url(parsed.safe_url)
        expected = (
            parsed.host.partition("%")[0],
            parsed.port,
            parsed.resource_name,
        )  # the zone is nobody else's business
        same("safe_url", expected, (again.host, again.port, again.resource_name))
        ClientHandshake(parsed) if ":" not in (parsed.username or "") else None


# --- permessage-deflate ---


def compressed(data: bytes) -> None:
    """Inflating: within its budget, the same in any fragments, and with nothing but its own errors."""
    if len(data) < 4:
        return
    flags, first, second, budget = data[0], data[1], data[2], data[3] << (data[0] >> 4)
    payload = data[4:]

    def inflate(pieces: list[bytes]) -> Any:
        codec = _codec(2 | flags & 4, bool(flags & 1))
        assert codec is not None
        output = b""
        try:
            for at, piece in enumerate(pieces):
                output += codec.decompress(piece, at == len(pieces) - 1, budget - len(output))
            codec.release()
            again = codec.decompress(pieces[0], len(pieces) == 1, budget)
        except WSProtocolError as exc:
            return int(exc.code)
        must(len(output) <= budget and len(again) <= budget, "more than its budget")
        return output

    results = [inflate([payload]), inflate(pieces_of(payload, first, second) or [b""])]
    if all(isinstance(result, bytes) for result in results):
        same("a message", *results)
    sender, receiver = (_codec(2 | flags & 4, side) for side in (True, False))
    assert sender is not None
    assert receiver is not None
    for message in (payload, payload, b"", payload[::-1]):
        same("what was compressed", message, receiver.decompress(sender.compress(message), True, len(message)))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "messages": messages,
    "twins": twins,
    "request": request,
    "response": response,
    "head": head,
    "url": url,
    "deflate": compressed,
}


def find(name: str) -> Callable[[bytes], None]:
    """A target by its name. Those of picows.websockets are imported for that: atheris takes seconds for its modules."""
    if name.startswith("drop_in"):
        from fuzz import drop_in

        return drop_in.TARGETS[name]
    return TARGETS[name]
