"""Every input of the fuzzing corpus once, without a fuzzer: also those that were crashes until they were mended."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fuzz.promises import Broken

from . import c_coverage, run, seeds, targets

SANITIZE = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
INPUTS = [(target, path) for target in run.IN_PYTHON for place in run.seeds(target) for path in sorted(place.iterdir())]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_in_python(target: str, path: Path) -> None:
    if run.lacks(target):
        pytest.skip(f"needs {run.NEEDS[target]}")
    targets.find(target)(path.read_bytes())


@pytest.mark.timeout(300)  # of which the compiler may need most, on a busy machine
@pytest.mark.parametrize("target", run.IN_C)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")
def test_in_c(target: str, tmp_path: Path) -> None:
    kernels = sorted(run.KERNELS.rglob("*.c")) if target == "kernels" else []
    sources = [run.HERE / f"{target}.c", run.HERE / "replay.c", *kernels]
    inputs = [path for place in run.seeds(target) for path in sorted(place.iterdir())]
    program = tmp_path / target
    for command in (["gcc", *SANITIZE, "-I", run.KERNELS, *sources, "-o", program], [program, *inputs]):
        words: list[Any] = [str(word) for word in command]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_corpus_reaches_the_frame_codec(tmp_path: Path) -> None:
    """T11, for what every byte of a peer goes through; `hatch run fuzz-coverage` shows the other files."""
    if shutil.which("clang") is None or not shutil.which(c_coverage.tool("llvm-profdata")):
        pytest.skip("needs clang and LLVM's tools: apt-get install clang llvm")
    program, counts = c_coverage.profile("frame_codec", tmp_path, run.seeds("frame_codec"))
    assert c_coverage.share(c_coverage.summaries(program, counts)["frame_codec.h"]) >= c_coverage.TARGET_PERCENT


def test_a_parser_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets can fail."""

    class Forgetful(targets.FrameParser):
        def feed(self, data: bytes) -> None:
            super().feed(data)
            self._tail = b""

    monkeypatch.setattr(targets, "FrameParser", Forgetful)
    with pytest.raises(Broken, match="frames"):
        targets.frames((run.CORPUS / "frames/text").read_bytes())


def test_the_corpus_has_every_seed() -> None:
    for target, name, data in seeds.all_seeds():
        assert (run.CORPUS / target / name).read_bytes() == data, f"{target}/{name}: run tests/fuzz/seeds.py"


def test_the_corpus_is_small() -> None:
    files = [path for path in run.CORPUS.rglob("*") if path.is_file()]
    assert len(files) < 350
    assert sum(path.stat().st_size for path in files) < 500_000
