"""The header of a frame (RFC 6455 5.2), for all that write frames in Python: `picows.pure` and picows.websockets.

It is no part of the engine, so that whoever needs a header does not load one. The key of a masked frame goes with its
header, as a big-endian integer. What runs per frame calls the packers, which `frame_header` would do one call later.
"""

from __future__ import annotations

from struct import Struct

# By the width of the length: in the second byte, or 126 or 127 there and 16 or 64 bits after it.
pack_7 = Struct(">BB").pack
pack_16 = Struct(">BBH").pack
pack_64 = Struct(">BBQ").pack
pack_7_key = Struct(">BBI").pack
pack_16_key = Struct(">BBHI").pack
pack_64_key = Struct(">BBQI").pack


def frame_header(first: int, size: int) -> bytes:
    """The header of an unmasked frame.

    Args:
        first: the first byte: FIN, the reserved bits and the opcode.
        size: bytes of payload, below 2**63.
    """
    if size < 126:
        return pack_7(first, size)
    if size < 65536:
        return pack_16(first, 126, size)
    return pack_64(first, 127, size)
