"""The engines have the same names, signatures and words. (Calls: test_parity_calls; bytes: property/test_twins.)"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional

import pytest
from fixtures.twins import Twins, answers
from fixtures.wire import CLOSE, CONT, PING, TEXT, Connection, close_payload

from picows import abc
from picows.enums import WSCloseCode, WSMsgType

#: The classes that users see. WSProtocol is known to the event loop alone.
CLASSES = [
    "DeflateCodec",
    "MemoryBuffer",
    "WSCloseHandshake",
    "WSCloseInfo",
    "WSFrame",
    "WSListener",
    "WSMessageListener",
    "WSTransport",
]
FUNCTIONS = ["make_protocol", "scan_upgrade", "ws_broadcast", "sort_for_broadcast", "describe"]
SIDES = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])


def public_names(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


# --- names ---


def test_names_of_the_contract(twins: Twins) -> None:
    promised = set(abc.Engine.__annotations__) | {name for name in vars(abc.Engine) if not name.startswith("_")}
    assert promised == {*CLASSES, *FUNCTIONS, "WSProtocol", "name"}
    for engine, name in zip(twins, twins._fields):
        assert promised <= set(dir(engine))
        assert engine.name == name


@pytest.mark.parametrize("name", CLASSES)
def test_public_names_of_a_class(twins: Twins, name: str) -> None:
    classes = [getattr(engine, name) for engine in twins]
    if name == "WSMessageListener":  # its `transport` is an attribute of the object, or a field that the class knows of
        classes = [made() for made in classes]
    pure, core = map(public_names, classes)
    if name == "WSCloseInfo":  # a tuple and its methods, or a class that behaves like one
        pure, core = pure - public_names(tuple), core - public_names(tuple)
    assert core == pure
    assert len(pure) > 0


@pytest.mark.parametrize(
    ("name", "contract"),
    [
        ("WSFrame", abc.EngineFrame),
        ("WSCloseInfo", abc.EngineCloseInfo),
        ("WSCloseHandshake", abc.EngineCloseHandshake),
        ("WSTransport", abc.EngineTransport),
        ("WSListener", abc.EngineListener),
        ("WSProtocol", abc.EngineProtocol),
    ],
)
def test_what_the_layers_above_may_use(twins: Twins, name: str, contract: Any) -> None:
    names = {key for key in vars(contract) if not key.startswith(("__", "_abc", "_is_protocol", "_is_runtime"))}
    names |= {key for key in getattr(contract, "__annotations__", {}) if key != "transport"}
    for engine in twins:
        assert names <= set(dir(getattr(engine, name)))


# --- signatures and docstrings ---


def callables() -> list[str]:
    """Dotted names of what can be called, as the pure engine has it."""
    from picows import pure

    methods = [
        f"{name}.{method}"
        for name in CLASSES
        for method in sorted(public_names(getattr(pure, name)) - public_names(tuple))
        if inspect.isfunction(inspect.getattr_static(getattr(pure, name), method))
    ]
    return [*methods, *FUNCTIONS]


def find(engine: Any, name: str) -> Any:
    thing = engine
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def parameters(function: Callable[..., Any]) -> list[Any]:
    """Names, kinds and defaults. Compiled methods may take `self` by position only, which nobody gives by name."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.name != "self" and p.kind, p.default) for p in found]


@pytest.mark.parametrize("name", callables())
def test_signatures(twins: Twins, name: str) -> None:
    """Names, kinds and defaults of the parameters."""
    assert len(twins.same(lambda engine: parameters(find(engine, name)))) < 10


@pytest.mark.parametrize("name", ["MemoryBuffer", "WSMessageListener", "WSTransport", "WSProtocol"])
def test_constructors(twins: Twins, name: str) -> None:
    """By their arguments, because compiled classes do not always say what they take."""

    def arguments(engine: Any) -> Any:
        try:
            return [(key, kind, default) for key, kind, default in parameters(getattr(engine, name))]
        except ValueError:
            return None

    pure, core = map(arguments, twins)
    assert pure is not None
    assert core in (pure, None)


def first_line(thing: Any) -> Optional[str]:
    """The first line of its docstring, after the signature that Cython puts before it."""
    lines: list[str] = [line.strip() for line in (thing.__doc__ or "").splitlines()]
    if len(lines) > 2 and lines[1] == "" and lines[0].startswith(f"{getattr(thing, '__name__', '?')}("):
        lines = lines[2:]
    return lines[0] if lines else None


@pytest.mark.parametrize("name", [*CLASSES, *(name for name in callables() if name != "make_protocol")])
def test_docstrings(twins: Twins, name: str) -> None:
    assert twins.same(lambda engine: first_line(find(engine, name)))


