"""Bad frames on real sockets, once for each line and role: our CLOSE, then the end, which is no reset."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.conformance_frames import DEFLATED, LIMIT, PLAIN, Answer, answer_of, converse
from fixtures.peers import RawPeer
from fixtures.places import Place

from picows.deflate import DeflateCodec, DeflateParameters
from picows.errors import WSConnectionClosed, WSProtocolError

ALL = {**PLAIN, **DEFLATED}
LINES = pytest.mark.parametrize("name", ALL)


def make_listener(place: Place, name: str, client: bool) -> Any:
    codec = DeflateCodec(DeflateParameters(), client) if name in DEFLATED else None
    return place.engine.WSMessageListener(max_message_size=LIMIT, codec=codec)


async def check_listener(listener: Any, answer: Answer) -> None:
    assert [await listener.recv() for _ in answer.received] == list(answer.received)
    with pytest.raises(WSConnectionClosed) as caught:
        await listener.recv()
    if answer.is_failure:
        assert caught.value.code == 1006
        assert isinstance(caught.value.__cause__, WSProtocolError)
        assert caught.value.__cause__.code == answer.code
    else:
        assert caught.value.code == (1000 if answer.code is None else answer.code)


@LINES
async def test_server(place: Place, name: str) -> None:
    case, answer = ALL[name], answer_of(ALL[name], "messages")
    listener = make_listener(place, name, client=False)
    peer = await place.raw_client(await place.serve(lambda request: listener))
    await peer.upgrade()
    await converse(peer, case, answer)
    await check_listener(listener, answer)


@LINES
async def test_client(place: Place, name: str) -> None:
    case, answer = ALL[name], answer_of(ALL[name], "messages")
    listener = make_listener(place, name, client=True)

    async def serve(peer: RawPeer) -> None:
        await peer.accept()
        await converse(peer, case, answer)

    transport, _ = await place.connect(lambda: listener, await place.raw_server(serve))
    await check_listener(listener, answer)
    if answer.is_failure:
        with pytest.raises(WSProtocolError) as caught:
            await transport.wait_disconnected()
        assert caught.value.code == answer.code
    else:
        await transport.wait_disconnected()
