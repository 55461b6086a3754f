"""HTTP headers: a mapping whose keys ignore case and may have several values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from .exceptions import InvalidHeader, InvalidHeaderValue

__all__ = ["Headers", "HeadersLike", "MultipleValuesError"]

# RFC 9110 5.5: no control characters but tab; bytes above 127 are ISO-8859-1.
_VALUE = re.compile("[\t -~\x80-\xff]*")
# websockets takes any name: a line break within one would begin a header of its own.
_NOT_IN_NAME = re.compile("[\x00-\x1f\x7f]")


class MultipleValuesError(LookupError):
    """A header was read as if it had one value, and has several. `get_all` gives them."""

    def __str__(self) -> str:
        # As KeyError does it: the name of the header, in quotes.
        return repr(self.args[0]) if len(self.args) == 1 else super().__str__()


class Headers(MutableMapping[str, str]):
    """The headers of a request or response, in order, as they were written.

    `headers[name]` is the value, whatever the case of `name`; MultipleValuesError if there are several.
    `headers[name] = value` adds a header and keeps those of the same name: `del headers[name]` removes them all.
    Iterating gives each name once, in lower case. `Headers` with the same values compare equal if they differ in the
    case of names, or in the order of different names.

    Args:
        *args: at most one mapping or iterable of pairs.
        **kwargs: more headers.

    Raises:
        InvalidHeaderValue: a value has characters that RFC 9110 5.5 does not allow.
        InvalidHeader: a name has control characters.
    """

    __slots__ = ("_fields", "_values")

    def __init__(self, *args: HeadersLike, **kwargs: str) -> None:
        #: (name, value) in order, and lower-case name to values: what is asked for most is one of the two.
        self._fields: list[tuple[str, str]] = []
        self._values: dict[str, list[str]] = {}
        if args or kwargs:
            self.update(*args, **kwargs)

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\r\n" for name, value in self._fields]) + "\r\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._fields!r})"

    def copy(self) -> Headers:
        """A copy that changes independently."""
        copy = type(self)()
        copy._fields = self._fields.copy()
        copy._values = {name: values.copy() for name, values in self._values.items()}
        return copy

    def serialize(self) -> bytes:
        """The bytes for the wire, with the empty line at the end.

        Raises:
            UnicodeEncodeError: a name, or a value from `set_insecure`, is not ISO-8859-1.
        """
        return str(self).encode("iso-8859-1")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: str) -> str:
        values = self._values[key.lower()]
        if len(values) > 1:
            raise MultipleValuesError(key)
        return values[0]

    def __setitem__(self, key: str, value: str) -> None:
        if isinstance(key, str) and _NOT_IN_NAME.search(key):
            raise InvalidHeader(ascii(key), value)
        # Values of other types are what f-strings make of them; many callers pass numbers.
        if _VALUE.fullmatch(value if isinstance(value, str) else str(value)) is None:
            raise InvalidHeaderValue(key, value)
        self.set_insecure(key, value)

    def __delitem__(self, key: str) -> None:
        lower = key.lower()
        del self._values[lower]
        self._fields = [field for field in self._fields if field[0].lower() != lower]

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self._values == other._values

    def clear(self) -> None:
        """Remove all headers."""
        self._fields.clear()
        self._values.clear()

    def update(self, *args: HeadersLike, **kwargs: str) -> None:
        """Add headers. Those of the same name stay.

        Args:
            *args: at most one mapping or iterable of pairs.
            **kwargs: more headers.
        """
        if args and isinstance(args[0], Headers):
            args = (args[0]._fields.copy(), *args[1:])
        super().update(*args, **kwargs)

    def get_all(self, key: str) -> list[str]:
        """All values of a header, in order; empty if it is absent.

        Returns:
            A new list.
        """
        return self._values.get(key.lower(), []).copy()

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """All headers, in order, repeated ones repeatedly, with names as they were written."""
        return iter(self._fields)

    def set_insecure(self, key: str, value: str) -> None:
        """Add a header without looking at its value: what came from the network was checked by the parser."""
        self._values.setdefault(key.lower(), []).append(value)
        self._fields.append((key, value))

    def _add_received(self, fields: list[tuple[str, str]]) -> None:
        """As `set_insecure`, for all that a message has: a call for each would be half of what reading it costs."""
        values = self._values
        for name, value in fields:
            values.setdefault(name.lower(), []).append(value)
        self._fields += fields


class SupportsKeysAndGetItem(Protocol):
    """What dict() takes beside mappings."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, key: str) -> str: ...


#: What is accepted wherever headers are given.
HeadersLike = Headers | Mapping[str, str] | Iterable[tuple[str, str]] | SupportsKeysAndGetItem
