"""Our own clients for the scripts of this directory, in a process of their own: they answer commands that come in by
stdin.

    churn PORT COUNT WHO HOW    so many connections, one after the other: open, echo, end. WHO ends it, `client` or
                                `server`, HOW is one of `process.ENDS`
    stats, collect, nogc        as for server.py
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sys
from typing import Any

import drop_in
from process import SILENT, end, make_loop, stats
from server import END

from picows import _engine, ws_connect
from picows.errors import WSConnectionClosed, WSError

TIMEOUT_S = 30


class FrameClient:
    """A WSListener with what is asked of a connection here."""

    def __init__(self, transport: Any, listener: Any) -> None:
        self.transport = transport
        self._listener = listener

    async def send(self, message: str) -> None:
        """Send a message."""
        self.transport.send(1, message.encode())

    async def recv(self) -> str:
        """Receive a message."""
        return (await self._listener.queue.get()).decode()  # type: ignore[no-any-return]

    async def close(self) -> None:
        """CLOSE, and the answer, which is followed by the end."""
        self.transport.send_close(1000)
        await self.transport.wait_disconnected()


def frame_listener(engine: Any) -> Any:
    """A listener class that queues the payloads of text."""

    class Listener(engine.WSListener):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.queue: asyncio.Queue[bytes] = asyncio.Queue()

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == 8:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
            else:
                self.queue.put_nowait(frame.get_payload_as_bytes())

    return Listener


class Clients:
    """Those of one process.

    Args:
        engine: what they run on.
        layer: one of rig.LAYERS.
    """

    def __init__(self, engine: Any, layer: str) -> None:
        self._engine = engine
        self._layer = layer
        self._class = frame_listener(engine) if layer == "frames" else engine.WSMessageListener

    async def _connect(self, port: int) -> Any:
        url = f"ws://127.0.0.1:{port}/"
        if self._layer == "drop-in":
            return await drop_in.connect(self._engine, url)
        options = {"engine": self._engine, "use_aiofastnet": False, "logger_name": SILENT}
        transport, listener = await ws_connect(self._class, url, **options)
        return FrameClient(transport, listener) if self._layer == "frames" else listener

    async def _live(self, port: int, is_client: bool, how: str) -> None:
        """One connection from its opening to its end."""
        connection = await self._connect(port)
        await connection.send("hello")
        if await connection.recv() != "hello":
            raise ValueError("something else came back")
        if is_client:
            await end(how, connection, connection.transport.underlying_transport)
        else:
            await connection.send(END + how)
        if self._layer != "frames":
            with contextlib.suppress(WSConnectionClosed, ConnectionError):
                async for _ in connection:
                    pass
        try:
            await connection.transport.wait_disconnected()
        except WSError as exc:  # raised again to everybody who waits: the transport keeps it, and its traceback us
            exc.__traceback__ = None

    async def churn(self, port: int, count: int, is_client: bool, how: str) -> None:
        """So many."""
        for _ in range(count):
            await asyncio.wait_for(self._live(port, is_client, how), TIMEOUT_S)


async def obey(options: argparse.Namespace) -> None:
    """Until stdin ends."""
    engine = _engine.load(options.engine)
    clients = Clients(engine, options.layer)
    loop = asyncio.get_running_loop()
    reports: list[str] = []
    loop.set_exception_handler(lambda _, context: reports.append(str(context)))
    print(json.dumps({}), flush=True)
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if command[0] == "churn":
            port, count, who, how = command[1:]
            await clients.churn(int(port), int(count), who == "client", how)
        elif command[0] == "nogc":
            gc.collect()
            gc.disable()
        elif command[0] == "collect":
            gc.collect()
        print(json.dumps(stats(engine, 0, reports)), flush=True)


def main() -> None:
    """Read the options and wait for commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--layer", default="messages", choices=["frames", "messages", "drop-in"])
    options = parser.parse_args()
    loop = make_loop(options)
    loop.run_until_complete(obey(options))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


if __name__ == "__main__":
    main()
