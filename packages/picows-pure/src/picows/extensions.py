"""The Sec-WebSocket-Extensions header (RFC 6455 9.1): its grammar, both ways, in linear time.

Lists follow RFC 9110 5.6.1 (empty elements are passed over) and white space is allowed around separators. What the
parameters mean is the business of each extension.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Optional

from .errors import WSInvalidHeaderError

HEADER_NAME = "Sec-WebSocket-Extensions"

ExtensionParameter = tuple[str, Optional[str]]
Extension = tuple[str, list[ExtensionParameter]]

# The alternatives begin with different characters, so that no pattern goes back over its input more than once. Never
# let two neighbouring repetitions match the same character here.
_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_OWS = re.compile(r"[ \t]*")
_TOKEN = re.compile(rf"{_TCHAR}+")
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_TCHAR}+)(?:[ \t]*=[ \t]*(?:({_TCHAR}+)|"((?:\\?{_TCHAR})*)"))?')


def parse_extensions(value: str) -> list[Extension]:
    """Parse the header.

    Args:
        value: the header's value. Repeated headers may be joined with commas.

    Returns:
        `(name, [(parameter, value or None), ...])` in order. Quoted values are unquoted.

    Raises:
        WSInvalidHeaderError: the value does not follow the grammar.
    """
    extensions: list[Extension] = []
    position, end = 0, len(value)
    while position < end:
        position = _skip_whitespace(value, position)
        if value.startswith(",", position):  # an empty element is allowed (RFC 9110 5.6.1.2)
            position += 1
            continue
        if position == end:
            break
        name = _TOKEN.match(value, position)
        if name is None:
            raise _malformed("an extension name", value, position)
        position = name.end()
        parameters: list[ExtensionParameter] = []
        match = _PARAMETER.match(value, position)
        while match is not None:
            quoted = match[3]
            parameters.append((match[1], match[2] if quoted is None else quoted.replace("\\", "")))
            position = match.end()
            match = _PARAMETER.match(value, position)
        extensions.append((name[0], parameters))
        position = _skip_whitespace(value, position)
        if position < end and value[position] != ",":
            raise _malformed("';' and a parameter, or ','", value, position)
    if not extensions:
        raise WSInvalidHeaderError(f"{HEADER_NAME} names no extension", HEADER_NAME, value)
    return extensions


def _skip_whitespace(value: str, position: int) -> int:
    match = _OWS.match(value, position)
    return match.end() if match else position


def _malformed(expected: str, value: str, position: int) -> WSInvalidHeaderError:
    found = ascii(value[position : position + 20])
    description = f"{HEADER_NAME}: expected {expected} at position {position}, found {found}"
    return WSInvalidHeaderError(description, HEADER_NAME, value)


def build_extension(name: str, parameters: Sequence[ExtensionParameter] = ()) -> str:
    """Format one extension for the header.

    Args:
        name: a token.
        parameters: pairs of tokens, or of a token and None.

    Raises:
        ValueError: something is not a token of RFC 9110.
    """
    words = [word for parameter in parameters for word in parameter if word is not None]
    for word in (name, *words):
        if _TOKEN.fullmatch(word) is None:
            raise ValueError(f"{word!a} cannot stand in {HEADER_NAME}: it is not a token of RFC 9110")
    return "; ".join([name, *(key if value is None else f"{key}={value}" for key, value in parameters)])
