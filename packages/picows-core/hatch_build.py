"""Builds the extension modules of picows-core, Cython -> C -> one shared object each, and pins its requirements.

Every `src/picows/core/*.pyx` is a module. Cython's command line makes C of it; the compiler is the one that setuptools
configures for this interpreter (CC, CFLAGS, LDFLAGS, ARCHFLAGS, MSVC). Its build logic is not used: this is incremental
and parallel, and the same for wheels and editable installs, where the shared objects lie beside the sources.

Environment: PICOWS_BUILD=release|debug|trace|asan, PICOWS_BUILD_JOBS=n. Each mode has its own objects under `build/`;
the shared objects beside the sources are those of the last editable build, whatever its mode was.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Union

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PACKAGE = Path("src/picows/core")
KERNELS = PACKAGE / "csrc"
#: The one module that the kernels are linked into. The others reach them through its table.
KERNELS_MODULE = "_kernels"
DIRECTIVES = {
    "boundscheck": False,
    "cdivision": True,
    "embedsignature": True,
    "embedsignature.format": "python",
    "freethreading_compatible": True,
    "initializedcheck": False,
    "nonecheck": False,
    "wraparound": False,
}
USE_PURE = "Install picows-pure instead: the same library in Python, it needs no compiler."


class Mode(NamedTuple):
    """How to build. Flags come after the interpreter's own, so they win."""

    unix: tuple[str, ...]
    msvc: tuple[str, ...]
    link: tuple[str, ...] = ()
    macros: tuple[tuple[str, str], ...] = ()
    cython: tuple[str, ...] = ()


SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MODES = {
    "release": Mode(("-O3", "-g0", "-fvisibility=hidden"), ("/O2",), macros=(("CYTHON_WITHOUT_ASSERTIONS", "1"),)),
    "debug": Mode(
        ("-O0", "-g3", "-UNDEBUG"),
        ("/Od", "/Zi"),
        macros=(("PICOWS_DEBUG", "1"),),
        cython=("--gdb", "--gdb-outdir", "build/debug"),
    ),
    # Without the second macro coverage sees no .pyx on Python 3.13
    "trace": Mode(
        ("-O1", "-g0"),
        ("/O1",),
        macros=(("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")),
        cython=("-X", "linetrace=True"),
    ),
    "asan": Mode(
        ("-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG", *SANITIZE),
        ("/O1", "/Zi", "/fsanitize=address"),
        SANITIZE,
        (("PICOWS_DEBUG", "1"),),
    ),
}
#: For the code that is written by hand, and for Cython's, where interpreters are configured with -Wall.
STRICT = {"unix": ("-Wall", "-Wextra"), "msvc": ("/W4",)}
GENERATED = {"unix": ("-Wno-unused-function",), "msvc": ()}

AnyPath = Union[str, Path]


class BuildError(Exception):
    """The modules cannot be built here; the text is for whoever installs them."""


