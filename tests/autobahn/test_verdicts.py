"""What counts as a difference between the Autobahn suite's verdicts and ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import verdicts

OK, LATE, FAILED = (verdicts.Verdict(name, "OK") for name in ("OK", "NON-STRICT", "FAILED"))
INFORMATIONAL = verdicts.Verdict("INFORMATIONAL", "INFORMATIONAL")
WRONG_CODE = verdicts.Verdict("OK", "WRONG CODE")


@pytest.mark.parametrize(
    ("api", "case", "verdict", "is_right"),
    [
        ("messages", "1.1.1", OK, True),
        ("messages", "7.13.1", INFORMATIONAL, True),
        ("messages", "3.2", LATE, False),
        ("messages", "7.1.5", FAILED, False),
        ("messages", "7.9.1", WRONG_CODE, False),
        ("websockets", "3.2", LATE, False),
        ("websockets", "3.2", OK, True),
        ("websockets", "3.1", LATE, False),
        ("websockets", "3.2", FAILED, False),
        ("websockets", "7.1.5", FAILED, True),
        ("websockets", "7.1.5", OK, False),
        ("websockets", "9.3.1", verdicts.Verdict("FAILED", "FAILED"), True),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, verdicts.Verdict) else str(value),
)
def test_differences(api: str, case: str, verdict: verdicts.Verdict, is_right: bool) -> None:
    differences = verdicts.compare(api, [case], {case: verdict})
    assert [difference.case for difference in differences] == ([] if is_right else [case])


@pytest.mark.parametrize("api", verdicts.EXPECTED)
def test_a_case_without_a_report_is_a_difference(api: str) -> None:
    cases = ["1.1.1", "3.2", "7.1.5"]
    assert [(found.case, found.verdict.worse) for found in verdicts.compare(api, cases, {})] == [
        (case, verdicts.MISSING) for case in cases
    ]


def test_reports_are_read(tmp_path: Path) -> None:
    assert verdicts.read_reports(tmp_path) == {}
    summary = {"behavior": "FAILED", "behaviorClose": "UNCLEAN", "reportfile": "one.json"}
    (tmp_path / "index.json").write_text(json.dumps({"picows": {"1.1.1": summary}}))
    (tmp_path / "one.json").write_text(json.dumps({"result": "It differs.", "resultClose": None}))
    assert verdicts.read_reports(tmp_path) == {"1.1.1": verdicts.Verdict("FAILED", "UNCLEAN", "It differs.")}
