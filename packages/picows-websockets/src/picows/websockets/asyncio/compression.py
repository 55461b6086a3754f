"""permessage-deflate as it was negotiated, for the engine's codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from picows.deflate import DeflateCodec, DeflateOptions, DeflateParameters

from .. import fast_zlib
from ..extensions.base import Extension
from ..extensions.permessage_deflate import PerMessageDeflate

_KNOWN = {"level", "memLevel"}


def new_codec(extensions: Sequence[Extension]) -> DeflateCodec | None:
    """The codec, if what was negotiated is permessage-deflate and nothing else, and the codec knows its settings."""
    if len(extensions) != 1 or type(extensions[0]) is not PerMessageDeflate:
        return None
    extension = extensions[0]
    settings: dict[str, Any] = extension.compress_settings
    if not settings.keys() <= _KNOWN:
        return None
    # "Client" is this side, whichever it is.
    parameters = DeflateParameters(
        server_no_context_takeover=extension.remote_no_context_takeover,
        client_no_context_takeover=extension.local_no_context_takeover,
        server_max_window_bits=extension.remote_max_window_bits,
        client_max_window_bits=extension.local_max_window_bits,
    )
    options = _options(settings.get("level", -1), settings.get("memLevel", 8))
    return DeflateCodec(parameters, True, options, fast_zlib.library)


_OPTIONS: dict[tuple[int, int], DeflateOptions] = {}


def _options(level: int, mem_level: int) -> DeflateOptions:
    options = _OPTIONS.get((level, mem_level))
    if options is None:
        options = _OPTIONS[level, mem_level] = DeflateOptions(level=level, mem_level=mem_level)
    return options


def sharing_key(extensions: Sequence[Extension]) -> tuple[Any, ...] | None:
    """What connections have in common whose messages are compressed to the same bytes; None where earlier messages
    count."""
    extension = extensions[0]
    if not isinstance(extension, PerMessageDeflate) or not extension.local_no_context_takeover:
        return None
    return extension.local_max_window_bits, *sorted(extension.compress_settings.items())
