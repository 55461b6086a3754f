"""asv for this repository: gives the machine a name that tells its architecture, then runs asv.

usage: python benchmarks/run_asv.py VERB [ARGUMENTS]      run, continuous, compare, show, publish, preview ...

The name is that of peers/machine_name.py, under which the results of the peers are kept too. Needs asv in the Python
that runs this.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

from asv.machine import MachineCollection

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE / "peers"))

import machine_name  # noqa: E402

#: Verbs that take --machine.
NAMED = {"run", "continuous", "compare", "show", "rm"}


def asv(*arguments: str) -> int:
    """Run asv. Returns: its exit status."""
    return subprocess.run([sys.executable, "-m", "asv", *arguments], cwd=HERE, check=False).returncode


def main() -> int:
    """Describe the machine, then run."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in NAMED:
        return asv(*arguments)
    name = machine_name.name()
    fields = {"machine": name, "os": platform.system(), "arch": f"{platform.machine()} ({machine_name.kernels()})"}
    fields["cpu"] = machine_name.processor()[0]
    fields["num_cpu"] = str(os.cpu_count())
    fields["ram"] = str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024)
    MachineCollection.save(name, fields)  # `asv machine` drops some of these
    given = any(argument.startswith(("-m", "--machine")) for argument in arguments)
    return asv(arguments[0], *([] if given else ["--machine", name]), *arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
