"""Where Cython finds the classes of the enums in `enums.pxd` when it converts their values."""

from ..enums import WSAutoPingStrategy, WSCloseCode, WSMsgType

__all__ = ["WSAutoPingStrategy", "WSCloseCode", "WSMsgType"]
