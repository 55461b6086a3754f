"""`python -m picows`: what is installed, which engine runs, and why (see `picows.diagnostics`)."""

from .diagnostics import main

if __name__ == "__main__":
    raise SystemExit(main())
