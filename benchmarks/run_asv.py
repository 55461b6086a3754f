"""asv for this repository: gives the machine a name that tells its architecture, then runs asv.

usage: python benchmarks/run_asv.py VERB [ARGUMENTS]      run, continuous, compare, show, publish, preview ...

The name is made of the architecture, the best kernels and the processor, `x86_64-avx512-intel-xeon-processor`, so
that runners of one kind add to one history, and results of several kinds stand side by side. PICOWS_MACHINE overrides
it. Needs asv in the Python that runs this.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Set, Tuple

from asv.machine import MachineCollection

HERE = Path(__file__).resolve().parent
#: Verbs that take --machine.
NAMED = {"run", "continuous", "compare", "show", "rm"}
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


def kernels(architecture: str, features: Set[str]) -> str:
    """The best set of kernels that picows-core has for it."""
    if architecture in ("aarch64", "arm64"):
        return "neon"
    if architecture in ("x86_64", "AMD64"):
        return next((name for name, needed in FEATURES.items() if needed <= features), "sse2")
    return "generic"


def asv(*arguments: str) -> int:
    """Run asv. Returns: its exit status."""
    return subprocess.run([sys.executable, "-m", "asv", *arguments], cwd=HERE, check=False).returncode


def main() -> int:
    """Describe the machine, then run."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in NAMED:
        return asv(*arguments)
    model, features = processor()
    architecture = platform.machine()
    level = kernels(architecture, features)
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)|@.*", "", model).lower()).strip("-")
    name = os.environ.get("PICOWS_MACHINE") or f"{architecture}-{level}-{slug}"
    fields = {"machine": name, "os": platform.system(), "arch": f"{architecture} ({level})", "cpu": model}
    fields["num_cpu"] = str(os.cpu_count())
    fields["ram"] = str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024)
    MachineCollection.save(name, fields)  # `asv machine` drops some of these
    given = any(argument.startswith(("-m", "--machine")) for argument in arguments)
    return asv(arguments[0], *([] if given else ["--machine", name]), *arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
