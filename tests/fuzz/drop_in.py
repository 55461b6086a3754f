"""The targets about picows.websockets: its frames, and the HTTP that it reads by itself.

What they use is imported here and not within them: atheris sees only what is imported while it looks.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Optional

from fuzz.promises import ACCEPT, LIMIT, must, same, ways, ways_of_heads

from picows.websockets import headers
from picows.websockets._proxy_answer import ProxyAnswer
from picows.websockets._redirects import follow_redirect
from picows.websockets._whole_head import read_request, read_response
from picows.websockets.asyncio.ordinary import OrdinaryRequests
from picows.websockets.client import ClientProtocol
from picows.websockets.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProtocolError,
)
from picows.websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    enable_client_permessage_deflate,
    enable_server_permessage_deflate,
)
from picows.websockets.http11 import Request, Response
from picows.websockets.protocol import State
from picows.websockets.server import ServerProtocol
from picows.websockets.uri import parse_uri

_URI = parse_uri("ws://h/")
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_KEYS_ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_DATE = re.compile(rb"Date: [^\r]*")
_CONTROLS = re.compile("[\0-\x08\n-\x1f\x7f]")
_GRAMMARS = (headers.parse_connection, headers.parse_upgrade, headers.parse_authorization_basic)
#: Those that are also written.
_LISTS: tuple[tuple[Any, Any], ...] = (
    (headers.parse_extension, headers.build_extension),
    (headers.parse_subprotocol, headers.build_subprotocol),
)


def frames(data: bytes) -> None:
    """The Sans-I/O protocol: the same frames and answers, however they are cut."""
    if len(data) < 3:
        return
    flags, first, second = data[:3]
    same("frames", *(_read_frames(flags, pieces) for pieces in ways(data[3:], first, second)))


def _read_frames(flags: int, pieces: list[bytes]) -> Any:
    is_client = bool(flags & 1)
    protocol: Any = (
        ClientProtocol(_URI, max_size=LIMIT, state=State.OPEN)
        if is_client
        else ServerProtocol(max_size=LIMIT, state=State.OPEN)
    )
    if flags & 2:
        no_context, bits = bool(flags & 4), 9 if flags & 4 else 15
        protocol.extensions = [PerMessageDeflate(no_context, no_context, bits, bits)]
    events, answers = [], b""
    for piece in pieces:
        try:
            protocol.receive_data(piece)
        except ProtocolError:  # whoever feeds it after EOF is told so, as by websockets
            break
        events += protocol.events_received()
        answers += b"".join(protocol.data_to_send())
    error = protocol.parser_exc
    return events, protocol.close_code, protocol.close_reason, repr(error), b"" if is_client else answers


# --- HTTP ---


def head(data: bytes) -> None:
    """Requests, responses, answers of proxies, and the fields in them: what they are, however they are cut."""
    if len(data) < 2:
        return
    sent = data[2:].replace(ACCEPT, _KEYS_ACCEPT)
    cuts = [[sent], *ways_of_heads(sent, data[1])]
    what, read = _READERS[data[0] % len(_READERS)]
    outcome = same(what, *map(read, cuts))
    if read is _serve:
        _check_ordinary(sent, outcome)
    _check_fields(sent.decode("latin-1"))


def _serve(pieces: list[bytes]) -> Any:
    return _open(ServerProtocol(extensions=enable_server_permessage_deflate(None)), pieces)


def _dial(pieces: list[bytes]) -> Any:
    extensions = enable_client_permessage_deflate(None)
    protocol = ClientProtocol(_URI, extensions=extensions, subprotocols=["a"])  # type: ignore[list-item]
    protocol.key = _KEY
    return _open(protocol, pieces)


def _open(protocol: Any, pieces: list[bytes]) -> Any:
    """A handshake up to the end of the stream: what was understood and answered, and what is left for the frames."""
    protocol._leave_frames()
    messages: list[Any] = []
    for piece in pieces:
        protocol.receive_data(piece)
        for message in protocol.events_received():
            messages.append(message)
            if isinstance(message, Request):
                protocol.send_response(protocol.accept(message))
    is_open, remainder = protocol.state is State.OPEN, protocol._take_remainder()
    protocol.receive_eof()
    messages += protocol.events_received()
    error = protocol.handshake_exc
    must(isinstance(error, InvalidHandshake | None), f"an error of another kind: {error!r}")
    must(is_open is (bool(messages) and error is None), f"open or not: {error!r}")
    must(is_open or not remainder, "frames after a handshake that failed")
    if isinstance(error, InvalidStatus):
        _check_redirect(error)
    answer = _DATE.sub(b"", b"".join(protocol.data_to_send()))
    return is_open, remainder, answer, _causes(error), [_understood(message) for message in messages]


def _understood(message: Any) -> Any:
    """The parts of a request or response, which is the same when it was written and read again."""
    parts = _parts(message)
    for pair in parts[-1]:
        must(not any(map(_CONTROLS.search, pair)), f"a control character in {pair!r}")
    read = read_response if isinstance(message, Response) else read_request
    again: Any = read(message.serialize())
    if again is not None:
        same("what is written and read again", parts, _parts(again[0]))
    return parts, bytes(message.body) if isinstance(message, Response) else None


def _parts(message: Any) -> tuple[Any, ...]:
    fields = list(message.headers.raw_items())
    if isinstance(message, Response):
        return message.status_code, message.reason_phrase, fields
    return message.method, message.path, message.protocol, fields


def _causes(error: Optional[BaseException]) -> list[Any]:
    """An exception and its causes."""
    found = []
    while error is not None:
        found.append((type(error), str(error)))
        error = error.__cause__
    return found


def _check_ordinary(sent: bytes, outcome: Any) -> None:
    """What is accepted at a glance is what the protocol accepts, with the same answer, and can be read later."""
    extensions = enable_server_permessage_deflate(None)
    answer = OrdinaryRequests(extensions, None).accept(ServerProtocol(extensions=extensions), sent)
    if answer is not None:
        same("an ordinary request", outcome[:3], (True, answer.remainder, _DATE.sub(b"", answer.response)))
        must(read_request(answer.head), "a request that was accepted cannot be read")


class _Connector:
    """What has been redirected."""

    uri, ws_uri, additional_headers = "wss://h/a", parse_uri("wss://h/a"), None


def _check_redirect(error: InvalidStatus) -> None:
    with contextlib.suppress(InvalidURI, InvalidHeader):
        uri = follow_redirect(_Connector(), error, False, None)
        must(isinstance(uri, Exception) or parse_uri(uri).secure, f"a redirect to {uri!r}")


def _read_proxy(pieces: list[bytes]) -> Any:
    """The answer to CONNECT."""
    answer = ProxyAnswer()
    try:
        must(any(map(answer.feed, [*pieces, b""])), "a proxy that says neither yes nor no")
    except (InvalidProxyMessage, InvalidProxyStatus) as exc:
        return _causes(exc)
    return True


def _check_fields(text: str) -> None:
    """The grammars of fields raise nothing but their error, and read what they write."""
    for parse in _GRAMMARS:
        with contextlib.suppress(InvalidHeader):
            parse(text)
    for read, write in _LISTS:
        with contextlib.suppress(InvalidHeader):
            found = read(text)
            same("a list", found, read(write(found)))


_READERS = [("a request", _serve), ("a response", _dial), ("a proxy's answer", _read_proxy)]
TARGETS = {"drop_in": frames, "drop_in_head": head}
