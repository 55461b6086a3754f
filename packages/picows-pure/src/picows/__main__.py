"""`python -m picows`: the `picows` command; without a verb, what is installed and which engine runs, and why."""

import sys

if __name__ == "__main__":
    if sys.argv[1:] in ([], ["--json"]):
        from .diagnostics import main as doctor

        raise SystemExit(doctor())
    from .cli.main import main

    raise SystemExit(main())
