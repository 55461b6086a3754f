"""What the workflows must agree on with the rest of the repository."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github/workflows"
#: Of the image that GitHub runs: node, npm and google-chrome, which stands in for Chromium.
IN_THE_IMAGE = {"nodejs", "npm", "chromium"}
#: Debian packages in the reasons for which tests are skipped, in arguments and in tables.
NAMED = (r"apt-get install ([a-z0-9 .+-]+)", r"packages?=\"([a-z0-9 .+-]+)\"", r"\"(gcc-[a-z0-9 .+-]+)\"")
CLANG_RUNTIME = r"libclang-rt-\d+-dev"  # each release of Debian and Ubuntu has its own


def jobs(name: str) -> dict[str, str]:
    """The text of each job of a workflow."""
    text = (WORKFLOWS / name).read_text("utf-8").partition("\njobs:\n")[2]
    return dict(re.findall(r"^  ([\w-]+):\n((?:    .*\n|\n)+)", text, re.MULTILINE))


def test_ci_installs_what_tests_are_skipped_without() -> None:
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            for pattern in NAMED:
                for found in re.findall(pattern, path.read_text("utf-8")):
                    named.update(found.split())
    assert {"valgrind", "redis-server", "squid", "gcc-s390x-linux-gnu"} <= named
    main = jobs("ci.yml")["everything"]
    installed = set(re.sub(CLANG_RUNTIME, "", main.partition("apt-get install -y")[2].partition("- run:")[0]).split())
    assert {name for name in named - IN_THE_IMAGE if not re.fullmatch(CLANG_RUNTIME, name)} <= installed
    assert re.search(CLANG_RUNTIME, main)
    assert "./dev wheels-dry" in jobs("ci.yml")["wheels-dry"]


def test_the_results_of_all_architectures_are_published_together() -> None:
    compare, publish = jobs("bench.yml").values()
    assert "needs: compare" in publish
    assert publish.index("actions/download-artifact") < publish.index("./dev asv publish")
    assert publish.index("./dev asv publish") < publish.index("actions/upload-artifact")
    (kept,) = re.findall(r"path: (benchmarks/\S+?)/?\n", compare)
    assert f"path: {kept}\n" in publish
    name = re.search(r"name: (asv-)\$\{\{ matrix\.os \}\}", compare)
    assert name is not None
    assert f"pattern: {name[1]}*" in publish
