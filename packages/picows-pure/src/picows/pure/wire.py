"""How bytes leave: straight to the socket while nothing is pending, else through the event loop's transport.

One connection's `Wire` owns neither the socket nor the transport. Over plain TCP and Unix sockets it calls send(2)
itself with MSG_NOSIGNAL; what the socket does not take goes to the transport, which owns backpressure. Over TLS
everything goes through the transport.

Within a batch (see `pool`) the first write goes out at once and later ones are gathered until the end of the batch
or 64 KiB.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, List, Optional

from .mask import Buffer
from .pool import Pool

GATHER_LIMIT = 64 * 1024
#: Above it, header and payload are sent as two buffers in one call: a copy would cost more than the longer call.
JOIN_LIMIT = 32 * 1024
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
#: PyPy closes the descriptor of any socket object that it collects, so none may be made from a borrowed one.
_CAN_BORROW = _NO_SIGNAL != 0 and sys.implementation.name == "cpython"


class _BorrowedSocket(socket.socket):
    """A socket object on a descriptor that belongs to the loop's transport: never closes it."""

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


def is_secure(transport: asyncio.BaseTransport) -> bool:
    """True if the transport encrypts."""
    return transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("ssl_object") is not None


def _borrow_socket(transport: asyncio.BaseTransport) -> Optional[socket.socket]:
    sock = transport.get_extra_info("socket")
    if not _CAN_BORROW or sock is None or is_secure(transport):
        return None
    borrowed = _BorrowedSocket(sock.family, sock.type, sock.proto, fileno=sock.fileno())
    borrowed.settimeout(0)  # socket.setdefaulttimeout() must not make a full socket block the loop
    return borrowed


class Wire:
    """The way out of one connection."""

    __slots__ = (
        "transport",
        "_loop",
        "_socket",
        "_backlog",
        "_pool",
        "_batch",
        "_gathered",
        "_gathered_size",
        "coalesce",
        "is_lent",
    )

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, pool: Pool, coalesce: bool) -> None:
        self.transport = transport
        self._loop = loop
        self._pool = pool
        self.coalesce = coalesce
        #: The transport has a user, who may close it at any time.
        self.is_lent = False
        self._socket = _borrow_socket(transport)
        # The opening handshake was written through the transport, which may not have sent it yet.
        self._backlog = True
        self._batch = -1
        self._gathered: Optional[List[bytes]] = None
        self._gathered_size = 0

    @property
    def pending_size(self) -> int:
        """Bytes accepted and not yet given to the kernel."""
        return self._gathered_size + int(self.transport.get_write_buffer_size())

    def write(self, data: bytes) -> None:
        """Write bytes that are one frame or several."""
        # Where something was gathered, this goes behind it before all of it leaves: to flush before would let a
        # callback of the transport send something that overtakes it.
        pool = self._pool
        if self.is_lent and not self._leaves_at_once():
            if self._gathered_size:
                self._gather(data)
                self.flush()
                return
        elif pool.in_batch and self.coalesce:
            if pool.burst_loop is not None and pool.burst_loop is not self._loop:
                self._gather(data)
                pool.end_batch()  # that loop was stopped before it came to that, and may never run again
                return
            is_first, self._batch = self._batch != pool.batch, pool.batch
            # Something is gathered if a callback within the end of the last batch has begun this one.
            if not is_first or self._gathered_size:
                self._gather(data)
                return
        elif self._gathered_size:  # a callback within the end of a batch
            self._gather(data)
            return
        self._write_now(data)

    def _leaves_at_once(self) -> bool:
        """True if what is gathered will reach the socket although the user of a transport that was lent closes it."""
        self.mind_the_end()
        return self._socket is not None and self._is_clear()

    def mind_the_end(self) -> None:
        """If the user of a transport that was lent has closed it: what was sent before leaves (the socket is open until
        the next turn of the loop), what follows goes to the transport, which drops it."""
        if self.is_lent and self._socket is not None and self.transport.is_closing():
            self.flush()
            self._socket.detach()
            self._socket = None

    def _gather(self, data: bytes) -> None:
        if self._gathered is None:
            self._gathered = []
            self._pool.gathering.append(self)
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= GATHER_LIMIT:
            self.flush()

    def write_parts(self, header: bytes, payload: Buffer) -> None:
        """Write one large frame behind what was gathered, without copying it if the socket takes it.

        `payload` may be changed by its owner as soon as this returns.
        """
        sent, owed = 0, self._gathered_size
        if owed:
            # One piece with the header: a callback of the transport would send something that overtakes the frame.
            header = b"".join((*(self._gathered or ()), header))
            self._gathered, self._gathered_size = [], 0
        if self._socket is not None and self._is_clear():
            try:
                sent = self._socket.sendmsg((header, payload), (), _NO_SIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError:  # as in _write_now
                self.transport.abort()
                return
            self._backlog = sent < len(header) + len(payload)
            if not self._backlog:
                return
        try:
            if sent < len(header):
                # In one piece: what a callback of the transport sends within the call must come behind the payload.
                self.transport.write(b"".join((header[sent:], payload)))
            else:
                rest = memoryview(payload)[sent - len(header) :]
                # The transport may keep what it is given: only bytes cannot change any more.
                self.transport.write(rest if type(payload) is bytes else bytes(rest))
        except Exception:
            self._tear(sent or owed)
            raise

    def flush(self) -> None:
        """Send what was gathered."""
        if gathered := self._gathered:
            self._gathered = []
            self._gathered_size = 0
            self._write_gathered(gathered)

    def end_batch(self) -> None:
        """The batch has ended: send what was gathered and own no list between batches."""
        gathered, self._gathered, self._gathered_size = self._gathered, None, 0
        if gathered:
            self._write_gathered(gathered)

    def _write_gathered(self, gathered: List[bytes]) -> None:
        try:
            self._write_now(b"".join(gathered))
        except Exception:
            self._tear(len(gathered))
            raise

    def _tear(self, taken: int) -> None:
        """The rest of what was being sent is lost, for want of memory: where the peer has got a part of it, the next
        frame would be read as the rest of this one, and who has sent what was gathered was told that it is sent."""
        if taken:
            self.transport.abort()

    def has_unread_input(self) -> bool:
        """True if more has arrived than was read: closing the socket now would reset the connection."""
        if self._socket is None:
            return False
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:  # nothing is there, or nothing will ever be
            return False

    def drop(self) -> None:
        """Forget what was gathered, and the socket: nothing is written any more."""
        self._gathered = None
        self._gathered_size = 0
        if self._socket is not None:
            self._socket.detach()
            self._socket = None

    def _is_clear(self) -> bool:
        """True if nothing is waiting in the transport, so that the socket may be written to directly."""
        if self._backlog:
            self._backlog = self.transport.get_write_buffer_size() > 0
        return not self._backlog

    def _write_now(self, data: bytes) -> None:
        if self._socket is not None and (not self._backlog or self._is_clear()):
            try:
                sent = self._socket.send(data, _NO_SIGNAL)
            except BlockingIOError:
                sent = 0
            except OSError:
                # The transport would meet the same error, but without MSG_NOSIGNAL.
                self.transport.abort()
                return
            if sent == len(data):
                return
            self._backlog = True
            try:
                self.transport.write(memoryview(data)[sent:])
            except Exception:
                self._tear(sent)
                raise
        else:
            self.transport.write(data)
