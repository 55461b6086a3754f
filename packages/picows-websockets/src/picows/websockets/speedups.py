"""The old place of the compiled `apply_mask`. There it is a C extension; here it leads to the kernels of the engine."""

from __future__ import annotations

from .utils import apply_mask as apply_mask
