"""What the Autobahn suite found, read from its reports, beside what is expected.

The suite judges each case twice: what was echoed, and how the connection ended. The message layer must be OK or
INFORMATIONAL (the suite has no opinion) in both for every case. The drop-in must do what `websockets` does, and
EXPECTED names the cases where the suite wants something else; a FAILED among them that passes is a difference too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterable, NamedTuple

GOOD = frozenset(("OK", "INFORMATIONAL"))
#: A case that was to run and of which there is no report.
MISSING = "MISSING"

_FAILED = frozenset(("FAILED",))
#: API -> case -> the verdicts that are right.
EXPECTED: dict[str, dict[str, frozenset[str]]] = {
    "messages": {},
    "websockets": {
        # A CLOSE in the middle of a fragmented message is refused with 1002.
        "7.1.5": _FAILED,
        # More than WEBSOCKETS_MAX_FRAGMENTS fragments, 4,096, are refused with 1009.
        **dict.fromkeys(("9.3.1", "9.3.2", "9.3.3", "9.4.1", "9.4.2", "9.4.3"), _FAILED),
    },
}


class Verdict(NamedTuple):
    """What the suite says of one case."""

    #: What was echoed: OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED, FAILED.
    behavior: str
    #: How the connection ended: OK, INFORMATIONAL, FAILED, WRONG CODE, UNCLEAN, FAILED BY CLIENT.
    ending: str
    #: The suite's words about both.
    text: str = ""

    @property
    def worse(self) -> str:
        """One word for both."""
        return self.behavior if self.behavior != "OK" else self.ending


class Difference(NamedTuple):
    """A case that did not end as expected."""

    case: str
    expected: str
    verdict: Verdict


def read_reports(directory: Path) -> dict[str, Verdict]:
    """The verdicts in a directory that the suite has written; none if it has not."""
    index = directory / "index.json"
    if not index.exists():
        return {}
    found = {}
    for cases in json.loads(index.read_text()).values():
        for case, summary in cases.items():
            details = json.loads((directory / summary["reportfile"]).read_text())
            words = [str(details.get(key) or "") for key in ("result", "resultClose", "wasNotCleanReason")]
            found[case] = Verdict(summary["behavior"], summary["behaviorClose"], " | ".join(filter(None, words)))
    return found


def compare(api: str, cases: Iterable[str], found: dict[str, Verdict]) -> list[Difference]:
    """Where the verdicts are not what is expected of an API."""
    differences = []
    for case in cases:
        verdict = found.get(case, Verdict(MISSING, MISSING))
        expected = EXPECTED[api].get(case, GOOD)
        if not ({verdict.behavior, verdict.ending} <= expected if expected is GOOD else verdict.worse in expected):
            differences.append(Difference(case, " or ".join(sorted(expected)), verdict))
    return differences
