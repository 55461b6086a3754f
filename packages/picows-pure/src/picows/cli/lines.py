"""Lines of the standard input.

They are read in a thread, because a selector does not know files, and unbuffered, because at exit the interpreter
would wait for the lock of the buffer.
"""

from __future__ import annotations

import asyncio
import codecs
import functools
import os
import threading
from typing import Callable, Iterator, Optional

_CHUNK = 65536
#: Lines that may wait to be sent: a file is not read faster than the network takes it.
_AHEAD = 256


class InputLines:
    """Lines that a thread reads; `read` returns None at the end.

    Args:
        read_some: called with a number of bytes; returns at most so many, none at the end. By default it reads stdin,
            as it is and not as Python has made it.
        encoding: of what it returns; what is not in it is replaced.
    """

    def __init__(self, read_some: Optional[Callable[[int], Optional[bytes]]] = None, encoding: str = "utf-8") -> None:
        self._read_some = read_some or functools.partial(os.read, 0)
        self._encoding = encoding
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Optional[str]] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        threading.Thread(target=self._run, name="picows stdin", daemon=True).start()

    async def read(self) -> Optional[str]:
        """The next line, without its end."""
        line = await self._queue.get()
        self._room.release()
        return line

    def _run(self) -> None:
        for line in self._lines():
            self._room.acquire()
            if not self._put(line):
                return
        self._put(None)

    def _put(self, line: Optional[str]) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        except RuntimeError:  # the loop is closed: nobody waits for input any more
            return False
        return True

    def _lines(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        unfinished = ""
        while True:
            try:
                chunk = self._read_some(_CHUNK) or b""
            except OSError:  # stdin is closed
                chunk = b""
            *lines, unfinished = (unfinished + decoder.decode(chunk, final=not chunk)).split("\n")
            yield from (line[:-1] if line.endswith("\r") else line for line in lines)
            if not chunk:
                break
        if unfinished:
            yield unfinished
