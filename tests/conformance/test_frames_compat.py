"""Bad frames and picows.websockets, on real sockets: as websockets answers, which is not always as we do."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from fixtures.compat import OURS, silent
from fixtures.conformance_frames import DEFLATED, NO_CODE, PLAIN, Case, answer_of, converse
from fixtures.peers import RawPeer
from fixtures.sockets import port_of
from fixtures.wire import CLOSE

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

ALL = {**PLAIN, **DEFLATED}
LINES = pytest.mark.parametrize("name", ALL)
EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate"


def code_of_peer(case: Case) -> int:
    """Of its CLOSE, which was 1000 if we had to ask for one."""
    last = case.frames[-1]
    return 1000 if last.opcode != CLOSE else int.from_bytes(last.payload[:2], "big") or 1005


async def check_connection(connection: Any, case: Case) -> None:
    """What `recv` returns and raises: the code that we sent, and the peer's if there was a closing handshake."""
    answer = answer_of(case, "compat")
    assert [await connection.recv() for _ in answer.received] == list(answer.received)
    with pytest.raises(OURS.exceptions.ConnectionClosed) as caught:
        await connection.recv()
    error = caught.value
    if answer.is_failure:
        assert type(error) is OURS.exceptions.ConnectionClosedError
        assert error.rcvd is None
        assert error.sent.code == answer.code
    else:
        assert error.rcvd.code == code_of_peer(case)
        assert error.sent.code == {None: 1000, NO_CODE: 1005}.get(answer.code, answer.code)
        assert error.rcvd_then_sent is True


@LINES
async def test_server(name: str) -> None:
    case = ALL[name]
    result: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handler(connection: Any) -> None:
        try:
            await check_connection(connection, case)
        except BaseException as exc:
            result.set_exception(exc)
        else:
            result.set_result(None)

    async with OURS.serve(handler, logger=silent()) as server:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", port_of(server)))
        peer.is_client = True
        try:
            await peer.upgrade(*([EXTENSION] if name in DEFLATED else []))
            await converse(peer, case, answer_of(case, "compat"))
            await result
        finally:
            await peer.aclose()


@LINES
async def test_client(name: str, local: Any) -> None:
    case = ALL[name]

    async def serve(peer: RawPeer) -> None:
        await peer.accept(*([EXTENSION] if name in DEFLATED else []))
        await converse(peer, case, answer_of(case, "compat"))

    server = await local.raw_server(serve)
    async with OURS.connect(server, logger=silent()) as connection:
        await check_connection(connection, case)
