"""permessage-deflate as it was negotiated, for the engine; and how idle connections do without its memory."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from picows._engine import engine
from picows.deflate import SERVER_DEFLATE, DeflateOptions, DeflateParameters

from .. import fast_zlib
from ..extensions.base import Extension
from ..extensions.permessage_deflate import PerMessageDeflate

_KNOWN = {"level", "memLevel"}
_Codec: Any = engine.DeflateCodec

#: Seconds after which a connection that has neither sent nor received a compressed message counts as idle; at most
#: twice as many pass before its contexts are freed.
IDLE_S = 0.1


class ConnectionCodec(_Codec):  # type: ignore[misc]  # the engine is chosen at run time
    """A codec that gives back its contexts while its connection idles: tens of KiB of them.

    Nothing is lost but the time to make them again. Of what was sent as much is kept as the peer's window holds, and
    new messages refer to it as if the context had been there all the time.
    """

    __slots__ = ("_idlers",)
    _is_used: bool

    def __init__(self, parameters: DeflateParameters, options: DeflateOptions, idlers: Idlers) -> None:
        # "Client" is this side, whichever it is.
        super().__init__(parameters, True, options, fast_zlib.library)
        self._idlers = idlers

    def _on_use(self) -> None:
        super()._on_use()
        self._idlers.add(self)

    def retire(self) -> None:
        """The connection has ended."""
        self._idlers.discard(self)

    def rest(self) -> bool:
        """Free what an idle connection can do without, unless it was used since the last call.

        Returns:
            Whether nothing is left to free.
        """
        if self._is_used:
            self._is_used = False  # type: ignore[misc]  # a slot of the engine's
            return False
        self.release()
        return self._inflater is None


class Idlers:
    """The codecs of one loop that have contexts, and the timer that takes those away."""

    __slots__ = ("__weakref__", "_codecs", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._codecs: set[ConnectionCodec] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, codec: ConnectionCodec) -> None:
        """It makes contexts."""
        self._codecs.add(codec)
        if self._timer is None:
            self._timer = self.loop.call_later(IDLE_S, self._sweep)

    def discard(self, codec: ConnectionCodec) -> None:
        """It does not matter any more."""
        self._codecs.discard(codec)
        if not self._codecs and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        self._codecs = {codec for codec in self._codecs if not codec.rest()}
        if self._codecs:
            self._timer = self.loop.call_later(IDLE_S, self._sweep)


class _Known(threading.local):
    """The Idlers of a thread, as long as there is a codec."""

    latest: weakref.ref[Idlers] | None = None


_known = _Known()


def _idlers() -> Idlers:
    loop = asyncio.get_running_loop()
    idlers = None if _known.latest is None else _known.latest()
    if idlers is None or idlers.loop is not loop:
        idlers = Idlers(loop)
        _known.latest = weakref.ref(idlers)
    return idlers


def new_codec(extensions: Sequence[Extension]) -> ConnectionCodec | None:
    """The codec, if what was negotiated is permessage-deflate and nothing else, and the codec knows its settings."""
    if len(extensions) != 1 or type(extensions[0]) is not PerMessageDeflate:
        return None
    extension = extensions[0]
    settings: dict[str, Any] = extension.compress_settings
    if not settings.keys() <= _KNOWN:
        return None
    options = _options(settings.get("level", -1), settings.get("memLevel", 8))
    return ConnectionCodec(_parameters(extension), options, _idlers())


def server_codec(parameters: DeflateParameters) -> ConnectionCodec:
    """The codec of a server that has negotiated by itself, with the settings of `picows.deflate.SERVER_DEFLATE`."""
    ours, theirs = parameters.server_no_context_takeover, parameters.client_no_context_takeover
    bits = parameters.server_max_window_bits, parameters.client_max_window_bits
    return ConnectionCodec(_make_parameters(theirs, ours, bits[1], bits[0]), SERVER_DEFLATE, _idlers())


def _parameters(extension: PerMessageDeflate) -> DeflateParameters:
    ours, theirs = extension.local_no_context_takeover, extension.remote_no_context_takeover
    bits = extension.local_max_window_bits, extension.remote_max_window_bits
    return _make_parameters(theirs, ours, bits[1], bits[0])


# A server agrees on the same with nearly all of its clients.
@functools.lru_cache(maxsize=32)
def _make_parameters(server_forgets: bool, client_forgets: bool, server: int, client: int) -> DeflateParameters:
    return DeflateParameters(
        server_no_context_takeover=server_forgets,
        client_no_context_takeover=client_forgets,
        server_max_window_bits=server,
        client_max_window_bits=client,
    )


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
