"""What the connections of one thread share."""

from typing_extensions import disjoint_base

@disjoint_base
class Pool:
    def forget_keys(self) -> None: ...
