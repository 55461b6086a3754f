"""The name under which results of a machine are kept: architecture, best kernels, processor.

`x86_64-avx512-intel-xeon-processor`: runners of one kind add to one history, and results of several kinds stand side by
side. PICOWS_MACHINE overrides it. Imports nothing of ours: run_asv.py and the peers' run.py both use it.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Set, Tuple

#: What picows-core asks of a processor, as Linux spells it; best first.
FEATURES = {"avx512": {"avx512f", "avx512bw", "avx512vl"}, "avx2": {"avx2"}, "sse2": {"sse2"}}


def processor() -> Tuple[str, Set[str]]:
    """Its model and features; where Linux does not tell, what Python knows."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), set()
    lines = dict(re.findall(r"^([^:\t\n]+?)\s*:\s*(.*)$", text, re.MULTILINE))
    model = lines.get("model name") or lines.get("CPU part") or platform.processor()
    return model or platform.machine(), set(lines.get("flags", "").split())


def kernels() -> str:
    """The best set of kernels that picows-core has for it."""
    architecture = platform.machine()
    if architecture in ("aarch64", "arm64"):
        return "neon"
    if architecture in ("x86_64", "AMD64"):
        features = processor()[1]
        return next((name for name, needed in FEATURES.items() if needed <= features), "sse2")
    return "generic"


def name() -> str:
    """Under which results are kept."""
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)|@.*", "", processor()[0]).lower()).strip("-")
    return os.environ.get("PICOWS_MACHINE") or f"{platform.machine()}-{kernels()}-{slug}"
