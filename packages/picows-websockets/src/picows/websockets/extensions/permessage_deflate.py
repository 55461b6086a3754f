"""permessage-deflate (RFC 7692): its negotiation with four parameters, and the compression of frames.

Inflating is the work of `picows.deflate.DeflateCodec`, which bounds its output before it is made and knows messages of
several DEFLATE streams. Deflating is done here, because a Protocol compresses fragment by fragment.

Local windows have 9 to 15 bits: zlib turns a window of 8 bits, which RFC 7692 allows, into one of 9, and a peer that
keeps only 256 bytes could not follow. The peer's window may have 8.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

from picows.deflate import DeflateCodec, DeflateParameters
from picows.errors import WSMessageTooBigError, WSProtocolError

from .. import fast_zlib
from ..exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
)
from ..frames import CONT, CTRL_OPCODES, Frame
from ..typing import ExtensionName, ExtensionParameter
from .base import ClientExtensionFactory, Extension, ServerExtensionFactory

__all__ = [
    "PerMessageDeflate",
    "ClientPerMessageDeflateFactory",
    "enable_client_permessage_deflate",
    "ServerPerMessageDeflateFactory",
    "enable_server_permessage_deflate",
]

_NAME = ExtensionName("permessage-deflate")
_FLAGS = "server_no_context_takeover", "client_no_context_takeover"
_BITS = "server_max_window_bits", "client_max_window_bits"
_BITS_VALUES: dict[str | None, int] = {str(bits): bits for bits in range(8, 16)}
_TAIL = b"\x00\x00\xff\xff"  # the end of a sync flush, not transmitted (RFC 7692 7.2.1)


class PerMessageDeflate(Extension):
    """The compression of one connection. Contexts of zlib are made with the first message that needs them.

    Args:
        remote_no_context_takeover: the peer forgets its window after each message.
        local_no_context_takeover: we do.
        remote_max_window_bits: the peer's window, 8 to 15 (base-2 logarithm of bytes).
        local_max_window_bits: our window, 9 to 15.
        compress_settings: further arguments of zlib.compressobj, such as level and memLevel.

    Raises:
        ValueError: a window is out of range.
        TypeError, ValueError: zlib does not take `compress_settings`.
    """

    name = _NAME

    def __init__(
        self,
        remote_no_context_takeover: bool,
        local_no_context_takeover: bool,
        remote_max_window_bits: int,
        local_max_window_bits: int,
        compress_settings: dict[Any, Any] | None = None,
    ) -> None:
        _check_bits("remote_max_window_bits", remote_max_window_bits, 8)
        _check_bits("local_max_window_bits", local_max_window_bits, 9)
        self.remote_no_context_takeover = remote_no_context_takeover
        self.local_no_context_takeover = local_no_context_takeover
        self.remote_max_window_bits = remote_max_window_bits
        self.local_max_window_bits = local_max_window_bits
        self.compress_settings = compress_settings or {}
        mem_level = self.compress_settings.get("memLevel", 8)
        is_usual = type(mem_level) is int and 1 <= mem_level <= 9
        if not is_usual or self.compress_settings.keys() - {"memLevel"}:
            self._new_compressor()  # so that a wrong setting fails here, not when the first message is sent
        self.decode_cont_data = False
        self._compressor: Any = None
        self._codec: DeflateCodec | None = None

    def __repr__(self) -> str:
        names = (
            "remote_no_context_takeover",
            "local_no_context_takeover",
            "remote_max_window_bits",
            "local_max_window_bits",
        )
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Inflate a frame of a compressed message; others are returned as they are.

        Args:
            frame: as it arrived.
            max_size: how many bytes its content may have. One more is inflated at most, then it is over.

        Raises:
            PayloadTooBig: it has more than `max_size` bytes.
            ProtocolError: it is not DEFLATE, or a continuation frame has RSV1 set.
        """
        if frame.opcode in CTRL_OPCODES:
            return frame
        if frame.opcode != CONT:
            if not frame.rsv1:
                return frame
            self.decode_cont_data = not frame.fin
        elif not self.decode_cont_data:
            return frame
        elif frame.rsv1:
            raise ProtocolError("RSV1 bit set in continuation frame")
        elif frame.fin:
            self.decode_cont_data = False
        codec = self._codec
        if codec is None:
            codec = self._codec = self._new_codec()
        try:
            data = codec.decompress(frame.data, frame.fin, max_size)
        except WSMessageTooBigError:
            raise PayloadTooBig(None, max_size) from None
        except WSProtocolError as exc:
            raise ProtocolError("decompression failed") from (exc.__cause__ or exc)
        return Frame(frame.opcode, data, frame.fin, False, frame.rsv2, frame.rsv3)

    def encode(self, frame: Frame) -> Frame:
        """Deflate a frame; control frames are returned as they are."""
        if frame.opcode in CTRL_OPCODES:
            return frame
        compressor = self._compressor
        if compressor is None or (self.local_no_context_takeover and frame.opcode != CONT):
            compressor = self._compressor = self._new_compressor()
        data: bytes = compressor.compress(frame.data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if not data:  # zlib does not flush twice at the same place; the block that it would have written is empty
            data = b"\x00" + _TAIL
        if frame.fin:
            data = data[: -len(_TAIL)]
            if self.local_no_context_takeover:
                self._compressor = None
        return Frame(frame.opcode, data, frame.fin, frame.opcode != CONT, frame.rsv2, frame.rsv3)

    def _new_compressor(self) -> Any:
        return fast_zlib.library.compressobj(wbits=-self.local_max_window_bits, **self.compress_settings)

    def _new_codec(self) -> DeflateCodec:
        # The codec is asked to receive only, as a client does: the parameters of "server" are the peer's.
        parameters = DeflateParameters(
            server_no_context_takeover=self.remote_no_context_takeover,
            server_max_window_bits=self.remote_max_window_bits,
        )
        return DeflateCodec(parameters, is_client_side=True, zlib_module=fast_zlib.library)


class ClientPerMessageDeflateFactory(ClientExtensionFactory):
    """How a client negotiates permessage-deflate (RFC 7692 7.1).

    Args:
        server_no_context_takeover: demand that the server forgets its window after each message.
        client_no_context_takeover: announce that we do.
        server_max_window_bits: demand a server's window of at most so many bits, 8 to 15.
        client_max_window_bits: our window, 9 to 15. True: the server may choose; None: it may not.
        compress_settings: further arguments of zlib.compressobj.

    Raises:
        ValueError: a window is out of range, or `compress_settings` has `wbits`.
    """

    name = _NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | Literal[True] | None = True,
        compress_settings: dict[str, Any] | None = None,
    ) -> None:
        if server_max_window_bits is not None:
            _check_bits("server_max_window_bits", server_max_window_bits, 8)
        if client_max_window_bits is not None and client_max_window_bits is not True:
            _check_bits("client_max_window_bits", client_max_window_bits, 9)
        _check_settings(compress_settings, "client_max_window_bits")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings

    def get_request_params(self) -> Sequence[ExtensionParameter]:
        """The parameters of the offer."""
        return _build(
            self.server_no_context_takeover,
            self.client_no_context_takeover,
            self.server_max_window_bits,
            self.client_max_window_bits,
        )

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        """Judge the server's answer.

        Raises:
            NegotiationError: it is malformed, does not fit the offer, or is the second one.
        """
        if any(extension.name == self.name for extension in accepted_extensions):
            raise NegotiationError(f"received duplicate {self.name}")
        answer = _read(params, is_offer=False)
        if self.server_no_context_takeover and not answer.server_no_context_takeover:
            raise NegotiationError("expected server_no_context_takeover")
        server_bits = answer.server_max_window_bits
        if self.server_max_window_bits is not None:
            if server_bits is None:
                raise NegotiationError("expected server_max_window_bits")
            if server_bits > self.server_max_window_bits:
                raise NegotiationError("unsupported server_max_window_bits")
        return PerMessageDeflate(
            answer.server_no_context_takeover,
            # What the offer announced binds us, even if the answer does not repeat it.
            answer.client_no_context_takeover or self.client_no_context_takeover,
            server_bits or 15,
            self._choose_own_bits(answer.client_max_window_bits) or 15,
            self.compress_settings,
        )

    def _choose_own_bits(self, answered: int | None) -> int | None:
        own = self.client_max_window_bits
        if answered is None:
            return None if own is True else own
        if own is None:
            raise NegotiationError("unexpected client_max_window_bits")
        if own is not True and answered > own:
            raise NegotiationError("unsupported client_max_window_bits")
        if answered == 8:
            raise NegotiationError("unsupported client_max_window_bits = 8, use 9")
        return answered


