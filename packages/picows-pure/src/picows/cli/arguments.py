"""Types of options: text from the command line to a value, or a sentence for argparse (which exits with 2)."""

from __future__ import annotations

import argparse
import math
from typing import Tuple


def _integer(text: str, least: int, most: int, allowed: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
    return value


def count(text: str) -> int:
    """An integer from 0."""
    return _integer(text, 0, 2**40, "an integer of at least 0")


def positive(text: str) -> int:
    """An integer from 1."""
    return _integer(text, 1, 2**40, "an integer of at least 1")


def port(text: str) -> int:
    """A TCP port, or 0."""
    return _integer(text, 0, 65535, "a port: 0 to 65535")


def _number(text: str, allowed: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
    return value


def duration(text: str) -> float:
    """Seconds, at least a millisecond."""
    return _number(text, "a number of seconds, at least 0.001", 0.001)


def seconds(text: str) -> float:
    """Seconds, also none."""
    return _number(text, "a number of seconds", 0)


def milliseconds(text: str) -> float:
    """Milliseconds."""
    return _number(text, "a number of milliseconds", 0)


def rate(text: str) -> float:
    """Messages per second."""
    return _number(text, "a number of messages per second, at least 0.001", 0.001)


def message(text: str) -> str:
    """A text message."""
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps such bytes of a command line as surrogates
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8, as text messages are") from None
    return text


def header(text: str) -> Tuple[str, str]:
    """A header as curl takes it."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a header: write 'Name: value'")
    return name.strip(), value.strip()