class Pins(MetadataHookInterface):
    """Fills the fields that pyproject.toml declares dynamic, from `[tool.hatch.metadata.hooks.custom]`.

    The three distributions have one version: `{version}` in a requirement becomes an exact pin.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        def pin(requirements: list[str]) -> list[str]:
            return [requirement.format(version=metadata["version"]) for requirement in requirements]

        metadata["dependencies"] = pin(self.config["dependencies"])
        if extras := self.config.get("optional-dependencies"):
            metadata["optional-dependencies"] = {name: pin(needs) for name, needs in extras.items()}


class Extensions(BuildHookInterface):
    """Builds the modules before the wheel is put together, or in place for an editable install."""

    def clean(self, versions: list[str]) -> None:
        shutil.rmtree(Path(self.root, "build"), ignore_errors=True)
        for pattern in ("*.so", "*.pyd", "*.c"):
            for made in Path(self.root, PACKAGE).glob(pattern):
                made.unlink()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        os.chdir(self.root)
        try:
            with locked(Path("build")):
                modules = build(mode_asked_for())
                if version == "editable":
                    put_in_place(modules)
        except BuildError as exc:
            self.app.abort(f"picows-core cannot be built: {exc}")
        if version != "editable":
            build_data["force_include"].update({str(made.resolve()): f"picows/core/{made.name}" for made in modules})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def mode_asked_for() -> str:
    if sys.implementation.name != "cpython":
        raise BuildError(f"it is for CPython, this is {sys.implementation.name}. {USE_PURE}")
    name = os.environ.get("PICOWS_BUILD") or "release"
    if name not in MODES:
        raise BuildError(f"PICOWS_BUILD is {name!r}, it may be {', '.join(MODES)}")
    return name


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One build at a time in a working tree: two would write the same objects."""
    directory.mkdir(exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(directory / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stale(target: AnyPath, sources: Iterable[AnyPath]) -> bool:
    """Whether a file is missing, or older than something that it is made of, or that is gone."""
    try:
        made = os.stat(target).st_mtime_ns
        return any(os.stat(source).st_mtime_ns > made for source in sources)
    except FileNotFoundError:
        return True


def write_if_changed(path: Path, text: str) -> Path:
    """Let a file's time be that of its last change."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
    return path


def put_in_place(modules: list[Path]) -> None:
    """Copy modules beside their sources, and remove this interpreter's modules that have no source any more."""
    names = {made.name for made in modules}
    for old in PACKAGE.glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
        if old.name not in names:
            old.unlink()
    for made in modules:
        target = PACKAGE / made.name
        if not target.exists() or target.stat().st_mtime_ns != made.stat().st_mtime_ns:
            # Never write into a file that a process has mapped
            shutil.copy2(made, f"{target}.new")
            os.replace(f"{target}.new", target)


def required_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as exc:
        raise BuildError(f"{exc}: {name} is among the requirements of the build") from exc


def directory_of(mode: str) -> Path:
    """What is built in a mode with these versions of Cython, and of aiofastnet, whose structs are compiled in."""
    return Path("build", mode, "-".join(f"{name}-{required_version(name)}" for name in ("cython", "aiofastnet")))


class Cython:
    """Makes C of a module, if that or something that it cimports has changed."""

    def __init__(self, mode: str) -> None:
        self.directory = directory_of(mode) / "c"
        self.directory.mkdir(parents=True, exist_ok=True)
        # Coverage looks for the C beside the .pyx
        self.target = PACKAGE if mode == "trace" else self.directory
        options = [part for name, value in DIRECTIVES.items() for part in ("-X", f"{name}={value}")]
        self.options = ["-3", "--depfile", "-I", "src", *options, *MODES[mode].cython]
        self.stamp = write_if_changed(self.directory / "options", shlex.join(self.options))

    def __call__(self, name: str) -> str:
        source, target = PACKAGE / f"{name}.pyx", self.target / f"{name}.c"
        if stale(target, [source, self.stamp, *self._dependencies(name)]):
            made = self.directory / f"{name}.new.c"
            # The name must be given: without picows/__init__.py here Cython would take it for `core.NAME`
            command = [sys.executable, "-m", "cython", *self.options, "--module-name", f"picows.core.{name}"]
            if subprocess.run([*command, str(source), "-o", str(made)], check=False).returncode:
                made.unlink(missing_ok=True)
                raise BuildError(f"Cython rejects {source}")
            # Only what is whole gets the name that the next build looks at
            os.replace(f"{made}.dep", self.directory / f"{name}.dep")
            os.replace(made, target)
        return str(target)

    def _dependencies(self, name: str) -> list[str]:
        """What the module was made of when it was made; a missing list is a reason to make it."""
        path = self.directory / f"{name}.dep"
        if not path.exists():
            return [str(path)]
        _, _, names = path.read_text("utf-8").replace("\\\n", " ").partition(": ")
        parts = [part.replace("\\ ", " ") for part in re.split(r"(?<!\\)\s+", names.strip())]
        # Cython's own are those of its version, wherever it is installed next time
        return [part for part in parts if "/Cython/Includes/" not in part.replace(os.sep, "/")]


def build(mode_name: str) -> list[Path]:
    """Build all modules that changed. Returns all of them, in `build/`."""
    try:
        from setuptools import Distribution, Extension
        from setuptools.command.build_ext import build_ext
        from setuptools.errors import BaseError, CompileError, LinkError
    except ImportError as exc:
        raise BuildError(f"{exc}: setuptools is among the requirements of the build") from exc
    modules = sorted(source.stem for source in PACKAGE.glob("*.pyx"))
    made: list[Path] = []

    class Command(build_ext):
        """Lends its configured compiler."""

        def build_extensions(self) -> None:
            made.extend(Objects(mode_name, self).link_all(modules))

    # One Extension has to be there for the command to run
    command = Command(Distribution({"name": "picows-core", "ext_modules": [Extension("picows.core._", [])]}))
    command.debug = mode_name == "debug"
    command.ensure_finalized()
    try:
        command.run()
    except (BaseError, CompileError, LinkError) as exc:
        raise BuildError(f"{exc}. It needs a C compiler and the headers of Python. {USE_PURE}") from exc
    return made


class Objects:
    """Compiles and links with the compiler of a configured build_ext."""

    def __init__(self, mode_name: str, command: Any) -> None:
        self.command = command
        self.compiler = command.compiler
        if not getattr(self.compiler, "initialized", True):
            self.compiler.initialize()  # MSVC's would do it in every thread
        self.kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        self.mode = MODES[mode_name]
        self.cython = Cython(mode_name)
        tag = sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag
        self.directory = directory_of(mode_name) / f"{sysconfig.get_platform()}-{tag}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.macros = [*self.mode.macros, ("PICOWS_AIOFASTNET", f'"{required_version("aiofastnet")}"')]
        configured = [getattr(self.compiler, name, None) for name in ("compiler_so", "linker_so")]
        flags = "\n".join(map(str, [*configured, *self.mode, self.macros, STRICT[self.kind], GENERATED[self.kind]]))
        self.stamp = write_if_changed(self.directory / "flags", flags)

    def link_all(self, modules: list[str]) -> list[Path]:
        jobs = int(os.environ.get("PICOWS_BUILD_JOBS") or os.cpu_count() or 1)
        sources = sorted(map(str, KERNELS.rglob("*.c")))
        with ThreadPoolExecutor(jobs) as pool:
            generated = {name: pool.submit(self.cython, name) for name in modules}
            kernels = [pool.submit(self.compile, source, STRICT[self.kind]) for source in sources]
            own = {name: pool.submit(self.compile, c.result(), GENERATED[self.kind]) for name, c in generated.items()}
            extra = {KERNELS_MODULE: kernels}
            objects = {name: [o.result(), *(k.result() for k in extra.get(name, []))] for name, o in own.items()}
        return [self.link(name, objects[name]) for name in modules]

    def compile(self, source: str, flags: tuple[str, ...]) -> str:
        (target,) = self.compiler.object_filenames([source], output_dir=str(self.directory))
        if stale(target, [source, self.stamp, *KERNELS.rglob("*.h")]):
            own = self.mode.msvc if self.kind == "msvc" else self.mode.unix
            self.compiler.compile(
                [source],
                output_dir=str(self.directory),
                include_dirs=[str(KERNELS)],
                macros=self.macros,
                debug=self.command.debug,
                extra_postargs=[*own, *flags],
            )
        return str(target)

    def link(self, name: str, objects: list[str]) -> Path:
        target = self.directory / Path(self.command.get_ext_filename(f"picows.core.{name}")).name
        if stale(target, objects):
            self.compiler.link_shared_object(
                objects,
                str(target),
                libraries=self.command.get_libraries(self.command.extensions[0]),
                library_dirs=self.command.library_dirs,
                runtime_library_dirs=self.command.rpath,
                export_symbols=[f"PyInit_{name}"],
                debug=self.command.debug,
                build_temp=str(self.directory),
                extra_postargs=list(self.mode.link) if self.kind == "unix" else None,
            )
        return target
