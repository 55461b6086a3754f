"""What `python -m picows` says about this engine."""

from __future__ import annotations

from typing import List, Tuple

from ._kernels import available, simd


def describe() -> List[Tuple[str, str]]:
    """Rows (what, value)."""
    others = ", ".join(name if runs else f"{name} (not on this processor)" for name, runs in available())
    return [
        ("masking", simd()),
        ("UTF-8", simd()),
        ("kernels in this build", others),
    ]
