"""How bytes leave."""

import asyncio

from typing_extensions import disjoint_base

@disjoint_base
class Wire:
    @property
    def underlying_transport(self) -> asyncio.Transport: ...
