"""`python -m picows`: the `picows` command; without a verb, what is installed and which engine runs, and why."""

import sys

from .cli.main import main

if __name__ == "__main__":
    is_doctor = sys.argv[1:] in ([], ["--json"])
    raise SystemExit(main(["doctor", *sys.argv[1:]] if is_doctor else None))
