"""The command line: what it takes, which verb runs, and what the shell gets back.

Exit codes: 0 for success, 1 where something failed (one line on stderr says what to do), 2 for a command line that
makes no sense, 130 after Ctrl-C. What a verb needs is imported when it runs: `doctor` is read when something is
broken, and must not need an engine or a terminal library.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any, Coroutine, List, Optional, Sequence

from .arguments import count, duration, header, message, milliseconds, port, positive, rate, seconds
from .faults import INTERRUPTED

_EPILOG = "Colours, the prompt and the progress display need two more packages: pip install 'picows-pure[cli]'"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run `picows` with these arguments, by default those of the command line. Returns the exit code."""
    _open_closed_streams()
    try:
        try:
            return _obey(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain about it once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _open_closed_streams() -> None:
    """Python has None for a stream that is closed (`<&-`), and a socket of ours could become its descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False))


def _obey(given: List[str]) -> int:
    if given[:1] == ["doctor"]:
        from ..diagnostics import main as doctor

        return doctor(given[1:], prog="picows doctor")
    parser = make_parser()
    options = parser.parse_args(given)
    if options.verb is None:
        parser.print_help()
        return 0
    return _run(parser, options)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line. `verb` is None where none was given."""
    parser = argparse.ArgumentParser(prog="picows", description="WebSocket on the command line.", epilog=_EPILOG)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    _add_connect(verbs)
    _add_serve(verbs)
    _add_bench(verbs)
    verbs.add_parser("doctor", help="print what is installed and which engine runs, and why")
    return parser


def _add_connect(verbs: Any) -> None:
    parser = verbs.add_parser(
        "connect",
        help="talk to a server",
        description="Send what is typed, line by line, and print what comes. Without a terminal: send each line of"
        " stdin, print each message as a line, and close at the end of the input.",
    )
    _add_client_options(parser)
    parser.add_argument(
        "--send", "-s", metavar="TEXT", type=message, action="append", default=[], help="send this first (repeatable)"
    )
    parser.add_argument("--count", "-n", metavar="N", type=positive, help="end after N received messages")
    parser.add_argument("--ping", metavar="SECONDS", type=duration, help="measure the round trip this often")
    parser.add_argument("--raw", action="store_true", help="print JSON as it came, without indentation and colours")
    parser.add_argument(
        "--bench",
        action="store_true",
        help="measure latency and throughput of a server that echoes, for two seconds, and end; `bench` knows more",
    )


def _add_serve(verbs: Any) -> None:
    parser = verbs.add_parser("serve", help="run a server", description="Serve WebSocket connections until Ctrl-C.")
    parser.add_argument(
        "listener",
        nargs="?",
        default="echo",
        metavar="echo | broadcast | MODULE:LISTENER",
        help="what connections are for: each gets its messages back, all get all messages, or a WSListener class (or"
        " a factory that is called with the request) of yours",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=9001, help="0 is any free one (default: %(default)s)")
    parser.add_argument("--cert", metavar="FILE", help="certificate chain in PEM, for wss")
    parser.add_argument("--key", metavar="FILE", help="its private key, where --cert does not hold it")
    parser.add_argument("--quiet", "-q", action="store_true", help="do not report connections")
    _add_loop_option(parser)


def _add_bench(verbs: Any) -> None:
    parser = verbs.add_parser(
        "bench",
        help="measure a server that echoes",
        description="Send messages to a server that echoes (`picows serve`) and measure how long each takes.",
    )
    _add_client_options(parser)
    parser.add_argument("--connections", "-c", metavar="N", type=positive, default=1, help="default: %(default)s")
    parser.add_argument("--size", "-s", metavar="BYTES", type=count, default=256, help="default: %(default)s")
    parser.add_argument(
        "--depth", "-d", metavar="N", type=positive, help="messages in flight on each (default: 1; any with --rate)"
    )
    parser.add_argument(
        "--rate", "-r", metavar="N", type=rate, help="messages per second over all, on schedule; default: no limit"
    )
    parser.add_argument("--duration", "-t", metavar="SECONDS", type=duration, help="how long (default: 5)")
    parser.add_argument("--messages", "-n", metavar="N", type=positive, help="end after N messages, instead of a time")
    parser.add_argument("--warmup", metavar="SECONDS", type=seconds, default=0.5, help="not counted (default: 0.5)")
    parser.add_argument("--text", action="store_true", help="send text, for servers that refuse binary")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument(
        "--fail-above", metavar="MS", type=milliseconds, help="exit with 1 if the 99th percentile is above this"
    )
    _add_loop_option(parser)


def _add_client_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="ws://HOST[:PORT]/PATH or wss://...")
    parser.add_argument("--header", "-H", metavar="'NAME: VALUE'", type=header, action="append", default=[])
    parser.add_argument("--subprotocol", metavar="NAME", action="append", default=[], help="ask for it (repeatable)")
    parser.add_argument("--ca-file", metavar="FILE", help="trust these authorities (PEM) instead of the system's")
    parser.add_argument("--insecure", action="store_true", help="do not verify the server's certificate")
    parser.add_argument("--cert", metavar="FILE", help="certificate chain of ours in PEM, for servers that ask for one")
    parser.add_argument("--key", metavar="FILE", help="its private key, where --cert does not hold it")
    parser.add_argument("--proxy", metavar="URL", help="http, https, socks4 or socks5 proxy")
    parser.add_argument("--timeout", metavar="SECONDS", type=duration, default=10, help="to connect (default: 10)")


def _add_loop_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="default: %(default)s")


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from .faults import Failure, explain

    _check(parser, options)
    try:
        return _run_loop(_verb(options), getattr(options, "loop", "asyncio"))
    except BrokenPipeError:
        raise
    except Exception as exc:
        sentence = explain(exc)
        if sentence is None:
            raise
        sys.stdout.flush()
        print(f"picows: {sentence}", file=sys.stderr)
        return exc.code if isinstance(exc, Failure) else 1


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Combinations that make no sense."""
    if options.verb == "bench" and options.messages is not None and options.duration is not None:
        parser.error("bench takes --messages or --duration, not both")
    if options.verb == "connect" and options.bench:
        for name in ("send", "count", "ping", "raw"):
            if getattr(options, name):
                parser.error(f"--bench excludes --{name}")
    if options.key and not options.cert:
        parser.error("--key needs --cert")
    if getattr(options, "insecure", False) and options.ca_file:
        parser.error("--insecure verifies nothing: it excludes --ca-file")


def _verb(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    """What to run. Raises Failure where a package is missing that it needs."""
    if options.verb == "connect":
        from .connect import connect

        return connect(options)
    if options.verb == "serve":
        from .serve import serve

        return serve(options)
    from .bench import bench

    return bench(options)


def _run_loop(main: Coroutine[Any, Any, int], loop: str) -> int:
    from .faults import be_quiet, need

    async def run() -> int:
        asyncio.get_running_loop().set_exception_handler(be_quiet)
        return await main

    uvloop = None
    if loop == "uvloop":
        try:
            uvloop = need("uvloop", "--loop uvloop", "uvloop")
        except BaseException:
            main.close()
            raise
    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=None if uvloop is None else uvloop.new_event_loop) as runner:
            return runner.run(run())
    if uvloop is not None:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return asyncio.run(run())
