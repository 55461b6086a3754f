"""permessage-deflate (RFC 7692): what two sides agree on; and the names of the compression that follows from it.

Negotiation is strings in, `DeflateParameters` out: a client calls `offer` and `accept_response`, a server `negotiate`.
A server declines what it cannot accept (the connection goes on uncompressed), a client fails the handshake.

The messages are the work of `DeflateCodec` (see `codec`).

Rejected: windows of 8 bits. RFC 7692 allows them, but zlib uses 9 bits when asked for 8, or refuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional, Union

from .codec import DeflateCodec
from .deflate_options import (
    CLIENT_BITS,
    CLIENT_DEFLATE,
    CLIENT_NO_CONTEXT,
    MAX_WINDOW_BITS,
    MIN_WINDOW_BITS,
    SERVER_BITS,
    SERVER_DEFLATE,
    SERVER_NO_CONTEXT,
    DeflateOptions,
    DeflateParameters,
    limit_of,
)
from .errors import WSInvalidHeaderError
from .extensions import HEADER_NAME, ExtensionParameter, build_extension, parse_extensions
from .inflate import MAX_STREAMS

__all__ = [
    "CLIENT_DEFLATE",
    "EXTENSION_NAME",
    "MAX_STREAMS",
    "MAX_WINDOW_BITS",
    "MIN_WINDOW_BITS",
    "SERVER_DEFLATE",
    "DeflateCodec",
    "DeflateOptions",
    "DeflateParameters",
    "accept_response",
    "negotiate",
    "offer",
]

EXTENSION_NAME = "permessage-deflate"

_WINDOW_BITS = re.compile(r"[1-9][0-9]?")


def _build(values: dict[str, Union[int, bool, None]]) -> str:
    """Our own extension, from the parameters that are neither None nor False."""
    given = [(key, value) for key, value in values.items() if value is not None and value is not False]
    return build_extension(EXTENSION_NAME, [(key, None if value is True else str(value)) for key, value in given])


def _interpret(parameters: Sequence[ExtensionParameter], is_offer: bool) -> dict[str, Union[int, bool]]:
    """Validate the parameters of RFC 7692 7.1; ValueError says what is wrong. One without value becomes True."""
    result: dict[str, Union[int, bool]] = {}
    for name, value in parameters:
        if name in result:
            raise ValueError(f"{name} is repeated")
        if name in (SERVER_NO_CONTEXT, CLIENT_NO_CONTEXT):
            if value is not None:
                raise ValueError(f"{name} takes no value, got {_short(value)}")
            result[name] = True
        elif name == CLIENT_BITS and value is None and is_offer:
            result[name] = True
        elif name in (SERVER_BITS, CLIENT_BITS):
            result[name] = _parse_window_bits(name, value)
        else:
            raise ValueError(f"{_short(name)} is not a parameter of {EXTENSION_NAME}")
    return result


def _parse_window_bits(name: str, value: Optional[str]) -> int:
    # int() alone would accept "+9", "09", "1_0" and digits of other scripts.
    if value is None or _WINDOW_BITS.fullmatch(value) is None or not MIN_WINDOW_BITS <= int(value) <= MAX_WINDOW_BITS:
        got = "no value" if value is None else _short(value)
        raise ValueError(f"{name} must be {MIN_WINDOW_BITS} to {MAX_WINDOW_BITS}, got {got}")
    return int(value)


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")


def offer(options: DeflateOptions) -> str:
    """The value of the Sec-WebSocket-Extensions header with which a client offers permessage-deflate."""
    return _build(
        {
            SERVER_NO_CONTEXT: options.server_no_context_takeover,
            CLIENT_NO_CONTEXT: options.client_no_context_takeover,
            SERVER_BITS: options.server_max_window_bits,
            CLIENT_BITS: options.client_max_window_bits,
        }
    )


def accept_response(options: DeflateOptions, header_value: Optional[str]) -> Optional[DeflateParameters]:
    """Check a server's answer to `offer(options)`.

    Args:
        options: what was offered.
        header_value: the server's Sec-WebSocket-Extensions, several joined with commas, or None if there is none.

    Returns:
        What was agreed, or None where the server declined.

    Raises:
        WSInvalidHeaderError: the answer is malformed, does not fit the offer, or names another extension.
    """
    if header_value is None:
        return None
    extensions = parse_extensions(header_value)
    try:
        for name, _ in extensions:
            if name != EXTENSION_NAME:
                raise ValueError(f"{_short(name)} was not offered")
        if len(extensions) > 1:
            raise ValueError(f"{EXTENSION_NAME} is accepted {len(extensions)} times")
        return _agree(options, _interpret(extensions[0][1], is_offer=False))
    except ValueError as exc:
        description = f"{HEADER_NAME} of the server is not acceptable: {exc}"
        raise WSInvalidHeaderError(description, HEADER_NAME, header_value) from exc


def _agree(options: DeflateOptions, response: dict[str, Union[int, bool]]) -> DeflateParameters:
    if options.server_no_context_takeover and SERVER_NO_CONTEXT not in response:
        raise ValueError(f"{SERVER_NO_CONTEXT} was asked for and is missing (RFC 7692 7.1.1.1)")
    if options.server_max_window_bits is not None:
        if SERVER_BITS not in response:
            raise ValueError(f"{SERVER_BITS} was asked for and is missing (RFC 7692 7.1.2.1)")
        if response[SERVER_BITS] > options.server_max_window_bits:
            limit = options.server_max_window_bits
            raise ValueError(f"{SERVER_BITS} must be at most {limit}, got {response[SERVER_BITS]}")
    own_limit = limit_of(options.client_max_window_bits)
    if CLIENT_BITS in response:
        if options.client_max_window_bits is None:
            raise ValueError(f"{CLIENT_BITS} was not offered (RFC 7692 7.1.2.2)")
        if own_limit is not None and response[CLIENT_BITS] > own_limit:
            raise ValueError(f"{CLIENT_BITS} must be at most {own_limit}, got {response[CLIENT_BITS]}")
    return DeflateParameters(
        server_no_context_takeover=SERVER_NO_CONTEXT in response,
        # What the offer said about ourselves binds us even where the answer does not repeat it.
        client_no_context_takeover=CLIENT_NO_CONTEXT in response or options.client_no_context_takeover,
        server_max_window_bits=response.get(SERVER_BITS, MAX_WINDOW_BITS),
        client_max_window_bits=response.get(CLIENT_BITS, own_limit or MAX_WINDOW_BITS),
    )


def negotiate(options: DeflateOptions, header_values: Sequence[str]) -> Optional[tuple[str, DeflateParameters]]:
    """Choose among a client's offers: the first that is valid and acceptable. Nothing in the offers is an error.

    Args:
        options: what the server wants.
        header_values: the values of the request's Sec-WebSocket-Extensions headers, in order.

    Returns:
        The value of the response's header and what is agreed, or None where no offer is acceptable. Malformed headers,
        offers with unknown, repeated or invalid parameters, and windows of 8 bits are passed over.
    """
    for value in header_values:
        try:
            extensions = parse_extensions(value)
        except WSInvalidHeaderError:
            continue
        for name, parameters in extensions:
            if name != EXTENSION_NAME:
                continue
            try:
                wanted = _interpret(parameters, is_offer=True)
            except ValueError:
                continue
            if options.require_client_max_window_bits and CLIENT_BITS not in wanted:
                continue
            return _answer(options, wanted)
    return None


def _answer(options: DeflateOptions, wanted: dict[str, Union[int, bool]]) -> tuple[str, DeflateParameters]:
    server_bits = _smallest(options.server_max_window_bits, wanted.get(SERVER_BITS))
    client_bits = None
    if CLIENT_BITS in wanted:  # otherwise the client must not be sent it (RFC 7692 7.1.2.2)
        client_bits = _smallest(options.client_max_window_bits, wanted[CLIENT_BITS])
    parameters = DeflateParameters(
        server_no_context_takeover=options.server_no_context_takeover or SERVER_NO_CONTEXT in wanted,
        client_no_context_takeover=options.client_no_context_takeover or CLIENT_NO_CONTEXT in wanted,
        server_max_window_bits=server_bits or MAX_WINDOW_BITS,
        client_max_window_bits=client_bits or MAX_WINDOW_BITS,
    )
    response = _build(
        {
            SERVER_NO_CONTEXT: parameters.server_no_context_takeover,
            CLIENT_NO_CONTEXT: parameters.client_no_context_takeover,
            SERVER_BITS: server_bits,
            CLIENT_BITS: client_bits,
        }
    )
    return response, parameters


def _smallest(*limits: Union[int, bool, None]) -> Optional[int]:
    numbers = [limit_of(bits) for bits in limits]
    return min((bits for bits in numbers if bits is not None), default=None)
