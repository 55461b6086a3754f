"""The parts of the command that need no process: words, latencies, and which verb runs."""

from __future__ import annotations

import json
import random
import sys

import pytest
from fixtures.commands import Command

from picows.cli.latency import Latencies
from picows.cli.main import main
from picows.cli.words import described, escaped, pretty_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[2J\r\n\0", "\\x1b[2J\\r\\n\\x00"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\u2028", "\\u2028"),
    ],
    ids=["plain", "c0", "c1", "bidi", "line"],
)
def test_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":1.10,"b":[],"c":{}}', '{\n  "a": 1.10,\n  "b": [],\n  "c": {}\n}'),
        ('[1e400, {"x": "[,]:{\\"}"}]', '[\n  1e400,\n  {\n    "x": "[,]:{\\"}"\n  }\n]'),
        (' [ [ ] , "\u202e" ] ', '[\n  [],\n  "\\u202e"\n]'),
        ("[" + "9" * 5000 + "]", "[\n  " + "9" * 5000 + "\n]"),
        ("[1,]", None),
        ("7", None),
        ("{not json}", None),
        ("[" * 100_000, None),
        ("", None),
    ],
    ids=["object", "strings", "bidi", "long-number", "comma", "scalar", "text", "deep", "empty"],
)
def test_pretty_json(text: str, shown: object) -> None:
    assert pretty_json(text) == shown


def test_pretty_json_is_the_same_json() -> None:
    value = {"a": [1, {"b": None, "c": [[], {}, ["x,", "y:", "{"]]}], "": "é\n", "d": -1.5e-7}
    for text in (json.dumps(value), json.dumps(value, indent=7), json.dumps(value, ensure_ascii=False)):
        shown = pretty_json(text)
        assert shown is not None
        assert json.loads(shown) == value
    assert pretty_json(json.dumps(value)) == json.dumps(value, indent=2)


def test_binary_is_described() -> None:
    assert described(b"\x01\xff") == "(binary, 2 bytes) 01 ff"
    assert described(bytes(65)).endswith(" 00...")


def test_latencies_are_exact_to_a_few_percent() -> None:
    values = [int(random.Random(number).lognormvariate(11, 1)) + 1 for number in range(5000)]
    found = Latencies()
    for value in values:
        found.add(value)
    ordered = sorted(values)
    assert (found.count, found.least, found.most) == (5000, ordered[0], ordered[-1])
    assert found.mean == sum(values) / 5000
    for percent in (1, 50, 90, 99, 99.9):
        assert found.percentile(percent) == pytest.approx(ordered[int(5000 * percent / 100) - 1], rel=0.016)
    assert found.percentile(100) == pytest.approx(ordered[-1], rel=0.016)
    rows = found.rows(10)
    assert sum(count for _, _, count in rows) == 5000
    assert all(low < high for low, high, _ in rows)


@pytest.mark.parametrize("values", [[], [5], [5, 5, 5], [0]], ids=["none", "one", "equal", "zero"])
def test_few_latencies(values: list[int]) -> None:
    found = Latencies()
    for value in values:
        found.add(value)
    assert found.percentile(50) == (values[0] if values else 0)
    assert sum(count for _, _, count in found.rows(10)) == len(values)


def test_no_verb_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in ("connect", "serve", "bench", "doctor"))


def test_doctor_is_what_python_m_prints(command: Command) -> None:
    plain, doctor = command.run(), command.run("doctor")
    assert plain.returncode == doctor.returncode == 0
    assert doctor.stdout == plain.stdout
    assert "implementation" in doctor.stdout
    assert json.loads(command.run("doctor", "--json").stdout) == json.loads(command.run("--json").stdout)


def test_doctor_needs_no_engine(command: Command) -> None:
    helped = command.run("doctor", "--help")
    assert (helped.returncode, helped.stdout.split()[:3]) == (0, ["usage:", "picows", "doctor"])


@pytest.mark.parametrize("verb", ["serve", "bench"])
def test_a_loop_that_is_not_installed(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    arguments = ["serve", "--port", "0"] if verb == "serve" else ["bench", "ws://127.0.0.1:1/"]
    assert main([*arguments, "--loop", "uvloop"]) == 1
    assert (
        capsys.readouterr().err == "picows: --loop uvloop needs uvloop, which is not installed: pip install 'uvloop'\n"
    )


def test_uvloop_on_both_sides(each_command: Command) -> None:
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    url = each_command.serve("--loop", "uvloop")
    done = each_command.run("bench", url, "--loop", "uvloop", "--json", "--messages", "20", "--warmup", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["loop"] == "uvloop"
