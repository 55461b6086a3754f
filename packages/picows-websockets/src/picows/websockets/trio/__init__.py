"""The trio API: `client`, `server`, `router`, and what they share. It needs trio, which is not installed with us."""

from __future__ import annotations

try:
    import trio as _trio  # noqa: F401
except ImportError as exc:
    raise ImportError(f"{__name__} needs trio: pip install picows-websockets[trio]") from exc
