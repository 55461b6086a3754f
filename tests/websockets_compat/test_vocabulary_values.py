"""What parsers, builders and objects of picows.websockets make of good and bad input, compared with websockets 17.4.

A case is an expression that is evaluated with the names of either library (`fixtures.vocabulary.namespace`). Two
observations must be equal, or the case stands in `fixtures.vocabulary_explained` with what we do and why; there it must
differ.
"""

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")
websockets = pytest.importorskip("websockets", reason="websockets is not installed: nothing to compare with")
if websockets.__version__ != "17.4":
    pytest.skip(f"websockets 17.4 is emulated, {websockets.__version__} is installed", allow_module_level=True)

from fixtures.vocabulary import evaluate  # noqa: E402
from fixtures.vocabulary_cases import CASES as FRAME_CASES  # noqa: E402
from fixtures.vocabulary_explained import EXPLAINED  # noqa: E402
from fixtures.vocabulary_http_cases import CASES as HTTP_CASES  # noqa: E402

CASES = FRAME_CASES | HTTP_CASES


@pytest.mark.parametrize("group", CASES)
def test_both_libraries_do_the_same(group: str) -> None:
    seen = {case: (evaluate(case, "websockets"), evaluate(case, "picows.websockets")) for case in CASES[group]}
    different = {case: our for case, (their, our) in seen.items() if their != our}
    for case, expected in EXPLAINED.items():
        if case in different and expected.endswith("...") and different[case].startswith(expected[:-3]):
            different[case] = expected
    assert different == {case: EXPLAINED[case] for case in CASES[group] if case in EXPLAINED}


def test_every_explanation_has_its_case() -> None:
    assert set(EXPLAINED) - {case for cases in CASES.values() for case in cases} == set()
