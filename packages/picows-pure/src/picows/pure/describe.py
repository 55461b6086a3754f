"""What `python -m picows` says about this engine."""

from __future__ import annotations

from typing import List, Tuple

from . import mask


def describe() -> List[Tuple[str, str]]:
    """Rows (what, value)."""
    large = (
        mask.accelerator or "Python integers (numpy would be used if it could be imported and PICOWS_NUMPY is not 0)"
    )
    return [
        ("masking, up to 1 KiB", "Python integers"),
        ("masking, larger", large),
        ("UTF-8", "the interpreter's decoder"),
    ]
