"""README's command for a chart, with as little measured as there can be: ours alone, without making environments."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = r"^\./dev bench (--rows .* --chart \S+) "
LEAST = "--impl pure --against pure --loops asyncio --transports tcp --sizes 256 --rounds 1 --seconds 0.05"
#: Where an earlier run has made it.
CHART = ROOT / "build/peers/chart/bin/python"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="benchmarks/peers is for Linux"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="benchmarks/peers needs Python 3.11"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: apt-get install openssl"),
]


def is_installed() -> bool:
    """Whether picows is in this interpreter itself, not on the PYTHONPATH, which processes under test do not get."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-c", "import picows"]
    return not subprocess.run(command, env=bare, stderr=subprocess.DEVNULL, check=False).returncode


def test_readmes_chart(tmp_path: Path) -> None:
    if not is_installed():
        pytest.skip("picows is not installed: pip install -e packages/picows-pure")
    (command,) = re.findall(COMMAND, (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    words = shlex.split(command)
    picture = tmp_path / Path(words[-1]).name
    words[-1] = str(picture)
    drawing = sys.executable if importlib.util.find_spec("matplotlib") else str(CHART)
    if not Path(drawing).exists():  # then matplotlib would be downloaded
        words[-2:] = ["--json", str(picture.with_suffix(".json"))]
    used = ["--use", f"ours={sys.executable}", "--use", f"chart={drawing}"]
    program = [sys.executable, str(ROOT / "benchmarks/peers/run.py")]
    done = subprocess.run([*program, *words, *LEAST.split(), *used], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "echo/256/asyncio/tcp: echo, client and server" in done.stdout
    (row,) = json.loads(picture.with_suffix(".json").read_text("utf-8"))["rows"]
    assert row["samples"]["pure"]["cpu_us"][0] > 0
    if Path(drawing).exists():
        assert "picows-pure" in picture.read_text("utf-8")
