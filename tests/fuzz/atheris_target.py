"""One target of targets.py under atheris (CPython 3.11 on Linux): `atheris_target.py NAME [ARGUMENTS OF LIBFUZZER]`."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["picows"]):
    from targets import TARGETS

if __name__ == "__main__":
    logging.getLogger("picows").addHandler(logging.NullHandler())
    logging.getLogger("picows").propagate = False  # here, not in targets.py: the tests that share its process read logs
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
