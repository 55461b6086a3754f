"""Pongs that wait for a peer that does not read. They are bounded, because the peer says how many there are.

Every ping of a peer that reads is answered. Of one that does not, pongs wait up to MAX_WAITING; from then on only the
newest ping will be answered, as RFC 6455 5.5.3 allows. So reading never has to wait for room to write, and two sides
that are both busy sending do not wait for each other.
"""

from __future__ import annotations

from .frames import PONG

#: Bytes of answers that may wait; one read may add its own to that. asyncio's transports hold as much by default.
MAX_WAITING = 64 * 1024


class Pongs:
    """The bound of one connection.

    In the queue of what is to be written this object stands for the pong to the newest ping, at most once: who comes
    to it calls `take`. Where threads read and write, both methods need the lock of the protocol.
    """

    __slots__ = ("_newest", "_waiting")

    def __init__(self) -> None:
        self._newest = b""
        self._waiting = 0

    def admit(self, answers: list[bytes], is_idle: bool) -> list[bytes | Pongs]:
        """Choose what is answered.

        Args:
            answers: frames that a protocol makes by itself of what it reads, and SEND_EOF at the end.
            is_idle: whether everything that was admitted before is written.

        Returns:
            What is to be written, in few pieces.
        """
        if is_idle:
            self._waiting = 0
        if self._waiting <= MAX_WAITING:
            self._waiting += sum(map(len, answers))
            return _join(answers)
        admitted: list[bytes | Pongs] = []
        pongs = [frame for frame in answers if _is_pong(frame)]
        if pongs:
            if not self._newest:
                admitted.append(self)
            self._newest = pongs[-1]
        return admitted + [frame for frame in answers if not _is_pong(frame)]

    def take(self) -> bytes:
        """The pong that this stands for; it is about to be written."""
        newest, self._newest = self._newest, b""
        return newest


def _is_pong(frame: bytes) -> bool:
    return frame != b"" and frame[0] & 0x0F == PONG


def _join(frames: list[bytes]) -> list[bytes | Pongs]:
    """One piece, and SEND_EOF if that is the last."""
    if len(frames) < 2:
        return [*frames]
    return [b"".join(frames)] if frames[-1] else [b"".join(frames), frames[-1]]
