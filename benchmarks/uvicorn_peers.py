"""WebSocket implementations for uvicorn, in turn: CPU of the server per message, with the same ASGI application.

    hatch run uvicorn-bench                      # or: python benchmarks/uvicorn_peers.py
    hatch run uvicorn-bench --rounds 3 --seconds 0.5 --loops asyncio --app starlette --json build/uvicorn.json
    hatch run uvicorn-bench --publish            # keeps it in benchmarks/results/uvicorn, writes docs/howto/uvicorn.md

    echo       256 B, one connection, one message under way
    echo100    256 B, 100 connections, one message under way on each
    flood      256 B, one connection, 64 messages under way

Compression and pings are off. The server is a process of its own on one CPU; the load generators are those of `peers/`,
on another. Every measurement is made in fresh processes, contenders in turn, and a ratio compares neighbours of one
round: the median of the rounds is shown, with the least and the greatest. Let nothing else run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks/peers"
sys.path.insert(0, str(PEERS))

import results  # noqa: E402
import uvicorn_page  # noqa: E402
from spec import Spec  # noqa: E402

OURS = "picows.websockets.uvicorn:WebSocketProtocol"
#: What `--ws` is, and PICOWS_IMPL.
CONTENDERS = {
    "picows-core": (OURS, "core"),
    "picows-pure": (OURS, "pure"),
    "websockets-sansio": ("websockets-sansio", ""),
    "wsproto": ("wsproto", ""),
}
ROWS = {
    "echo": Spec("echo", load="pingpong"),
    "echo100": Spec("echo100", load="pingpong", connections=100),
    "flood": Spec("flood", load="inflight", in_flight=64),
}
DISTRIBUTIONS = ("uvicorn", "starlette", "websockets", "wsproto", "uvloop", "httptools")


# --- the process under test ---


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do."""
    await receive()
    await send({"type": "websocket.accept"})
    event = await receive()
    while event["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event["bytes"]})
        event = await receive()


def starlette_echo() -> Any:
    """The same as users write it."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_bytes():
            await websocket.send_bytes(message)

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


def serve(contender: str, loop: str, app: str, cpu: int) -> None:
    """Serve until killed; prints the port, and the engine that runs."""
    import uvicorn

    os.sched_setaffinity(0, {cpu})
    config = uvicorn.Config(
        starlette_echo() if app == "starlette" else echo,
        port=0,
        ws=CONTENDERS[contender][0],
        loop=loop,
        lifespan="off",
        log_level="warning",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        backlog=1024,
    )
    uvicorn.Server(config).run([_listen_and_tell(contender)])


def _listen_and_tell(contender: str) -> Any:
    import socket

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)  # before anybody is told of the port
    impl = ""
    if CONTENDERS[contender][1]:
        import picows

        impl = picows.__impl__
        if impl != CONTENDERS[contender][1]:
            raise SystemExit(f"picows runs {impl}, wanted {CONTENDERS[contender][1]}")
    print(json.dumps({"port": sock.getsockname()[1], "impl": impl}), flush=True)
    return sock


# --- the measurement ---


def measure(contender: str, row: str, options: argparse.Namespace, loop: str) -> float:
    """CPU of the server per message, in microseconds."""
    environment = {**os.environ, "PICOWS_IMPL": CONTENDERS[contender][1] or "pure"}
    command = [sys.executable, __file__, "--serve", contender, "--loops", loop, "--app", options.app]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                raise SystemExit(f"{contender} does not serve (its error is above)")
            spec = ROWS[row].but(
                seconds=options.seconds, port=json.loads(line)["port"], pid=server.pid, load_cpu=_cpus()[-1]
            )
            load = [sys.executable, str(PEERS / "load.py"), spec.to_json()]
            found = json.loads(subprocess.run(load, stdout=subprocess.PIPE, check=True, text=True).stdout)
        finally:
            server.kill()
    return 1e6 * float(found["cpu_s"]) / float(found["operations"])


def _cpus() -> List[int]:
    return sorted(os.sched_getaffinity(0))


def compare(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Every row on every loop, contenders in turn; prints a table as it goes."""
    found = []
    base = options.against[0]
    for loop in options.loops:
        for row in options.rows:
            rounds = [
                {name: measure(name, row, options, loop) for name in options.against} for _ in range(options.rounds)
            ]
            print(f"\n{row}, {loop}, {options.app}: CPU of the server per message, us; ratio to {base}")
            for name in options.against:
                cpu = statistics.median(figures[name] for figures in rounds)
                ratios = sorted(figures[name] / figures[base] for figures in rounds)
                low, middle, high = ratios[0], statistics.median(ratios), ratios[-1]
                print(f"  {name:18} {cpu:8.2f}   {middle:5.2f}  ({low:.2f} to {high:.2f})", flush=True)
                figures = {"cpu_us": cpu, "low": low, "median": middle, "high": high}
                rounded = {key: float(f"{value:.5g}") for key, value in figures.items()}
                found.append({"row": row, "loop": loop, "contender": name, **rounded})
    return found


def versions() -> Dict[str, str]:
    """What was measured."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def parse(argv: List[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--loops", nargs="+", choices=["asyncio", "uvloop"], default=["asyncio", "uvloop"])
    parser.add_argument("--against", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="first is the base")
    parser.add_argument("--app", choices=["asgi", "starlette"], default="asgi")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="write what was measured to this file (its schema: uvicorn_page.py)")
    parser.add_argument("--publish", action="store_true", help="keep it, and write docs/howto/uvicorn.md anew")
    parser.add_argument(
        "--anyway", action="store_true", help="publish although the machine is busy, or what changed is not committed"
    )
    parser.add_argument("--serve", choices=CONTENDERS, help=argparse.SUPPRESS)
    if "--publish" in argv:
        parser.set_defaults(rounds=uvicorn_page.ROUNDS, seconds=uvicorn_page.SECONDS)
    return parser.parse_args(argv)


def main(argv: List[str]) -> int:
    """Run it. Returns: the exit status."""
    options = parse(argv)
    if options.serve:
        serve(options.serve, options.loops[0], options.app, _cpus()[0])
        return 0
    run = uvicorn_page.describe(_cpus())
    objections = uvicorn_page.objections(run) if options.publish and not options.anyway else []
    if objections:
        print(f"not published, unless with --anyway: {'; '.join(objections)}", file=sys.stderr)
        return 1
    run["settings"] = {"rounds": options.rounds, "seconds": options.seconds, "app": options.app}
    run["versions"] = versions()
    print(", ".join(f"{name} {value}" for name, value in run["versions"].items()))
    run["results"] = compare(options)
    if options.json:
        results.write(options.json, run)
    if options.publish:
        uvicorn_page.publish(run)
        print(f"written: {uvicorn_page.kept_at().relative_to(ROOT)}, {uvicorn_page.PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
