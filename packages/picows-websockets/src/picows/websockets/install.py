"""Runs a program with this package in place of the websockets library.

    python -m picows.websockets.install script.py [ARGUMENTS]
    python -m picows.websockets.install -m module [ARGUMENTS]

`picows.websockets.install` is a function; who imports this module gets it under the same name, so it can be called too.
"""

from __future__ import annotations

import builtins
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

from . import _install

_USAGE = f"usage: python -m {__package__}.install (script.py | -m module) [argument ...]"


class _CallableModule(ModuleType):
    def __call__(self) -> None:
        _install.install()


def _run_script(path: str) -> None:
    """Run a file. `runpy.run_path` would put another `sys.argv[0]`, and our module back before exit handlers run."""
    loader = SourceFileLoader("__main__", path)
    try:
        source = loader.get_data(path)
    except OSError as exc:
        sys.exit(f"cannot read {path}: {exc.strerror}")
    module = ModuleType("__main__")
    module.__file__ = path
    module.__loader__ = loader
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    exec(loader.source_to_code(source, path), vars(module))


def main(argv: list[str] | None = None) -> None:
    """Run a program in this process, as Python would.

    Args:
        argv: the script, or -m and a module, and its arguments; by default those of the command line.

    Raises:
        SystemExit: the program exits, or there is none.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] in (["-h"], ["--help"]):
        print(_USAGE)
        return
    is_module = arguments[:1] == ["-m"]
    program = arguments[is_module : is_module + 1]
    if not program or (program[0].startswith("-") and not is_module):
        print(_USAGE, file=sys.stderr)
        sys.exit(2)
    _install.install()
    sys.argv = arguments[is_module:]
    if is_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
        return
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(program[0]))  # it was the current directory, for our own -m
    _run_script(os.path.abspath(program[0]))


if __name__ == "__main__":
    main()
else:
    sys.modules[__name__].__class__ = _CallableModule
