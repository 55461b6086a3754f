"""Bytes that arrive in any portions, read in the portions of a parser: generators that pause where bytes are missing.

    reader = StreamReader()
    parser = Request.parse(reader.read_line)
    next(parser)                    # pauses at its first yield
    reader.feed_data(b"GET / ...")
    next(parser)                    # raises StopIteration with the result as soon as it is complete

A generator yields None and nothing is sent into it: who drives it feeds bytes and calls next() again.
"""

from __future__ import annotations

from collections.abc import Generator


class StreamReader:
    """A buffer with generator-based reads.

    Attributes:
        buffer: what was fed and not read yet.
        eof: True after `feed_eof`.
    """

    __slots__ = ("buffer", "eof")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.eof = False

    def read_line(self, m: int, too_long_exc_type: type[Exception] = RuntimeError) -> Generator[None, None, bytearray]:
        """Read up to and including LF.

        Args:
            m: how many bytes the line may have, its end included.
            too_long_exc_type: what is raised if it has more.

        Raises:
            EOFError: the stream ends within the line.
        """
        seen = 0
        while True:
            end = self.buffer.find(b"\n", seen) + 1
            seen = len(self.buffer)
            if end:
                break
            if seen > m:
                raise _too_long(seen, m, too_long_exc_type)
            if self.eof:
                raise EOFError(f"stream ends after {seen} bytes, before end of line")
            yield
        if end > m:
            raise _too_long(end, m, too_long_exc_type)
        return self._take(end)

    def read_exact(self, n: int) -> Generator[None, None, bytearray]:
        """Read n bytes.

        Raises:
            EOFError: the stream ends before that.
        """
        if n < 0:
            raise ValueError(f"n must be 0 or more, got {n}")
        while len(self.buffer) < n:
            if self.eof:
                raise EOFError(f"stream ends after {len(self.buffer)} bytes, expected {n} bytes")
            yield
        return self._take(n)

    def read_to_eof(
        self, m: int, too_long_exc_type: type[Exception] = RuntimeError
    ) -> Generator[None, None, bytearray]:
        """Read everything up to the end of the stream.

        Args:
            m: how many bytes that may be.
            too_long_exc_type: what is raised if there are more.
        """
        while True:
            size = len(self.buffer)
            if size > m:
                raise _too_long(size, m, too_long_exc_type)
            if self.eof:
                return self._take(size)
            yield

    def at_eof(self) -> Generator[None, None, bool]:
        """Whether the stream has ended and everything was read; pauses until that is known."""
        while not self.buffer:
            if self.eof:
                return True
            yield
        return False

    def feed_data(self, data: bytes | bytearray) -> None:
        """Add bytes.

        Raises:
            EOFError: after `feed_eof`.
        """
        self._check_open()
        self.buffer += data

    def feed_eof(self) -> None:
        """End the stream.

        Raises:
            EOFError: it has ended already.
        """
        self._check_open()
        self.eof = True

    def discard(self) -> None:
        """Drop what was not read."""
        self.buffer.clear()

    def _take(self, size: int) -> bytearray:
        if size == len(self.buffer):
            taken, self.buffer = self.buffer, bytearray()
            return taken
        taken = self.buffer[:size]
        del self.buffer[:size]
        return taken

    def _check_open(self) -> None:
        if self.eof:
            raise EOFError("stream ended")


def _too_long(size: int, limit: int, exc_type: type[Exception]) -> Exception:
    return exc_type(f"read {size} bytes, expected no more than {limit} bytes")
