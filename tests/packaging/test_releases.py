"""Releases: one command moves all versions, tags are checked, fragments become the changelog, wheels are listed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from types import ModuleType

import pytest
from fixtures.wheels import DISTRIBUTIONS, ROOT, Wheel, build

pytestmark = pytest.mark.timeout(300)  # the first test builds the wheels, if need be
VERSION_FILE = "packages/picows-pure/src/picows/_version.py"


def script(name: str) -> ModuleType:
    """A module of .ci."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f".ci/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = script("release")
wheels_of_ci = script("wheels")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a release is made of."""
    without = shutil.ignore_patterns("build", "dist", "__pycache__", "*.so", "*.pyd", ".*")
    for name in ("packages", "changes.d"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without)
    for name in ("CHANGELOG.md", "pyproject.toml", "hatch.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def metadata_of(sdist: Path) -> Message:
    """PKG-INFO, which hatchling writes as it writes a wheel's METADATA."""
    with tarfile.open(sdist) as archive:
        (name,) = (name for name in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name))
        file = archive.extractfile(name)
        assert file is not None
        return BytesParser().parsebytes(file.read())


def move(tree: Path, package: str, version: str) -> None:
    """What `hatch version` does in the directory of a distribution."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "version", version],
        cwd=tree / "packages" / package,
        capture_output=True,
        check=True,
    )


@pytest.mark.parametrize("package", DISTRIBUTIONS)
def test_one_command_moves_all_distributions(
    tree: Path, package: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    move(tree, package, "9.8.7")
    assert (tree / VERSION_FILE).read_text("utf-8").endswith('__version__ = "9.8.7"\n')
    found = {
        name: metadata_of(build(tree / "packages" / name, "sdist", tmp_path_factory.mktemp("sdist")))
        for name in DISTRIBUTIONS
    }
    assert {metadata["Version"] for metadata in found.values()} == {"9.8.7"}
    ours = {
        name: [need for need in metadata.get_all("Requires-Dist") or [] if need.startswith("picows-")]
        for name, metadata in found.items()
    }
    assert ours == {
        "picows-pure": [],
        "picows-core": ["picows-pure==9.8.7"],
        "picows-websockets": ["picows-pure==9.8.7", "picows-core==9.8.7; extra == 'core'"],
    }


def test_the_verb_moves_the_file_that_all_read() -> None:
    assert 'version = "cd packages/picows-pure && python -m hatchling version {args}"' in (
        ROOT / "hatch.toml"
    ).read_text("utf-8")
    for name in DISTRIBUTIONS:
        text = (ROOT / "packages" / name / "pyproject.toml").read_text("utf-8")
        (path,) = re.findall(r'\[tool\.hatch\.version\]\npath = "(.*)"', text)
        assert (ROOT / "packages" / name / path).resolve() == ROOT / VERSION_FILE


def write_section(tree: Path, version: str, text: str = "### Added\n\n- something") -> None:
    (tree / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {version} (2026-01-02)\n\n{text}\n\n## 1.0.0 (2025-01-02)\n\n- old\n"
    )
    for name in release.fragments(tree):
        (tree / "changes.d" / name).unlink()


def test_a_tag_that_is_right(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    move(tree, "picows-pure", "9.8.7")
    write_section(tree, "9.8.7")
    assert release.main(["check", "v9.8.7"], tree) == 0
    assert release.main(["notes"], tree) == 0
    assert capsys.readouterr() == ("### Added\n\n- something\n", "")


@pytest.mark.parametrize(
    ("version", "tag", "section", "problem"),
    [
        ("9.8.7", "v9.8.8", "9.8.7", "the tag is v9.8.8, the version 9.8.7: tag v9.8.7, or ./dev version 9.8.8"),
        ("9.8.7", "9.8.7", "9.8.7", "the tag is 9.8.7, the version 9.8.7"),
        ("9.8.7.dev1", "v9.8.7.dev1", "9.8.7.dev1", "9.8.7.dev1 is no version to publish"),
        ("9.8.7", "v9.8.7", "9.8.6", "has no section '## 9.8.7 (YYYY-MM-DD)' with text"),
    ],
    ids=["other", "no-v", "dev", "changelog"],
)
def test_a_tag_that_is_wrong(
    tree: Path, capsys: pytest.CaptureFixture[str], version: str, tag: str, section: str, problem: str
) -> None:
    move(tree, "picows-pure", version)
    write_section(tree, section)
    assert release.main(["check", tag], tree) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_a_tag_before_the_fragments_have_moved(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    move(tree, "picows-pure", "9.8.7")
    write_section(tree, "9.8.7")
    (tree / "changes.d/late.fixed.md").write_text("Late.\n")
    assert release.main(["check", "v9.8.7"], tree) == 1
    assert capsys.readouterr().err == "release: changes.d still holds late.fixed.md: ./dev changelog --write\n"


def test_what_was_built_belongs_to_the_tag(wheels: dict[str, Wheel], sdists: dict[str, Path], tmp_path: Path) -> None:
    for path in (*(wheel.path for wheel in wheels.values()), *sdists.values()):
        shutil.copy(path, tmp_path)
    assert release.built_problems(tmp_path) == []
    missing = next(tmp_path.glob("picows_core*.tar.gz"))
    missing.rename(tmp_path / "picows_core-0.1.tar.gz")
    ours = release.version()
    assert release.built_problems(tmp_path) == [
        f"picows_core-0.1.tar.gz is not of version {ours}",
        f"there is no picows_core-{ours}*.tar.gz in {tmp_path}",
    ]


def test_fragments_have_names_that_towncrier_knows() -> None:
    assert release.misnamed() == []
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    kinds = re.findall(r'^\[\[tool\.towncrier\.type\]\]\ndirectory = "(.*)"', settings, re.MULTILINE)
    assert tuple(kinds) == release.KINDS
    assert f"kind: {', '.join(release.KINDS)}" in (ROOT / "changes.d/README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["x.new.md", "x.md", "x.added.txt", "X y.added.md", "x.added.md.orig", "a.b.added.md"])
def test_other_names_are_noticed(tree: Path, name: str) -> None:
    (tree / "changes.d" / name).write_text("text\n")
    assert release.misnamed(tree) == [name]


def test_fragments_are_sentences() -> None:
    for name in release.fragments():
        text = (ROOT / "changes.d" / name).read_text("utf-8")
        assert text.endswith((".\n", ").\n")), name
        assert not text.startswith(("-", "*", "#")), name
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", text):
            assert (ROOT / "changes.d" / link).exists(), (name, link)


def test_fragments_become_a_section(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("towncrier", reason="towncrier writes the changelog: pip install towncrier")
    (tree / "changes.d/of-this-test.fixed.md").write_text("One line\nand another, with [a link](../README.md).\n")
    before = (tree / "CHANGELOG.md").read_text("utf-8")
    assert release.main(["changelog"], tree) == 0
    draft = capfd.readouterr().out
    assert (tree / "CHANGELOG.md").read_text("utf-8") == before
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)  # towncrier removes fragments by git, staged or not
    texts = [(tree / "changes.d" / name).read_text("utf-8") for name in release.fragments(tree)]
    assert release.main(["changelog", "--write"], tree) == 0
    written = (tree / "CHANGELOG.md").read_text("utf-8")
    assert release.fragments(tree) == []
    assert release.notes(tree) in draft
    title = rf"^## {re.escape(release.version(tree))} \(\d{{4}}-\d\d-\d\d\)$"
    assert len(re.findall(title, written, re.MULTILINE)) == 1
    for text in texts:
        assert "- " + text.replace("](../", "](").strip() in written.replace("\n  ", "\n")
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", written):
        assert (ROOT / link).exists(), link


CPYTHONS = ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]


@pytest.mark.parametrize(
    ("system", "architecture", "platforms"),
    [
        ("linux", "x86_64", ["manylinux_x86_64", "musllinux_x86_64"]),
        ("linux", "aarch64", ["manylinux_aarch64"]),
        ("macos", "arm64", ["macosx_arm64"]),
        ("macos", "x86_64", ["macosx_x86_64"]),
        ("windows", "AMD64", ["win_amd64"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cibuildwheel_would_build(system: str, architecture: str, platforms: list[str]) -> None:
    pytest.importorskip("cibuildwheel", reason="cibuildwheel lists the builds: pip install cibuildwheel")
    wanted = [f"{python}-{platform}" for platform in platforms for python in CPYTHONS]
    assert wheels_of_ci.identifiers(system, architecture) == wanted
    assert (system, architecture) in wheels_of_ci.RUNNERS


def test_the_page_about_threads_and_the_wheels_agree() -> None:
    """Wheels for Python without the lock are promised if they are built, and not otherwise."""
    settings = (ROOT / "packages/picows-core/pyproject.toml").read_text("utf-8")
    (built,) = re.findall(r"^build = \[(.*?)\]", settings, re.MULTILINE)
    page = (ROOT / "docs/howto/free-threading.md").read_text("utf-8")
    assert ("There are no wheels for it" in page) is (re.search(r"cp\d+t-", built) is None)
    hook = (ROOT / "packages/picows-core/hatch_build.py").read_text("utf-8")
    assert ("declare that they do not need the lock" in page) is ('"freethreading_compatible": True' in hook)


def test_nothing_is_published_unchecked() -> None:
    """The last jobs wait for the check of the tag; it is skipped where there is none, and then so are they."""
    workflow = (ROOT / ".github/workflows/wheels.yml").read_text("utf-8")
    jobs = dict(re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", workflow.partition("\njobs:\n")[2], re.MULTILINE))
    assert list(jobs) == ["check", "build", "core", "publish", "announce"]
    assert "if: startsWith(github.ref, 'refs/tags/v')" in jobs["check"]
    assert 'python .ci/release.py check "$GITHUB_REF_NAME"\n' in jobs["check"]
    assert "needs: [check, build, core]" in jobs["publish"]
    assert jobs["publish"].index("release.py check") < jobs["publish"].index("gh-action-pypi-publish")
    assert "needs: publish" in jobs["announce"]
    assert [name for name, job in jobs.items() if "id-token: write" in job] == ["publish"]
    assert not re.search(r"secrets\.", workflow)
    names = re.search(r"package: \[(.*)\]", jobs["build"])
    assert names is not None
    assert set(names.group(1).split(", ")) == set(DISTRIBUTIONS)
