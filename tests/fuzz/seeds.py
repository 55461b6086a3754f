"""Writes the seeds of the fuzzing corpus: bad and unusual frames, handshakes, URLs and compressed messages.

    python tests/fuzz/seeds.py

One file for each case, named after it. Files of other names, those of crashes, stay.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fixtures.wire import BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, build, header, xor

CORPUS = Path(__file__).resolve().parent / "corpus"

#: Arguments of fixtures.wire.build, frame by frame.
FRAMES: dict[str, list[tuple[Any, ...]]] = {
    "text": [(TEXT, "h\u00e9llo \u20ac\U0001f600".encode())],
    "empty": [(TEXT, b""), (BINARY, b"")],
    "fragments": [(TEXT, b"a\xe2", 0), (PING, b"p"), (CONT, b"\x82", 0), (CONT, b"\xac")],
    "empty-fragments": [(BINARY, b"", 0), (CONT, b"", 0), (CONT, b"")],
    "medium": [(BINARY, bytes(126)), (BINARY, b"x")],
    "ping-pong": [(PING, b""), (PONG, b"late"), (PING, bytes(125))],
    "rsv1": [(TEXT, b"no", 1, 4)],
    "rsv2": [(TEXT, b"no", 1, 2)],
    "rsv3": [(TEXT, b"no", 1, 1)],
    "rsv1-on-continuation": [(TEXT, b"a", 0), (CONT, b"b", 1, 4)],
    "rsv1-on-ping": [(PING, b"a", 1, 4)],
    "opcode-3": [(3, b"")],
    "opcode-b": [(11, b"")],
    "ping-126": [(PING, bytes(126))],
    "ping-fragment": [(PING, b"", 0)],
    "close-fragment": [(CLOSE, b"", 0)],
    "continuation-first": [(CONT, b"a")],
    "text-in-message": [(TEXT, b"a", 0), (TEXT, b"b")],
    "close": [(CLOSE, b"\x03\xe8bye"), (TEXT, b"after")],
    "close-empty": [(CLOSE, b"")],
    "close-1-byte": [(CLOSE, b"\x03")],
    "close-not-utf-8": [(CLOSE, b"\x03\xe8\xff")],
    "close-in-message": [(TEXT, b"a", 0), (CLOSE, b"\x03\xe8"), (CONT, b"b")],
    "overlong": [(TEXT, b"\xc0\x80")],
    "surrogate": [(TEXT, b"\xed\xa0\x80")],
    "beyond-unicode": [(TEXT, b"\xf4\x90\x80\x80")],
    "cut-off": [(TEXT, b"a\xe2\x82")],
    "bad-first-fragment": [(TEXT, b"ok\xff", 0)],
    **{
        f"close-{code}": [(CLOSE, code.to_bytes(2, "big"))]
        for code in (0, 999, 1004, 1005, 1006, 1012, 1014, 1015, 2999, 3000, 4999, 5000, 65535)
    },
}
#: Size, form of the length, and opcode of headers without their payload.
HEADERS = {
    "length-top-bit": (1 << 63, 64, BINARY),
    "length-all-ones": ((1 << 64) - 1, 64, BINARY),
    "length-2-62": (1 << 62, 64, BINARY),
    "length-2-gib": (1 << 31, 64, BINARY),
    "length-limit": (4096, 16, BINARY),
    "length-limit-1": (4097, 16, TEXT),
    "length-5-in-16": (5, 16, TEXT),
    "length-5-in-64": (5, 64, TEXT),
    "length-reserved": (1 << 31, 64, 3),
}

UPGRADE = (
    b"GET /chat?a=1 HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: What is replaced in UPGRADE.
REQUESTS: dict[str, list[tuple[bytes, bytes]]] = {
    "plain": [],
    "frame-behind": [(b"\r\n\r\n", b"\r\n\r\n\x81\x80\0\0\0\0")],
    "connection-list": [(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade")],
    "absolute": [(b"GET /chat", b"GET http://example.com/chat")],
    "two-slashes": [(b"GET /chat", b"GET //chat")],
    "percent": [(b"/chat", b"/%zz")],
    "fragment": [(b"/chat", b"/#a")],
    "post": [(b"GET", b"POST")],
    "http-1.0": [(b"HTTP/1.1", b"HTTP/1.0")],
    "http-2.0": [(b"HTTP/1.1", b"HTTP/2.0")],
    "preface": [(UPGRADE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
    "tls": [(UPGRADE, b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")],
    "no-host": [(b"Host: example.com:8080\r\n", b"")],
    "two-hosts": [(b"Host: ", b"Host: a\r\nHost: ")],
    "host-colon": [(b"example.com:8080", b":")],
    "host-bracket": [(b"example.com:8080", b"[::1")],
    "host-address": [(b"example.com:8080", b"[::1]:80")],
    "host-space": [(b"example.com", b"a b")],
    "no-key": [(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"")],
    "two-keys": [(b"Sec-WebSocket-Key", b"Sec-WebSocket-Key: a\r\nSec-WebSocket-Key")],
    "short-key": [(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHM=")],
    "version-12": [(b"13", b"12")],
    "no-version": [(b"Sec-WebSocket-Version: 13\r\n", b"")],
    "no-upgrade": [(b"Upgrade: websocket\r\n", b"")],
    "no-connection": [(b"Connection: Upgrade\r\n", b"")],
    "body": [(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello")],
    "length-0": [(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")],
    "length-plus": [(b"\r\n\r\n", b"\r\nContent-Length: +0\r\n\r\n")],
    "chunked": [(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")],
    "bare-lf": [(b"\r\n", b"\n")],
    "bare-cr": [(b"example", b"exa\rmple")],
    "nul": [(b"example", b"exa\0mple")],
    "folded": [(b"Upgrade: ", b"Upgrade:\r\n ")],
    "bad-name": [(b"Upgrade:", b"Upgr ade:")],
    "space-before-colon": [(b"Upgrade:", b"Upgrade :")],
    "separators": [(b"Upgrade: websocket", b"Upgrade: web\x0bsocket\x85\x1c")],
    "blanks": [(b"websocket\r\n", b" \twebsocket \t\r\n")],
    "extensions": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")],
    "bits-99": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n\r\n")],
    "protocols": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: null\r\n\r\n")],
    "cut": [(b"\r\n\r\n", b"\r\n")],
}
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: {accept}\r\n\r\n"
)
RESPONSES: dict[str, list[tuple[bytes, bytes]]] = {
    "plain": [],
    "frames-behind": [(b"\r\n\r\n", b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8")],
    "wrong-accept": [(b"{accept}", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
    "two-accepts": [(b"Upgrade: w", b"Sec-WebSocket-Accept: a\r\nUpgrade: w")],
    "no-upgrade": [(b"Upgrade: websocket\r\n", b"")],
    "interim": [(b"HTTP", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP")],
    "extension": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")],
    "foreign-extension": [(b"\r\n\r\n", b'\r\nSec-WebSocket-Extensions: x; a="b"\r\n\r\n')],
    "protocol": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a\r\n\r\n")],
    "foreign-protocol": [(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: b\r\n\r\n")],
    "http-1.0": [(b"HTTP/1.1", b"HTTP/1.0")],
    "ssh": [(ACCEPTED, b"SSH-2.0-OpenSSH_9.2\r\n")],
    "refused": [(ACCEPTED, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")],
    "chunks": [(ACCEPTED, b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00\r\n\r\n")],
    "bad-chunks": [(ACCEPTED, b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n")],
    "redirect": [(ACCEPTED, b"HTTP/1.1 302 Found\r\nLocation: ws://other/\r\n\r\n")],
    "no-reason": [(ACCEPTED, b"HTTP/1.1 500 \r\n\r\n")],
    "status-600": [(ACCEPTED, b"HTTP/1.1 600 x\r\n\r\n")],
}
#: Behind "HTTP/1.1 ", for the drop-in, which reads more of responses.
ANSWERS = {
    "redirect-bracket": b"302 x\r\nLocation: //[\r\n\r\n",
    "redirect-twice": b"301 x\r\nLocation: /a\r\nLocation: /b\r\n\r\n",
    "redirect-down": b"307 x\r\nLocation: ws://h/\r\n\r\n",
    "body-to-the-end": b"404 x\r\n\r\nnot found",
    "body-in-part": b"404 x\r\nContent-Length: 9\r\n\r\nnot",
    "trailers": b"404 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
    "proxy": b"200 Connection established\r\nX: \xe9\r\n\r\n",
    "proxy-refuses": b'407 x\r\nProxy-Authenticate: Basic realm="a"\r\nContent-Length: 1\r\n\r\na',
}
FIELDS = {
    "list": b" a , ,b;c , d",
    "extensions": b'x; a="b\\c"; d, permessage-deflate; server_max_window_bits=9, y;',
    "basic": b"Basic dXNlcjpzZWNyZXQ=",
}
URLS = [
    "ws://example.com", "wss://example.com:443/a/b?c=d", "ws://user:secret@host:81/", "ws://u%40:p%3a@h/",
    "ws://[::1]:8080/", "ws://[fe80::1%25eth0]/x", "ws://[::ffff:192.0.2.1]/", "ws:///", "ws://:80/", "ws://h:0/",
    "ws://h:65536/", "ws://a@b@c/", "ws://b\u00fccher.example/\u20ac?\u00e4", "ws://h/a b", "ws://h/#f", "http://h/",
    "//other/path", "/path?q", "?q", "../x", "https://secure/", "ws://h\\@evil/", "ws://a..b/", "ws://\u2100/",
]  # fmt: skip


def stream(frames: list[tuple[Any, ...]], masked: bool) -> bytes:
    parts = []
    for frame in frames:
        opcode, payload, fin, rsv = frame + (1, 0)[len(frame) - 2 :]
        parts.append(build(opcode, payload, fin=bool(fin), rsv=rsv, key=KEY if masked else None))
    return b"".join(parts)


def streams() -> Iterator[tuple[str, bytes]]:
    """What a client sends."""
    for name, frames in FRAMES.items():
        yield name, stream(frames, True)
    for name, (size, form, opcode) in HEADERS.items():
        yield name, header(opcode, size, form=form, key=KEY) + xor(b"hello", KEY)
    yield "unmasked", build(TEXT, b"no")


def deflated(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush(flush)


def compressed() -> Iterator[tuple[str, bytes]]:
    """Payloads of compressed messages."""
    yield "hello", deflated(b"Hello Hello Hello")[:-4]
    yield "bomb", deflated(bytes(200_000))[:-4]
    yield "random", deflated(bytes(range(256)))[:-4]
    yield "stored", b"\0\x05\0\xfa\xffHello\0"
    yield "final-then-more", deflated(b"one", zlib.Z_FINISH) + deflated(b"two")[:-4]
    yield "final-and-empty", deflated(b"one", zlib.Z_FINISH) + b"\0"
    yield "many-streams", b"\x03\0" * 40
    yield "empty-blocks", b"\0\0\0\xff\xff" * 20
    yield "empty", b"\0"
    yield "garbage", b"\xff\xff\xff\xff"
    yield "far-distance", b"\x62\x04\x02\0"
    yield "not-utf-8", deflated(b"\xc0\x80")[:-4]


def handshakes(whole: bytes, cases: dict[str, list[tuple[bytes, bytes]]]) -> Iterator[tuple[str, bytes]]:
    for name, changes in cases.items():
        data = whole
        for old, new in changes:
            if old not in data:
                raise ValueError(f"{name}: {old!r} is not there")
            data = data.replace(old, new)
        yield name, data


def all_seeds() -> Iterator[tuple[str, str, bytes]]:
    """(target, name, input); `twins` and `drop_in` share those of `messages`, and `head` those of the handshakes."""
    for name, data in streams():
        yield "frames", name, b"\x2a\x55\xaa" + data  # with the rules of messages
        if not name.startswith("close-"):  # payloads do not matter there
            yield "frame_codec", name, b"\x19" + data
        yield "messages", name, b"\0\x55\xaa" + data
    for name in ("text", "fragments", "close", "rsv2"):
        yield "frames", f"client-{name}", b"\x01\x55\xaa" + stream(FRAMES[name], False)
        yield "messages", f"client-{name}", b"\x01\x55\xaa" + stream(FRAMES[name], False)
    for side, key in ((1, KEY), (0, None)):
        for name, size in (("small", 5), ("16-bits", 300), ("64-bits", 1 << 17)):  # with a limit that allows it
            yield (
                "frame_codec",
                f"{('client', 'server')[side]}-{name}",
                bytes([40 | side]) + header(BINARY, size, key=key),
            )
    yield "frame_codec", "client-gets-a-mask", b"\x28" + build(TEXT, b"no", key=KEY)
    for name, payload in compressed():
        yield "deflate", name, b"\x80\x55\xaa\x40" + payload
        whole = build(TEXT, payload, rsv=4, key=KEY)
        halves = build(TEXT, payload[:3], rsv=4, fin=False, key=KEY) + build(CONT, payload[3:], key=KEY)
        yield "messages", f"deflate-{name}", b"\x02\x55\xaa" + whole + halves
    for name, data in handshakes(UPGRADE, REQUESTS):
        yield "request", name, b"\x81" + data
    for name in ("plain", "frame-behind", "blanks", "length-0"):
        yield "upgrade", name, dict(handshakes(UPGRADE, REQUESTS))[name]
    for name, data in handshakes(ACCEPTED, RESPONSES):
        yield "response", name, b"\x80" + data
    for name in ("plain", "frame-behind", "blanks", "http-1.0", "length-0", "extensions", "bare-lf", "cut"):
        yield "drop_in_head", f"request-{name}", b"\x00\x55" + dict(handshakes(UPGRADE, REQUESTS))[name]
    for name in ("plain", "frames-behind", "wrong-accept", "extension", "protocol", "chunks"):
        yield "drop_in_head", f"response-{name}", b"\x01\x55" + dict(handshakes(ACCEPTED, RESPONSES))[name]
    yield "drop_in_head", "request-not-ascii", b"\x00\x55" + UPGRADE.replace(b"a=1", b"a=\xff")
    for name, data in ANSWERS.items():
        yield "drop_in_head", name, (b"\x02" if "proxy" in name else b"\x01") + b"\x55HTTP/1.1 " + data
    for name, data in FIELDS.items():
        yield "drop_in_head", f"field-{name}", b"\x02\x55" + data
    for at, url in enumerate(URLS):
        yield "url", f"url-{at:02}", url.encode()
    for name in ("text", "overlong", "surrogate", "beyond-unicode", "cut-off"):
        payload = FRAMES[name][0][1]
        for size in (0, 60, 200):
            yield "kernels", f"{name}-{size}", b"\x03\x07\x40\x90" + KEY + b"a" * size + payload + b"b" * (size // 4)


def main() -> None:
    for target, name, data in all_seeds():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