@pytest.mark.parametrize("name", CLASSES)
def test_docstrings_of_attributes(twins: Twins, name: str) -> None:
    """Attributes that are fields of a C struct cannot have one; where there is one it is the same."""
    pure, core = (getattr(engine, name) for engine in twins)
    for attribute in sorted(public_names(pure) - public_names(tuple)):
        thing = inspect.getattr_static(pure, attribute)
        if isinstance(thing, property):
            assert thing.__doc__
            assert first_line(getattr(core, attribute)) in (None, first_line(thing))


# --- the same reprs and values ---


@SIDES
@pytest.mark.parametrize("show", [str, repr])
def test_frames_as_text(twins: Twins, client: bool, show: Callable[[Any], str]) -> None:
    def observe(engine: Any) -> list[str]:
        connection = Connection(engine, client=client, enable_auto_pong=False)
        data = [
            connection.frame(opcode, payload, fin=fin, rsv=rsv)
            for opcode, payload, fin, rsv in [
                (TEXT, b"abc", False, 3),
                (PING, b"", True, 0),
                (CONT, bytes(300), True, 4),
            ]
        ]
        connection.feed(b"".join(data) + b"\x81")
        texts = [show(frame) for frame in connection.listener.frames]
        connection.shut()
        return texts

    assert len(twins.same(observe)) == 3


def facts(frame: Any) -> dict[str, Any]:
    """What every attribute and method without arguments gives: its type and value, or error."""
    values: dict[str, Any] = {}
    for name in sorted(public_names(frame)):
        try:
            value = getattr(frame, name)
            value = value() if callable(value) and not isinstance(value, int) else value
        except Exception as exc:
            value = str(exc)
        values[name] = (type(value), bytes(value) if isinstance(value, memoryview) else value)
    return values


@SIDES
@pytest.mark.parametrize("member", list(WSMsgType), ids=lambda member: member.name)
@pytest.mark.parametrize("payload", [b"", close_payload(1000, "k\xe4se".encode())], ids=["empty", "payload"])
def test_everything_about_a_frame(twins: Twins, client: bool, member: WSMsgType, payload: bytes) -> None:
    def observe(engine: Any) -> dict[str, Any]:
        connection = Connection(engine, client=client, enable_auto_pong=False)
        connection.feed_frame(member, payload)
        values = facts(connection.listener.frames[0])
        connection.shut()
        return values

    assert twins.same(observe)["msg_type"] == (WSMsgType, member)


@pytest.mark.parametrize("order", ["recv first", "sent first", "only recv", "only sent", "empty"])
def test_close_handshakes(twins: Twins, order: str) -> None:
    def use(connection: Connection) -> Any:
        received, sent = close_payload(1001, b"theirs"), (WSCloseCode.OK, "ours")
        if order == "sent first":
            connection.transport.send_close(*sent)
        if order != "only sent":
            connection.feed_frame(CLOSE, b"" if order == "empty" else received)
        if order in ("recv first", "only sent"):
            connection.transport.send_close(*sent)
        record = connection.transport.close_handshake
        infos = [info for info in (record.recv, record.sent) if info is not None]
        for info in infos:
            assert isinstance(info.code, WSCloseCode)
            code, reason = info
            assert (code, reason) == (info[0], info[1]) == info
            assert info != (1, "other")
            assert len({info, (code, reason)}) == 1
        return (
            [(info.code, info.reason, repr(info), str(info), len(info)) for info in infos],
            repr(record),
            str(record),
            bool(record.recv_then_sent),
            type(record.recv_then_sent),
        )

    ((infos, *_), _, _) = twins.same(lambda engine: answers(engine, False, use))
    assert len(infos) == (2 if "first" in order else 1)


def test_everything_about_a_transport(twins: Twins) -> None:
    """The attributes that are values, at each station of its life."""

    def observe(engine: Any) -> list[Any]:
        seen: list[Any] = []
        connection = Connection(engine)
        transport = connection.transport

        def look() -> None:
            for name in ("is_client_side", "is_secure", "is_close_frame_sent", "is_disconnected", "write_buffer_size"):
                seen.append((name, getattr(transport, name), type(getattr(transport, name))))
            seen.append(repr(transport.close_handshake))

        look()
        connection.wire.stalled = True
        transport.send(TEXT, "x" * 1000)
        look()
        transport.send_close(1000)
        look()
        connection.feed_frame(CLOSE)
        transport.disconnect()
        look()
        connection.lose()
        look()
        connection.shut()
        return seen

    assert len(twins.same(observe)) == 30
