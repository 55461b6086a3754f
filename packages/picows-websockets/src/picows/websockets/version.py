"""Which release of the websockets library this package stands in for."""

from __future__ import annotations

__all__ = ["tag", "version", "commit"]

#: Programs read these to find out what they may call, so they name the emulated release. Ours is `picows.__version__`.
tag = version = commit = "17.4"
