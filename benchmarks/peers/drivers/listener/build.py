"""Compiles cython_listener.pyx as a user's setup.py would.

usage: build.py CIMPORT-FROM OUTPUT INCLUDE...   (INCLUDE: folders that hold `picows` with its .pxd files)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension

SOURCE = Path(__file__).resolve().with_name("cython_listener.pyx")


def main() -> None:
    """Copies the source beside its cimports and builds it there."""
    owner, output, *include = sys.argv[1:]
    home = Path(output)
    home.mkdir(parents=True, exist_ok=True)
    (home / "cimports.pxi").write_text(f"from {owner} cimport WSFrame, WSListener, WSTransport\n")
    copy = shutil.copy(SOURCE, home)
    extension = Extension("cython_listener", [str(copy)], extra_compile_args=["-O3"])
    modules = cythonize([extension], include_path=[str(home), *include], quiet=True, force=True)
    distribution = Distribution({"ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(home), str(home / "objects")  # type: ignore[attr-defined]
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    main()
