"""The upgrade request that almost every client sends, recognised without a CIMultiDict."""

from __future__ import annotations

import re
from typing import Optional, Tuple

from ..errors import WSHandshakeError
from ..handshake import accept_key
from ..head import split_head
from ..http import parse_request_fields

_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]{1,255}(?::[0-9]{0,5})?")
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


def scan_upgrade(data: bytes) -> Optional[Tuple[int, bytes, bytes]]:
    """Recognise an upgrade request that is complete and has nothing unusual about it.

    Args:
        data: what the client has sent.

    Returns:
        The size of its head, its target, and the value of Sec-WebSocket-Accept that answers it. None if it is not such
        a request, be it right or wrong: `picows.handshake` finds that out.
    """
    found = split_head(data)
    if found is None:
        return None
    try:
        request, pairs = parse_request_fields(found[0])
    except WSHandshakeError:
        return None
    fields = {name.lower(): value for name, value in pairs}
    key = fields.get("sec-websocket-key", "")
    if (
        len(fields) == len(pairs)
        and _HOST.fullmatch(fields.get("host", ""))
        and "content-length" not in fields
        and "transfer-encoding" not in fields
        and fields.get("upgrade", "").lower() == "websocket"
        and "upgrade" in [token.strip(" \t") for token in fields.get("connection", "").lower().split(",")]
        and fields.get("sec-websocket-version") == "13"
        and _KEY.fullmatch(key)
    ):
        return len(found[0]), request.path, accept_key(key).encode("ascii")
    return None
