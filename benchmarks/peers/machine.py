"""Where a run was made: what a reader needs to judge the figures, and what makes them doubtful."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

from environments import ROOT


def describe(cpus: List[int]) -> Dict[str, Any]:
    """Args: cpus: CPUs that the run may use. Returns: machine, kernel and revision of the source tree."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": _cpu_model(),
        "cpus": cpus,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not shown by this machine",
        "hypervisor": "hypervisor" in _read("/proc/cpuinfo"),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "revision": _revision(),
    }


BUSY_LOAD = 1.0
"""Load average from which on figures are not published."""

VIRTUAL = "a virtual machine: neighbours are not visible; trust ratios, not microseconds"


def objections(machine: Dict[str, Any]) -> List[str]:
    """Returns: why what is measured now should not be published."""
    found = []
    if machine["load_average"] > BUSY_LOAD:
        found.append(
            f"the load average is {machine['load_average']}, more than {BUSY_LOAD:g}: something else is running"
        )
    if machine["revision"].endswith("-dirty"):
        found.append(f"{machine['revision']}: there are changes that are not committed")
    return found


def doubts(machine: Dict[str, Any]) -> List[str]:
    """Returns: sentences about what may disturb the figures."""
    found = []
    if len(machine["cpus"]) < 2:
        found.append("one CPU only: both ends of the throughput rows share it")
    if machine["load_average"] > 0.5:
        found.append(f"load average {machine['load_average']} at the start: something else is running")
    if machine["hypervisor"]:
        found.append(VIRTUAL)
    return found


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _revision() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text().strip() if file.exists() else ""
