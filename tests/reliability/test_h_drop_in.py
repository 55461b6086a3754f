"""H, for the drop-in: it answers bad requests as websockets does, and lets nobody inject a line."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List, Tuple

import pytest
from fixtures import compat
from fixtures.requests import ENDLESS, KEYS, LENIENT, MALFORMED, MANY_HEADERS, OTHERS, WRONG

compat.skip_unless_comparable()


@pytest.mark.parametrize(
    "table",
    [ENDLESS, MANY_HEADERS, MALFORMED, KEYS, WRONG, LENIENT, OTHERS],
    ids=["h1", "h4", "h5", "h6", "h7", "h8", "h13"],
)
def test_h_the_drop_in_answers_as_websockets(table: Dict[str, Tuple[bytes, int]]) -> None:
    async def scenario(library: Any) -> Any:
        answers = {}
        async with library.serve(logger=compat.silent(), open_timeout=0.3) as server:
            for name, (data, _) in table.items():
                # More is a race between its end and the reset that answers it. Ours refuses such targets on purpose.
                if len(data) < 2**18 and name not in ("target NUL", "target none"):
                    answer = await compat.ask(server, data, b"\r\n\r\n")
                    answers[name] = answer[:12] if answer.startswith(b"HTTP") else answer
        return answers

    compat.assert_same(scenario)


@pytest.mark.parametrize("bad", ["\r\nX: y", "\n", "\0"], ids=["CRLF", "LF", "NUL"])
def test_h12_no_injection_into_the_drop_in(bad: str) -> None:
    text = f"a{bad}b"
    options: List[Dict[str, Any]] = [
        {"origin": text},
        {"user_agent_header": text},
        {"subprotocols": [text]},
        {"additional_headers": {"X": text}},
        {"additional_headers": {text: "x"}},
    ]

    async def scenario() -> None:
        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.read())

        async with compat.raw_server(keep, opens=False) as port:
            for option in options:
                with pytest.raises(
                    (ValueError, compat.OURS.exceptions.InvalidHeader, compat.OURS.exceptions.InvalidURI)
                ):
                    await compat.OURS.connect(port, **option)
            with pytest.raises(refusals):
                await compat.OURS.connect(port, path=f"/{text}")
        assert b"".join(received) == b""

    exceptions = compat.OURS.exceptions
    refusals = (ValueError, exceptions.InvalidHeader, exceptions.InvalidURI)
    received: List[bytes] = []
    compat.run(scenario())
