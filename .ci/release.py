"""What a release needs besides wheels: its section of the changelog, and that tag, version and changelog agree.

    python .ci/release.py changelog [--write]       the fragments of changes.d as a section; --write moves them there
    python .ci/release.py check TAG [--dist DIR]    what is wrong with a release of this tag, and with what was built
    python .ci/release.py notes                     the section of this version in CHANGELOG.md

The version is that of packages/picows-pure/src/picows/_version.py, the only place that has one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = ("picows_core", "picows_pure", "picows_websockets")
KINDS = ("added", "changed", "faster", "fixed", "removed")
#: What lies in changes.d and is no fragment.
NO_FRAGMENTS = ("README.md", "template.jinja")
_FINAL = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_FRAGMENT = re.compile(rf"[a-z0-9]+(?:-[a-z0-9]+)*\.(?:{'|'.join(KINDS)})\.md")


def version(root: Path = ROOT) -> str:
    """The version of all three distributions."""
    text = (root / "packages/picows-pure/src/picows/_version.py").read_text("utf-8")
    (found,) = re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE)
    return str(found)


def fragments(root: Path = ROOT) -> list[str]:
    """The names of the fragments."""
    return sorted(path.name for path in (root / "changes.d").iterdir() if path.name not in NO_FRAGMENTS)


def misnamed(root: Path = ROOT) -> list[str]:
    """Fragments that towncrier would not find, or would find twice."""
    return [name for name in fragments(root) if not _FRAGMENT.fullmatch(name)]


def notes(root: Path = ROOT) -> str:
    """The section of this version in CHANGELOG.md, without its title; nothing where there is none."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    title = rf"^## {re.escape(version(root))} \(\d{{4}}-\d\d-\d\d\)\n"
    parts = re.split(title, text, flags=re.MULTILINE)
    return re.split(r"^## ", parts[1], flags=re.MULTILINE)[0].strip() if len(parts) == 2 else ""


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Why this tag is not a release of the tree."""
    found = []
    ours = version(root)
    if tag != f"v{ours}":
        found.append(f"the tag is {tag}, the version {ours}: tag v{ours}, or ./dev version {tag.removeprefix('v')}")
    if not _FINAL.fullmatch(ours):
        found.append(f"{ours} is no version to publish: ./dev version X.Y.Z")
    if not notes(root):
        found.append(f"CHANGELOG.md has no section '## {ours} (YYYY-MM-DD)' with text: ./dev changelog --write")
    if fragments(root):
        found.append(f"changes.d still holds {', '.join(fragments(root))}: ./dev changelog --write")
    return found


def built_problems(directory: Path, root: Path = ROOT) -> list[str]:
    """What is missing among built files, or has another version."""
    ours = version(root)
    names = sorted(path.name for path in directory.iterdir() if path.name.endswith((".whl", ".tar.gz")))
    found = [f"{name} is not of version {ours}" for name in names if not _is_of(name, ours)]
    for distribution in DISTRIBUTIONS:
        for ending in (".tar.gz", ".whl"):
            if not any(name.startswith(f"{distribution}-{ours}") and name.endswith(ending) for name in names):
                found.append(f"there is no {distribution}-{ours}*{ending} in {directory}")
    return found


def _is_of(name: str, ours: str) -> bool:
    return any(re.match(rf"{one}-{re.escape(ours)}(-|\.tar\.gz$)", name) for one in DISTRIBUTIONS)


def changelog(is_written: bool, root: Path = ROOT) -> int:
    """Run towncrier. Returns its exit code."""
    mode = "--yes" if is_written else "--draft"
    command = [sys.executable, "-m", "towncrier", "build", mode, "--version", version(root)]
    return subprocess.run(command, cwd=root, check=False).returncode


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="release.py", description="Changelog and tag of a release.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("changelog", help="print the next section of CHANGELOG.md")
    verb.add_argument("--write", action="store_true", help="write it, and remove the fragments")
    verb = verbs.add_parser("check", help="is this tag a release of the tree?")
    verb.add_argument("tag")
    verb.add_argument("--dist", type=Path, help="look at what was built, too")
    verbs.add_parser("notes", help="print the section of this version")
    options = parser.parse_args(arguments)
    if options.verb == "changelog":
        return changelog(options.write, root)
    if options.verb == "notes":
        print(notes(root))
        return 0
    found = problems(options.tag, root) + (built_problems(options.dist, root) if options.dist else [])
    for problem in found:
        print(f"release: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
