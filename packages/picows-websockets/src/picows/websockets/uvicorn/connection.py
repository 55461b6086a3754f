"""An accepted connection: the engine's message listener, in the messages of ASGI.

Where the application closes, or the server shuts down, or a pong is missing, the connection is over for the
application at once: what was queued can still be received, then comes `websocket.disconnect`, and nothing else any
more. The engine goes on without the application until the peer's CLOSE has arrived.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected

from picows._engine import engine
from picows.deflate import DeflateParameters
from picows.enums import WSCloseCode
from picows.errors import WSConnectionClosed, WSProtocolError

from ..asyncio.compression import ConnectionCodec, server_codec
from .keepalive import REASON, Keepalive

#: RFC 6455 7.4.1: a CLOSE came, without a code.
NO_STATUS = 1005

_Listener: Any = engine.WSMessageListener


class _Busy(Exception):
    """Another task of the application is receiving."""


class Connection(_Listener):  # type: ignore[misc]  # the engine is chosen at run time
    """See the top of the file.

    Args:
        config: uvicorn's, for the sizes and times that begin with ws_.
        deflate: what was agreed about compression, or None.
        on_lost: called once, when the connection has ended.
    """

    def __init__(self, config: Config, deflate: DeflateParameters | None, on_lost: Callable[[], None]) -> None:
        super().__init__(max_message_size=config.ws_max_size or None, max_queue=config.ws_max_queue or None)
        self._config = config
        self._on_lost: Callable[[], None] | None = on_lost
        self._deflate: ConnectionCodec | None = None
        self._keepalive: Keepalive | None = None
        #: Code and reason of the disconnect, where they are not those of the peer's CLOSE.
        self._verdict: tuple[int, str] | None = None
        #: What can be received before the disconnect, once no more is added.
        self._rest: deque[str | bytes] | None = None
        #: Tasks of the application that receive when another one is done with it.
        self._turns: set[asyncio.Future[None]] = set()
        if deflate is not None:
            self._deflate = server_codec(deflate)
            self._use_codec(self._deflate)

    # --- the application ---

    async def receive(self) -> dict[str, Any]:
        """The next message, or `websocket.disconnect`, as often as it is asked for."""
        if self._rest is not None:
            if not self._rest:
                return self._disconnect_event()
            message = self._rest.popleft()
        else:
            try:
                message = await self.recv()
            except WSConnectionClosed:
                self._rest = deque()
                return self._disconnect_event()
            except _Busy:
                return await self._receive_in_turn()
            finally:
                if self._turns:
                    self._give_turns()
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def _receive_in_turn(self) -> dict[str, Any]:
        """Receive after another task. That may also be a `receive` that was cancelled and does not know it yet."""
        turn = self.transport._loop.create_future()
        self._turns.add(turn)
        try:
            await turn
        finally:
            self._turns.discard(turn)
        return await self.receive()

    def _give_turns(self) -> None:
        for turn in self._turns:
            if not turn.done():
                turn.set_result(None)

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send a `websocket.send`; returns when there is room for more.

        Raises:
            ClientDisconnected: the connection is closing or closed.
            TypeError: it has neither bytes nor text, or something else in their place.
        """
        data = event.get("bytes")
        if data is None:
            data = event.get("text")
            if not isinstance(data, str):
                raise TypeError(f"websocket.send must have bytes, or text that is a str, got {type(data).__name__}")
        elif isinstance(data, str):
            raise TypeError("the bytes of a websocket.send must be bytes-like, got str")
        try:
            await self.send(data)
        except WSConnectionClosed as exc:
            raise ClientDisconnected from exc

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Send CLOSE; the peer's answer ends the connection, or `close_timeout` does. Does not wait for that.

        Raises:
            ValueError: a code or a reason that must not be sent; the connection goes on.
        """
        self._bid_farewell()  # a CLOSE for a violation may wait for this application, and comes first
        if not self.transport.is_close_frame_sent:
            self.transport.send_close(code, reason)
            self._finish(code, reason)
            await self.close()  # for the application it is lost: nothing to wait for, but reading goes on

    def cut_off(self) -> None:
        """The application has ended: so does a connection that nobody has closed, without a CLOSE."""
        self._bid_farewell()
        if not self.is_over:
            self.transport.disconnect()

    @property
    def is_over(self) -> bool:
        """CLOSE was sent, or the connection was lost."""
        return bool(self.transport.is_close_frame_sent or self.transport.is_disconnected)

    def _disconnect_event(self) -> dict[str, Any]:
        code, reason = self._verdict or self._received_close()
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    def _received_close(self) -> tuple[int, str]:
        handshake = self.transport.close_handshake
        received = None if handshake is None else handshake.recv
        if received is None:
            return int(WSCloseCode.ABNORMAL_CLOSURE), ""
        # NO_INFO is 0 here, and 1005 in RFC 6455 7.4.1 and in ASGI.
        return int(received.code) or NO_STATUS, received.reason or ""

    # --- the engine ---

    def on_ws_connected(self, transport: Any) -> None:
        """The engine has taken over."""
        _Listener.on_ws_connected(self, transport)
        interval_s = self._config.ws_ping_interval
        if interval_s is not None and interval_s > 0:
            self._keepalive = Keepalive(self, transport._loop, interval_s, self._config.ws_ping_timeout)

    def on_ws_disconnected(self, transport: Any) -> None:
        """The connection has ended."""
        self._stop_keepalive()
        if self._deflate is not None:
            self._deflate.retire()
            self._deflate = None
        _Listener.on_ws_disconnected(self, transport)
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def on_pong_missing(self) -> None:
        """The peer is gone, or as good as gone."""
        self.transport._log(logging.INFO, "no pong within %s s, closing the connection", self._config.ws_ping_timeout)
        self.transport._farewell(WSCloseCode.INTERNAL_ERROR, REASON.encode())
        self._finish(WSCloseCode.INTERNAL_ERROR, REASON)

    def _concurrency_error(self, method: str) -> Exception:
        return _Busy()

    def _on_pong(self, payload: bytes) -> None:
        if self._keepalive is not None:
            self._keepalive.on_pong(payload)

    def _on_violation(self, exc: WSProtocolError) -> WSProtocolError:
        self._stop_keepalive()
        if self._verdict is None:
            self._verdict = int(exc.code), str(exc)
        return exc

    def _on_close(self, frame: Any) -> None:
        self._stop_keepalive()
        _Listener._on_close(self, frame)

    def _stop_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None

    def _finish(self, code: int, reason: str) -> None:
        """For the application the connection is lost."""
        self._stop_keepalive()
        self._verdict = int(code), reason
        _Listener.on_ws_disconnected(self, self.transport)
        self._set_aside()
        if self._deflate is not None:  # the peer may go on sending
            self._use_codec(self._deflate)

    def _set_aside(self) -> None:
        """Take what is queued: what arrives from now on is not for the application."""
        rest: deque[str | bytes] = deque()
        while True:
            try:
                self.recv().send(None)  # it waits for nothing any more
            except StopIteration as exc:
                rest.append(exc.value)
            except WSConnectionClosed:
                self._rest = rest
                return
            except _Busy:  # the application is receiving, and has been woken
                return
