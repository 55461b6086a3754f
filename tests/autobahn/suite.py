# The Autobahn test suite's own program, for Python 2.7.
#
#     python2.7 suite.py cases                  the numbers of all cases
#     python2.7 suite.py MODE SPEC BYTES        run: MODE is fuzzingclient or fuzzingserver, SPEC a file in JSON
#
# Cases 12 and 13 send 1,000 messages each, whatever their size, which makes 11 GB. Here a case sends so many messages
# as make BYTES, but at least 8 and at most 1,000; 0 leaves it at 1,000.
import os
import sys

import autobahntestsuite.choosereactor  # first of all: it installs the reactor

sys.path.insert(0, os.path.dirname(autobahntestsuite.__file__))
sys.modules.setdefault("choosereactor", autobahntestsuite.choosereactor)

from autobahntestsuite import wstest  # noqa: E402
from autobahntestsuite.case import CaseBasename, CaseCategories, Cases, CaseSetname, CaseSubCategories  # noqa: E402
from autobahntestsuite.caseset import CaseSet  # noqa: E402

if sys.argv[1] == "cases":
    numbers = CaseSet(CaseSetname, CaseBasename, Cases, CaseCategories, CaseSubCategories)
    for case in Cases:
        sys.stdout.write(numbers.caseClasstoId(case) + "\n")
else:
    mode, spec, budget = sys.argv[1:]
    for case in Cases:
        if int(budget) and case.__name__.startswith(("Case12_", "Case13_")):
            case.COUNT = min(1000, max(8, int(budget) // case.LEN))
    sys.argv[1:] = ["--mode", mode, "--spec", spec, "--webport", "0"]
    wstest.run()
