"""The process at the other end: pins itself, runs one load generator, prints what it counted as a line of JSON."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

from spec import Spec


def main() -> None:
    """Reads the measurement from argv and makes its load."""
    spec = Spec.from_json(sys.argv[1])
    os.sched_setaffinity(0, {spec.load_cpu})
    signal.alarm(int(60 + 5 * spec.seconds))
    print(json.dumps(importlib.import_module("loads." + spec.load).run(spec)), flush=True)


if __name__ == "__main__":
    main()
