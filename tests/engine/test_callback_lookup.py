"""Which `on_ws_frame` is called: what the listener has at that moment, although picows.core remembers its class's."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any, Callable

import pytest
from fixtures.wire import TEXT

#: Called from within the callback: gives the listener another one.
Change = Callable[[Any, list[str]], None]


def saying(name: str, calls: list[str]) -> Callable[..., None]:
    return lambda *args: calls.append(name)


def set_on_instance(listener: Any, calls: list[str]) -> None:
    listener.on_ws_frame = saying("instance", calls)


def set_in_dict(listener: Any, calls: list[str]) -> None:
    vars(listener)["on_ws_frame"] = saying("instance", calls)


def replace_in_class(listener: Any, calls: list[str]) -> None:
    type(listener).on_ws_frame = saying("class", calls)


def replace_in_base(listener: Any, calls: list[str]) -> None:
    type(listener).__mro__[1].on_ws_frame = saying("base", calls)


def remove_from_base(listener: Any, calls: list[str]) -> None:
    del type(listener).__mro__[1].on_ws_frame


def assign_class(listener: Any, calls: list[str]) -> None:
    listener.__class__ = type("Other", type(listener).__mro__[1:2], {"on_ws_frame": saying("other class", calls)})


def assign_bases(listener: Any, calls: list[str]) -> None:
    base = type(listener).__mro__[1]
    type(listener).__bases__ = (type("Between", (base,), {"on_ws_frame": saying("between", calls)}),)


def add_getattribute(listener: Any, calls: list[str]) -> None:
    def find(self: Any, name: str) -> Any:
        return saying("getattribute", calls) if name == "on_ws_frame" else object.__getattribute__(self, name)

    type(listener).__getattribute__ = find


def put_staticmethod(listener: Any, calls: list[str]) -> None:
    type(listener).on_ws_frame = staticmethod(lambda transport, frame: calls.append("static"))


def put_classmethod(listener: Any, calls: list[str]) -> None:
    type(listener).on_ws_frame = classmethod(lambda cls, transport, frame: calls.append("of class"))


def put_property(listener: Any, calls: list[str]) -> None:
    type(listener).on_ws_frame = property(lambda self: saying("property", calls))


CHANGES: dict[str, tuple[Change, list[str]]] = {
    "instance": (set_on_instance, ["instance", "instance"]),
    "instance's dict": (set_in_dict, ["instance", "instance"]),
    "class": (replace_in_class, ["class", "class"]),
    "base": (replace_in_base, ["base", "base"]),
    "removed": (remove_from_base, []),
    "__class__": (assign_class, ["other class", "other class"]),
    "__bases__": (assign_bases, ["between", "between"]),
    "__getattribute__": (add_getattribute, ["getattribute", "getattribute"]),
    "staticmethod": (put_staticmethod, ["static", "static"]),
    "classmethod": (put_classmethod, ["of class", "of class"]),
    "property": (put_property, ["property", "property"]),
}


def listener_class(engine: Any, calls: list[str], on_first: Callable[[Any], None]) -> Any:
    """A class whose base has the callback, which changes something on the first frame."""

    def on_ws_frame(self: Any, transport: Any, frame: Any) -> None:
        calls.append("first")
        on_first(self)

    base = type("Base", (engine.WSListener,), {"on_ws_frame": on_ws_frame})
    return type("Listener", (base,), {})


@pytest.mark.parametrize("in_one_read", [True, False], ids=["one read", "three reads"])
@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_callback_that_is_replaced_is_not_called_again(
    connect: Any, engine: Any, change: Change, expected: list[str], in_one_read: bool
) -> None:
    calls: list[str] = []
    listener = listener_class(engine, calls, lambda listener: change(listener, calls))()
    connection = connect(listener=listener)
    frame = connection.frame(TEXT, b"x")
    if in_one_read:
        connection.feed(frame * 3)
    else:
        for _ in range(3):
            connection.feed(frame)
    assert calls == ["first", *expected]


def test_an_attribute_of_the_instance_is_called_and_forgotten_once_deleted(connect: Any, engine: Any) -> None:
    calls: list[str] = []
    listener = listener_class(engine, calls, lambda listener: None)()
    connection = connect(listener=listener)
    connection.feed_frame(TEXT)
    listener.on_ws_frame = saying("instance", calls)
    connection.feed_frame(TEXT)
    del listener.on_ws_frame
    connection.feed_frame(TEXT)
    assert calls == ["first", "instance", "first"]


def test_a_listener_without_dict(connect: Any, engine: Any) -> None:
    calls: list[str] = []
    namespace = {"__slots__": (), "on_ws_frame": saying("class", calls)}
    connection = connect(listener=type("Slotted", (engine.WSListener,), namespace)())
    connection.feed(connection.frame(TEXT, b"x") * 2)
    assert calls == ["class", "class"]


def test_a_function_that_is_removed_during_its_call_lives_until_it_returns(connect: Any, engine: Any) -> None:
    calls: list[str] = []

    def on_ws_frame(self: Any, transport: Any, frame: Any) -> None:
        del type(self).on_ws_frame
        gc.collect()
        calls.append(transport is connection.transport)

    listener = type("Listener", (engine.WSListener,), {"on_ws_frame": on_ws_frame})()
    reference = weakref.ref(on_ws_frame)
    del on_ws_frame
    connection = connect(listener=listener)
    connection.feed_frame(TEXT)
    gc.collect()
    assert calls == [True]
    assert reference() is None


def test_a_key_that_cannot_be_compared(connect: Any, engine: Any) -> None:
    """The dict of an instance may have keys other than strings; looking among them may raise."""

    class Key:
        def __hash__(self) -> int:
            return hash("on_ws_frame")

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    calls: list[str] = []
    listener = listener_class(engine, calls, lambda listener: None)()
    connection = connect(listener=listener)
    connection.feed_frame(TEXT)
    vars(listener)[Key()] = None
    connection.feed_frame(TEXT)
    assert calls == ["first"]
    connection.loop.settle()
    assert connection.wire.calls == ["write_eof", "close"]


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="PyPy does not count references")
def test_functions_are_not_kept_by_a_call(connect: Any, engine: Any) -> None:
    connection = connect(listener=listener_class(engine, [], lambda listener: None)())
    function = type(connection.listener).on_ws_frame
    connection.feed_frame(TEXT)
    before = sys.getrefcount(function)
    connection.feed(connection.frame(TEXT, b"x") * 100)
    assert sys.getrefcount(function) == before


def test_an_attribute_that_comes_after_others(connect: Any, engine: Any) -> None:
    """The names of all instances' attributes grow while frames are delivered; another listener's say nothing."""
    calls: list[str] = []
    kind = listener_class(engine, calls, lambda listener: setattr(listener, f"x{len(calls)}", None))
    connection = connect(listener=kind())
    connection.feed(connection.frame(TEXT, b"x") * 5)
    kind().on_ws_frame = saying("another's", calls)
    connection.feed_frame(TEXT)
    connection.listener.on_ws_frame = saying("instance", calls)
    connection.feed_frame(TEXT)
    assert calls == ["first"] * 6 + ["instance"]


def test_receiving_gives_a_listener_no_dict(connect: Any, engine: Any) -> None:
    """It would be memory for each connection."""
    if engine.__name__ != "picows.core":
        pytest.skip("the interpreter's own lookup")
    connection = connect(listener=listener_class(engine, [], lambda listener: None)())
    connection.feed(connection.frame(TEXT, b"x") * 5)
    assert not any(isinstance(each, dict) for each in gc.get_referents(connection.listener))
