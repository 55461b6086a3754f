"""The configurations of nginx and haproxy in the guide work as they are written."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from fixtures.ports import free_port

from picows import WSListener, WSMessageListener, WSUpgradeRequest, WSUpgradeResponse, ws_connect, ws_create_server
from picows.http import WSUpgradeResponseWithListener

PAGE = (Path(__file__).parents[2] / "docs/howto/deploy.md").read_text("utf-8")
TIMEOUT_S = 20


def configuration(name: str) -> str:
    language = {"haproxy": "text"}.get(name, name)  # as the highlighter knows it
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def command(name: str, text: str, directory: Path) -> list[str]:
    """What runs the program in the foreground, with everything that it writes in a directory."""
    program = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    file = directory / f"{name}.conf"
    if name == "nginx":
        temporary = "".join(
            f"    {what}_temp_path {directory}/{what};\n"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        log = f"    access_log off;\n{temporary}"
        file.write_text(f"daemon off;\npid {directory}/pid;\n" + text.replace("http {\n", "http {\n" + log))
        return [program, "-p", str(directory), "-e", str(directory / "errors"), "-c", str(file)]
    file.write_text(text)
    return [program, "-db", "-f", str(file)]


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_configurations_work(name: str, tmp_path: Path) -> None:
    heads: list[WSUpgradeRequest] = []

    def factory(request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if request.path == b"/health":
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(), None)
        heads.append(request)
        return WSMessageListener()

    async def main() -> None:
        server = await ws_create_server(factory, "127.0.0.1", 0)
        port, public = server.sockets[0].getsockname()[1], free_port()
        text = configuration(name).replace("9001", str(port)).replace("8080", str(public))
        process = subprocess.Popen(command(name, text, tmp_path), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + TIMEOUT_S
            while True:
                assert process.poll() is None
                try:
                    _, connection = await ws_connect(WSMessageListener, f"ws://127.0.0.1:{public}/feed?a=b")
                    break
                except OSError:  # it does not listen yet
                    assert time.monotonic() < end
                    await asyncio.sleep(0.02)
            await connection.send("through")
            (there,) = server.connections
            assert there.request.headers["X-Forwarded-For"] == "127.0.0.1"
            assert heads[-1].path == b"/feed?a=b"
            await server.close(code=1001)
            assert connection.transport.close_handshake.recv.code == 1001
            await connection.close()
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)

    asyncio.run(main())
