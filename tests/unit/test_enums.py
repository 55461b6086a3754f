"""The numbers of RFC 6455: known ones have names, unknown ones are numbers without one."""

from __future__ import annotations

import pickle
from typing import Any, Dict

import pytest

from picows import enums
from picows.enums import WSAutoPingStrategy, WSCloseCode, WSMsgType, close_code, is_sendable_close_code

MEMBERS: Dict[Any, Dict[str, int]] = {
    WSMsgType: {"CONTINUATION": 0, "TEXT": 1, "BINARY": 2, "CLOSE": 8, "PING": 9, "PONG": 10},
    WSCloseCode: {
        "NO_INFO": 0,
        "OK": 1000,
        "GOING_AWAY": 1001,
        "PROTOCOL_ERROR": 1002,
        "UNSUPPORTED_DATA": 1003,
        "ABNORMAL_CLOSURE": 1006,
        "INVALID_TEXT": 1007,
        "POLICY_VIOLATION": 1008,
        "MESSAGE_TOO_BIG": 1009,
        "MANDATORY_EXTENSION": 1010,
        "INTERNAL_ERROR": 1011,
        "SERVICE_RESTART": 1012,
        "TRY_AGAIN_LATER": 1013,
        "BAD_GATEWAY": 1014,
    },
    WSAutoPingStrategy: {"PING_WHEN_IDLE": 1, "PING_PERIODICALLY": 2},
}
OPEN = pytest.mark.parametrize("enum", [WSMsgType, WSCloseCode], ids=lambda enum: enum.__name__)


@pytest.mark.parametrize("enum", MEMBERS, ids=lambda enum: enum.__name__)
def test_members(enum: Any) -> None:
    assert {name: member.value for name, member in enum.__members__.items()} == MEMBERS[enum]
    for name, value in MEMBERS[enum].items():
        member = enum(value)
        assert member is enum[name]
        assert member == value
        assert isinstance(member, int)
        assert repr(member) == f"<{enum.__name__}.{name}: {value}>"


@pytest.mark.parametrize("value", [0, 1, 999, 1000, 1005, 1014, 3000, 4999, 65535, WSCloseCode.OK], ids=str)
def test_close_code(value: int) -> None:
    code = close_code(value)
    assert type(code) is WSCloseCode
    assert (code, code.name) == (WSCloseCode(value), WSCloseCode(value).name)


@OPEN
@pytest.mark.parametrize("value", [3, 15, 3000, 4999, 65535, -1], ids=str)
def test_a_number_without_a_name(enum: Any, value: int) -> None:
    member = enum(value)
    assert type(member) is enum
    assert (member, member.value, member.name, int(member)) == (value, value, None, value)
    assert repr(member) == f"<{enum.__name__}: {value}>"
    assert {member: "x"}[value] == "x"
    assert member == enum(value)
    assert enum(member) == member
    assert f"{int(member)}" == str(value)


@OPEN
def test_numbers_without_a_name_are_not_stored(enum: Any) -> None:
    """They are chosen by the peer."""
    before = list(enum)
    for value in range(20_000, 20_100):
        enum(value)
    assert list(enum) == before
    assert not any(isinstance(key, int) and 20_000 <= key < 20_100 for key in enum._value2member_map_)


@OPEN
@pytest.mark.parametrize("value", ["TEXT", 1.5, None, b"\x01"], ids=repr)
def test_what_is_no_number(enum: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=f"is not a valid {enum.__name__}"):
        enum(value)


def test_a_bool_is_no_number_of_its_own() -> None:
    with pytest.raises(ValueError):
        WSCloseCode(True)
    assert WSMsgType(True) is WSMsgType.TEXT  # equal to a member, as with every IntEnum


def test_a_strategy_is_one_of_two() -> None:
    with pytest.raises(ValueError):
        WSAutoPingStrategy(3)


@pytest.mark.parametrize("member", [WSMsgType.PING, WSCloseCode.OK, WSAutoPingStrategy.PING_WHEN_IDLE], ids=repr)
def test_members_can_be_pickled(member: Any) -> None:
    assert pickle.loads(pickle.dumps(member)) is member


def test_numbers_without_a_name_can_be_pickled() -> None:
    code = pickle.loads(pickle.dumps(WSCloseCode(3000)))
    assert (type(code), code, code.name) == (WSCloseCode, 3000, None)


def test_sendable_close_codes() -> None:
    """RFC 6455 7.4."""
    sendable = {code for code in range(-10, 70_000) if is_sendable_close_code(code)}
    assert sendable == {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


def test_the_log_level_is_below_debug() -> None:
    assert enums.PICOWS_DEBUG_LL == 9
