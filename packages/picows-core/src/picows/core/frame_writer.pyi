"""Frames to bytes."""

from typing_extensions import disjoint_base

from .connection import Connection

@disjoint_base
class FrameWriter(Connection): ...