class ServerPerMessageDeflateFactory(ServerExtensionFactory):
    """How a server negotiates permessage-deflate (RFC 7692 7.1).

    Args:
        server_no_context_takeover: forget our window after each message.
        client_no_context_takeover: demand that clients do.
        server_max_window_bits: our window, 9 to 15; None: as clients ask.
        client_max_window_bits: limit of the clients' windows, 8 to 15; None: as they say.
        compress_settings: further arguments of zlib.compressobj.
        require_client_max_window_bits: decline clients whose window we may not limit.

    Raises:
        ValueError: a window is out of range, or the last argument lacks a limit, or `compress_settings` has `wbits`.
    """

    name = _NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | None = None,
        compress_settings: dict[str, Any] | None = None,
        require_client_max_window_bits: bool = False,
    ) -> None:
        if server_max_window_bits is not None:
            _check_bits("server_max_window_bits", server_max_window_bits, 9)
        if client_max_window_bits is not None:
            _check_bits("client_max_window_bits", client_max_window_bits, 8)
        elif require_client_max_window_bits:
            raise ValueError("require_client_max_window_bits is enabled, but client_max_window_bits isn't configured")
        _check_settings(compress_settings, "server_max_window_bits")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.require_client_max_window_bits = require_client_max_window_bits

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Judge a client's offer.

        Returns:
            The parameters of the answer, and the extension.

        Raises:
            NegotiationError: the offer is malformed, not acceptable, or one was accepted before.
        """
        if any(extension.name == self.name for extension in accepted_extensions):
            raise NegotiationError(f"skipped duplicate {self.name}")
        offer = _read(params, is_offer=True)
        server_forgets = self.server_no_context_takeover or offer.server_no_context_takeover
        client_forgets = self.client_no_context_takeover or offer.client_no_context_takeover
        server_bits = _smaller(self.server_max_window_bits, offer.server_max_window_bits)
        if server_bits == 8:
            raise NegotiationError("unsupported server_max_window_bits = 8, use 9")
        client_bits = None
        if offer.has_client_bits:  # otherwise the answer must not have them (RFC 7692 7.1.2.2)
            client_bits = _smaller(self.client_max_window_bits, offer.client_max_window_bits)
        elif self.require_client_max_window_bits:
            raise NegotiationError("required client_max_window_bits")
        extension = PerMessageDeflate(
            client_forgets, server_forgets, client_bits or 15, server_bits or 15, self.compress_settings
        )
        return _build(server_forgets, client_forgets, server_bits, client_bits), extension


def enable_client_permessage_deflate(
    extensions: Sequence[ClientExtensionFactory] | None,
) -> Sequence[ClientExtensionFactory]:
    """Add permessage-deflate with the defaults of clients, unless it is there: 4 KiB of hash table, any window."""
    if extensions is not None and any(factory.name == _NAME for factory in extensions):
        return extensions
    return [*(extensions or ()), ClientPerMessageDeflateFactory(compress_settings={"memLevel": 5})]


def enable_server_permessage_deflate(
    extensions: Sequence[ServerExtensionFactory] | None,
) -> Sequence[ServerExtensionFactory]:
    """Add permessage-deflate with the defaults of servers, unless it is there: windows of 4 KiB, because they have
    many connections."""
    if extensions is not None and any(factory.name == _NAME for factory in extensions):
        return extensions
    default = ServerPerMessageDeflateFactory(
        server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
    )
    return [*(extensions or ()), default]


class _Parameters:
    """The parameters of one offer or answer."""

    __slots__ = (*_FLAGS, *_BITS, "has_client_bits")

    def __init__(self) -> None:
        self.server_no_context_takeover = False
        self.client_no_context_takeover = False
        self.server_max_window_bits: int | None = None
        self.client_max_window_bits: int | None = None
        #: True also for a client_max_window_bits without a value, with which a client lets the server choose.
        self.has_client_bits = False


def _read(params: Sequence[ExtensionParameter], is_offer: bool) -> _Parameters:
    found = _Parameters()
    seen: set[str] = set()
    for name, value in params:
        if name not in _FLAGS and name not in _BITS:
            raise InvalidParameterName(name)
        if name in seen:
            raise DuplicateParameter(name)
        seen.add(name)
        setattr(found, name, _read_value(name, value, is_offer))
    found.has_client_bits = "client_max_window_bits" in seen
    return found


def _read_value(name: str, value: str | None, is_offer: bool) -> int | bool | None:
    if name in _FLAGS:
        if value is None:
            return True
    elif value in _BITS_VALUES:
        return _BITS_VALUES[value]
    elif value is None and is_offer and name == "client_max_window_bits":
        return None
    raise InvalidParameterValue(name, value)


def _build(
    server_forgets: bool, client_forgets: bool, server_bits: int | None, client_bits: int | Literal[True] | None
) -> list[ExtensionParameter]:
    flags = zip(_FLAGS, (server_forgets, client_forgets), strict=True)
    params: list[ExtensionParameter] = [(name, None) for name, is_set in flags if is_set]
    for name, bits in zip(_BITS, (server_bits, client_bits), strict=True):
        if bits is not None:
            params.append((name, None if bits is True else str(bits)))
    return params


def _smaller(*limits: int | None) -> int | None:
    return min((bits for bits in limits if bits is not None), default=None)


def _check_bits(name: str, bits: int, low: int) -> None:
    if not low <= bits <= 15:
        raise ValueError(f"{name} must be between {low} and 15")


def _check_settings(settings: dict[str, Any] | None, instead: str) -> None:
    if settings is not None and "wbits" in settings:
        raise ValueError(f"compress_settings must not include wbits, set {instead} instead")
