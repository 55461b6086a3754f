"""Runs the Autobahn test suite against picows and says which verdicts are not those that are expected.

    python tests/autobahn/run.py [--cases 1-10] [--only WORD ...] [--jobs N] [--bytes N] [-v]

Both engines, as server and as client, by the message layer and by the drop-in: eight combinations. Exit status 0 if all
is as expected, and where the suite cannot run at all; 1 if not. The reports are kept in `build/autobahn/reports`.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import environment
import processes
from processes import Combination, Job
from verdicts import EXPECTED, MISSING, Verdict, compare, read_reports

REPORTS = environment.HOME / "reports"
COMBINATIONS = [Combination(*parts) for parts in itertools.product(("core", "pure"), EXPECTED, ("server", "client"))]
#: Columns of the table; what is none of these is "other".
COLUMNS = ("OK", "INFORMATIONAL", "NON-STRICT", "FAILED")
MOST_SHOWN = 20
#: Groups of cases that are a job of their own.
LARGE = ("9", "12", "13")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="1-10", help="groups, sub-groups or cases: 1-10, 12,13 or 7.1.5,9.3")
    parser.add_argument("--only", nargs="*", default=[], help="combinations with all of these words, as `core server`")
    parser.add_argument("--jobs", type=int, default=4, help="processes of the suite at a time: they mostly wait")
    parser.add_argument("--bytes", type=int, default=1 << 20, help="of a case in 12 and 13; 0 is 1,000 messages each")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for one process of the suite")
    parser.add_argument("-v", "--verbose", action="store_true", help="the suite's words about each difference")
    return parser.parse_args(arguments)


def choose_cases(selection: str, numbers: list[str]) -> list[str]:
    """The numbers that a selection names, in the suite's order."""
    chosen: set[str] = set()
    for item in selection.split(","):
        first, _, last = item.partition("-")
        prefixes = [str(group) for group in range(int(first), int(last) + 1)] if last else [item]
        found = {number for number in numbers for prefix in prefixes if f"{number}.".startswith(f"{prefix}.")}
        if not found:
            raise SystemExit(f"autobahn: no case is {item!r}")
        chosen |= found
    return [number for number in numbers if number in chosen]


def make_jobs(combination: Combination, cases: list[str], options: argparse.Namespace) -> list[Job]:
    """Cases 9, 12 and 13 take processor time, the others wait for what must not come: they go well together."""
    parts: dict[str, list[str]] = {}
    for case in cases:
        group = case.partition(".")[0]
        parts.setdefault(group if group in LARGE else "small", []).append(case)
    place = REPORTS / str(combination).replace(" ", "-")
    return [Job(combination, part, place / name, options.bytes, options.timeout) for name, part in parts.items()]


def report(combination: Combination, cases: list[str], found: dict[str, Verdict], seconds: float, verbose: bool) -> int:
    """Print the row of a combination and its differences; how many there are."""
    counts = Counter(verdict.worse for verdict in found.values())
    differences = compare(combination.api, cases, found)
    other = sum(counts.values()) - sum(counts[name] for name in COLUMNS)
    known = sum(case in cases for case in EXPECTED[combination.api])
    numbers = "".join(f"{count:>14}" for count in (*(counts[name] for name in COLUMNS), other, known))
    print(f"{combination!s:24}{len(found):>4}/{len(cases)}{numbers}{len(differences):>13}{seconds:>9.1f}", flush=True)
    shown = [difference for difference in differences if difference.verdict.behavior != MISSING][:MOST_SHOWN]
    for case, expected, verdict in shown:
        print(f"    {case:9} {verdict.behavior} / {verdict.ending}, expected {expected}")
        if verbose and verdict.text:
            print(f"              {verdict.text}")
    if len(differences) > len(shown):
        print(f"    and {len(differences) - len(shown)} more, of which {len(cases) - len(found)} without a report")
    return len(differences)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        interpreter = environment.python()
    except environment.Unavailable as exc:
        print(f"autobahn: skipped. {exc}")
        return 0
    cases = choose_cases(options.cases, environment.case_numbers(interpreter))
    combinations = [one for one in COMBINATIONS if set(options.only) <= set(one)]
    shutil.rmtree(REPORTS, ignore_errors=True)
    started = time.monotonic()

    def run(job: Job) -> tuple[str, float]:
        begin = time.monotonic()
        return processes.run(job, interpreter), time.monotonic() - begin

    bad = 0
    headings = "".join(f"{name:>14}" for name in (*COLUMNS, "other", "known"))
    print(f"{'':24}{'cases':>7}{headings}{'differences':>14}{'seconds':>9}")
    with ThreadPoolExecutor(options.jobs) as executor:
        jobs = {one: make_jobs(one, cases, options) for one in combinations}
        running = {one: [executor.submit(run, job) for job in jobs[one]] for one in combinations}
        for one in combinations:
            results = [future.result() for future in running[one]]
            found = {case: verdict for job in jobs[one] for case, verdict in read_reports(job.directory).items()}
            bad += report(one, cases, found, sum(seconds for _, seconds in results), options.verbose)
            for problem in filter(None, (problem for problem, _ in results)):
                print(f"    {problem}")
                bad += 1
    result = f"{bad} not as expected" if bad else "all as expected"
    seconds = time.monotonic() - started
    print(
        f"autobahn: {len(cases)} cases x {len(combinations)} combinations in {seconds:.0f} s: {result}; see {REPORTS}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
