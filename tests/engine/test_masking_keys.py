"""W3: masking keys are unpredictable, never repeated after fork() and never shared between threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest
from fixtures.wire import BINARY, Connection

FRAMES = 10_000


def draw_keys(connection: Any, count: int) -> list[bytes]:
    for _ in range(count):
        connection.transport.send(BINARY, b"\0\0\0\0")
    return [frame.key for frame in connection.sent()]


def test_W3_D1_key_statistics(connect: Any) -> None:
    keys = draw_keys(connect(client=True), FRAMES)
    assert len(set(keys)) >= FRAMES - 3
    for bit in range(32):
        share = sum(int.from_bytes(key, "big") >> bit & 1 for key in keys) / FRAMES
        assert 0.45 < share < 0.55, f"bit {bit} is set in {share:.1%} of the keys"
    ascending = sum(first < second for first, second in zip(keys, keys[1:])) / FRAMES
    assert 0.45 < ascending < 0.55


def test_W3_connections_do_not_share_keys(connect: Any) -> None:
    first = connect(client=True)
    second = connect(client=True, loop=first.loop)
    assert len(set(draw_keys(first, 1000)) & set(draw_keys(second, 1000))) <= 1


def test_W3_every_send_method_has_a_key_of_its_own(connect: Any) -> None:
    connection = connect(client=True)
    connection.transport.send_ping(b"x")
    connection.transport.send_pong(b"x")
    connection.transport.send_reuse_external_bytearray(BINARY, bytearray(20), 14)
    connection.transport.send(BINARY, bytes(70_000))
    connection.transport.send_close(1000)
    assert len({frame.key for frame in connection.sent()}) == 5


def test_W3_threads_do_not_share_keys(engine: Any) -> None:
    keys: list[list[bytes]] = []

    def work() -> None:
        connection = Connection(engine, client=True)
        keys.append(draw_keys(connection, 2000))
        connection.shut()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drawn = [key for of_thread in keys for key in of_thread]
    assert len(drawn) == 8000
    assert len(set(drawn)) >= len(drawn) - 3


SCRIPT = """
    import os, sys
    sys.path[:0] = sys.argv[2:]
    from fixtures.wire import BINARY, Connection
    from picows._engine import load

    connection = Connection(load(sys.argv[1]), client=True)

    def draw(count):
        for _ in range(count):
            connection.transport.send(BINARY, b"xxxx")
        return b"".join(frame.key for frame in connection.sent())

    draw(3)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, draw(200))
        os._exit(0)
    os.waitpid(child, 0)
    sys.stdout.buffer.write(draw(200) + os.read(reader, 1000))
    connection.shut()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_W3_keys_differ_after_fork(engine: Any) -> None:
    """In a process of its own, because this one may have threads."""
    here = os.path.dirname(os.path.dirname(__file__))
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), engine.name, here, *filter(None, sys.path)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    assert len(output) == 1600
    keys = [output[at : at + 4] for at in range(0, 1600, 4)]
    assert len(set(keys)) >= 399


def test_W3_two_processes_have_no_prefix_in_common(engine: Any) -> None:
    here = os.path.dirname(os.path.dirname(__file__))
    script = textwrap.dedent(SCRIPT).split("reader, writer")[0] + "sys.stdout.buffer.write(draw(50))\nconnection.shut()"
    command = [sys.executable, "-c", script, engine.name, here, *filter(None, sys.path)]
    outputs = [subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout for _ in range(2)]
    assert len(outputs[0]) == len(outputs[1]) == 200
    assert outputs[0][:8] != outputs[1][:8]
