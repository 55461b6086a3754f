"""Frames out of bytes."""

from typing_extensions import disjoint_base

from .buffers import ReadBuffer

@disjoint_base
class Parser:
    def get_buffer(self, sizehint: int) -> ReadBuffer: ...

    # For `connection`.
    def _go_on(self) -> None: ...
