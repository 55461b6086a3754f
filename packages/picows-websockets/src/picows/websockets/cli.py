"""An interactive client: what is typed is sent, line by line, and what comes is printed above it.

    python -m picows.websockets [--insecure] ws://HOST:PORT/PATH

The terminal stays in its line mode, where it alone knows what was typed so far; so a message is printed into lines that
are inserted above that. Without a terminal there are no prompt and no control sequences.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import ssl
import sys
import unicodedata
from typing import Any

from ..cli.faults import be_quiet
from ..cli.lines import InputLines
from ..cli.words import escaped
from ._advice import advice
from .asyncio.client import ClientConnection, connect
from .exceptions import ConnectionClosed, ProxyError
from .frames import Close
from .version import version

__all__ = ["main"]

_PROMPT = "> "


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


class _Screen:
    """Where output goes: a terminal with a prompt at the bottom, or a stream of lines."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._has_prompt = False

    def prompt(self) -> None:
        """The line that was being typed is complete; there is another one."""
        if self._is_terminal:
            self._has_prompt = True
            self._write(_PROMPT)

    def show(self, line: str) -> None:
        """Print a line above the one that is being typed."""
        if not self._has_prompt:
            self._write(f"{line}\n")
            return
        rows = max(1, -(-_columns(line) // shutil.get_terminal_size().columns))
        # Save the cursor; make room, which scrolls at the bottom; insert; restore, which is right but for the rows
        self._write(f"\x1b7{chr(10) * rows}\x1b[{rows}A\r\x1b[{rows}L{line}\x1b8\x1b[{rows}B")

    def finish(self, line: str) -> None:
        """Print the last line, in place of the one that is being typed."""
        self._write(f"\r\x1b[K{line}\n" if self._has_prompt else f"{line}\n")

    def _write(self, text: str) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


async def _print_messages(connection: ClientConnection, screen: _Screen) -> None:
    async for message in connection:
        if isinstance(message, str):
            screen.show(f"< {escaped(message)}")
        else:
            screen.show(f"< (binary) {message.hex()}")


async def _send_lines(connection: ClientConnection, screen: _Screen) -> None:
    raw: io.RawIOBase = sys.stdin.buffer.raw  # type: ignore[union-attr]  # there is nothing else behind stdin
    lines = InputLines(raw.read, sys.stdin.encoding or "utf-8")
    screen.prompt()
    while (line := await lines.read()) is not None:
        await connection.send(line)
        screen.prompt()


async def _converse(connection: ClientConnection, screen: _Screen) -> None:
    """Send and print until the input or the connection ends, then close it, also when cancelled."""
    tasks = [
        asyncio.create_task(_print_messages(connection, screen)),
        asyncio.create_task(_send_lines(connection, screen)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks[1].cancel()
        await connection.close()  # while messages that the peer had sent before are still being printed
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert connection.close_code is not None
        assert connection.close_reason is not None
        screen.finish(f"Connection closed: {escaped(str(Close(connection.close_code, connection.close_reason)))}.")
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
            raise result


def _reason(exc: Exception) -> str:
    """What an exception says. That a proxy failed is said with the reason, which is the cause."""
    text = str(exc) or type(exc).__name__
    return f"{text}: {exc.__cause__}" if isinstance(exc, ProxyError) and str(exc.__cause__ or "") else text


async def _run(uri: str, insecure: bool) -> int:
    asyncio.get_running_loop().set_exception_handler(be_quiet)  # the error below says it
    screen = _Screen()
    options: dict[str, Any] = {}
    if insecure and uri.lower().startswith("wss:"):
        options["ssl"] = ssl.create_default_context()
        options["ssl"].check_hostname = False
        options["ssl"].verify_mode = ssl.CERT_NONE
    try:
        connection = await connect(uri, **options)
    except Exception as exc:
        print(
            f"Failed to connect to {escaped(uri)}: {escaped(_reason(exc))}. {advice(exc, uri)}".rstrip(),
            file=sys.stderr,
        )
        return 1
    screen.show(f"Connected to {escaped(uri)}.")
    await _converse(connection, screen)
    return 0


def main(argv: list[str] | None = None) -> None:
    """The command.

    Args:
        argv: its arguments, without its name; by default those of the command line.

    Raises:
        SystemExit: with 1 if there is no connection, 2 if the arguments are wrong.
    """
    parser = argparse.ArgumentParser(prog="websockets", description="Interactive WebSocket client.")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate of the server")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("uri", metavar="<uri>", nargs="?", help="ws:// or wss://")
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"websockets {version}")
        return
    if arguments.uri is None:
        parser.print_usage(sys.stderr)
        sys.exit(2)
    try:
        code = asyncio.run(_run(arguments.uri, arguments.insecure))
    except KeyboardInterrupt:
        return  # Ctrl-C is how to leave
    if code:
        sys.exit(code)
