"""The headers of the opening handshake (RFC 6455 4), without those of extensions and subprotocols."""

from __future__ import annotations

import base64
import binascii

from ..datastructures import Headers, MultipleValuesError
from ..exceptions import InvalidHeader, InvalidHeaderValue, InvalidUpgrade
from ..headers import parse_connection, parse_upgrade
from ..utils import accept_key, generate_key

__all__ = ["build_request", "check_request", "build_response", "check_response"]


def build_request(headers: Headers) -> str:
    """Add what a client sends.

    Args:
        headers: of the request; changed in place.

    Returns:
        The key, for `check_response`.
    """
    key = generate_key()
    headers["Upgrade"] = "websocket"
    headers["Connection"] = "Upgrade"
    headers["Sec-WebSocket-Key"] = key
    headers["Sec-WebSocket-Version"] = "13"
    return key


def check_request(headers: Headers) -> str:
    """Check what a client has sent.

    Args:
        headers: of the request.

    Returns:
        The key, for `build_response`.

    Raises:
        InvalidHandshake: the request does not follow RFC 6455 4.2.1.
    """
    _check_upgrade(headers)
    key = _required(headers, "Sec-WebSocket-Key")
    try:
        raw = base64.b64decode(key.encode(errors="surrogateescape"), validate=True)
    except binascii.Error as exc:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key) from exc
    if len(raw) != 16:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    version = _required(headers, "Sec-WebSocket-Version")
    if version != "13":
        raise InvalidHeaderValue("Sec-WebSocket-Version", version)
    return key


def build_response(headers: Headers, key: str) -> None:
    """Add what a server answers.

    Args:
        headers: of the response; changed in place.
        key: what `check_request` returned.
    """
    headers["Upgrade"] = "websocket"
    headers["Connection"] = "Upgrade"
    headers["Sec-WebSocket-Accept"] = accept_key(key)


def check_response(headers: Headers, key: str) -> None:
    """Check what a server has answered.

    Args:
        headers: of the response, whose status is 101.
        key: what `build_request` returned.

    Raises:
        InvalidHandshake: the response does not follow RFC 6455 4.2.2.
    """
    _check_upgrade(headers)
    accept = _required(headers, "Sec-WebSocket-Accept")
    if accept != accept_key(key):
        raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)


def _check_upgrade(headers: Headers) -> None:
    options = [option for value in headers.get_all("Connection") for option in parse_connection(value)]
    if not any(option.lower() == "upgrade" for option in options):
        raise InvalidUpgrade("Connection", ", ".join(options))
    protocols = [protocol for value in headers.get_all("Upgrade") for protocol in parse_upgrade(value)]
    if len(protocols) != 1 or protocols[0].lower() != "websocket":
        raise InvalidUpgrade("Upgrade", ", ".join(protocols))


def _required(headers: Headers, name: str) -> str:
    try:
        return headers[name]
    except KeyError as exc:
        raise InvalidHeader(name) from exc
    except MultipleValuesError as exc:
        raise InvalidHeader(name, "multiple values") from exc
