"""What went wrong, in one line that says what to do.

Exceptions of the library say what was received and what is allowed; at the keyboard one wants to know which option to
change. What is not explained here is a bug, and keeps its traceback.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Dict, Optional

from ..errors import WSConnectionClosed, WSError
from .words import escaped

#: The exit code after Ctrl-C.
INTERRUPTED = 130
#: What asyncio and aiofastnet log of TLS, with a traceback.
_SAID_ELSEWHERE = ("SSL handshake failed", "SSL error in data received")


class Failure(Exception):
    """A failure that explains itself. Its text is one line.

    Attributes:
        code: the exit code.
    """

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def need(module: str, what: str, install: str = "picows-pure[cli]") -> Any:
    """Import an optional package, or fail with what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        missing = exc.name or module
        raise Failure(f"{what} needs {missing}, which is not installed: pip install '{install}'") from None


def explain(exc: BaseException) -> Optional[str]:
    """One line about an exception, or None where it has no explanation. Those of opening: `picows.cli.hops`.

    Args:
        exc: what was raised.
    """
    if isinstance(exc, Failure):
        return escaped(str(exc))  # it may hold what the peer said
    if isinstance(exc, WSConnectionClosed):
        return escaped(f"the server closed: {exc}")
    if isinstance(exc, WSError):
        return escaped(str(exc))
    if isinstance(exc, OSError):
        file = f": {exc.filename}" if exc.filename else ""
        return escaped(f"{exc.strerror or str(exc) or type(exc).__name__}{file}")
    if isinstance(exc, MemoryError):
        return "there is not enough memory for that: ask for smaller or fewer messages"
    if isinstance(exc, ValueError):
        return escaped(str(exc))  # an option that the library refuses: a header with a newline, say
    return None


def be_quiet(loop: asyncio.AbstractEventLoop, context: Dict[str, Any]) -> None:
    """The loop's handler of exceptions, without those that whoever waits for the connection gets too."""
    if not str(context.get("message", "")).startswith(_SAID_ELSEWHERE):
        loop.default_exception_handler(context)
