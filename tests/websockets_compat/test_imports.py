"""What importing picows.websockets loads: the engine that runs, and not the other one.

In a process of its own, which notes what is asked for: numpy need not be installed to be found out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

#: Prints which engines, and whether numpy, were asked for.
PROGRAM = """
import sys
asked = set()
sys.addaudithook(lambda event, values: asked.add(values[0]) if event == "import" else None)
import picows.websockets.asyncio.client, picows.websockets.asyncio.server
import picows.websockets.sync.client, picows.websockets.sync.server
import picows.websockets.client, picows.websockets.server
assert "picows.websockets._masking" in asked
print(*sorted({"numpy", "picows.core", "picows.pure"} & (asked | set(sys.modules))))
"""
LOADED = {"core": "picows.core", "pure": "numpy picows.pure"}


def test_only_the_engine_that_runs_is_loaded(engine: Any) -> None:
    environment = {**os.environ, "PICOWS_IMPL": engine.name, "PICOWS_NUMPY": "1"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=50, check=True)
    assert done.stdout.strip() == LOADED[engine.name]


def test_the_top_level_loads_no_api() -> None:
    program = """
import sys
import picows.websockets
print(*(name for name in sys.modules if name.startswith("picows.websockets.")), "trio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=50, check=True)
    assert done.stdout.split() == ["picows.websockets.imports", "picows.websockets.version", "False"]
