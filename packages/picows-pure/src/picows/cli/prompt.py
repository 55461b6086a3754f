"""The prompt of `picows connect` at a terminal: history, editing, and a line of facts at the bottom."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any, Callable, ContextManager, Iterable, Optional

from .faults import need

_VARIABLE = "PICOWS_HISTORY"


class Prompt:
    """Reads lines while messages are printed above.

    Args:
        facts: called for the text of the bottom line.
        words: what the Tab key completes.

    Raises:
        Failure: prompt_toolkit is not installed.
    """

    def __init__(self, facts: Callable[[], str], words: Iterable[str]) -> None:
        #: The last line was Ctrl-C.
        self.is_interrupted = False
        toolkit = need("prompt_toolkit", "the prompt of `picows connect`")
        completion = importlib.import_module("prompt_toolkit.completion")
        self._patch_stdout = importlib.import_module("prompt_toolkit.patch_stdout").patch_stdout
        self._session = toolkit.PromptSession(
            "> ",
            history=_history(),
            completer=completion.WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            bottom_toolbar=facts,
            refresh_interval=1,
        )

    async def read(self) -> Optional[str]:
        """The next line; None after Ctrl-D or Ctrl-C."""
        try:
            return str(await self._session.prompt_async())
        except EOFError:
            return None
        except KeyboardInterrupt:
            self.is_interrupted = True
            return None

    def screen_above(self) -> ContextManager[Any]:
        """Within it, what is printed appears above the prompt."""
        context: ContextManager[Any] = self._patch_stdout(raw=True)
        return context


def history_file() -> Path:
    """Where lines are kept: $PICOWS_HISTORY, or picows/history in the directory for state (XDG)."""
    named = os.environ.get(_VARIABLE)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "picows" / "history"


def _history() -> Any:
    """The history on disk, readable by nobody else because tokens are typed too; in memory where there is no disk."""
    module = importlib.import_module("prompt_toolkit.history")
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        path = history_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600))
        return _forgiving(module.FileHistory)(str(path))
    return module.InMemoryHistory()


def _forgiving(base: Any) -> Any:
    """A class of histories for which a disk that is full, or a directory that is gone, is no reason to stop."""

    class History(base):  # type: ignore[misc]
        def store_string(self, string: str) -> None:
            with contextlib.suppress(OSError):
                super().store_string(string)

    return History
