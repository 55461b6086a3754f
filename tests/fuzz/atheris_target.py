"""One target of targets.py under atheris (CPython 3.11 on Linux): `atheris_target.py NAME [ARGUMENTS OF LIBFUZZER]`."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["picows"]):
    from targets import find

    target = find(sys.argv.pop(1))

if __name__ == "__main__":
    logging.getLogger("picows").addHandler(logging.NullHandler())
    logging.getLogger("picows").propagate = False  # here, not in targets.py: the tests that share its process read logs
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
