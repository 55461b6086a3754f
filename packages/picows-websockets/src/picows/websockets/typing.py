"""Type aliases of the API, for annotations in user code."""

from __future__ import annotations

import http
import logging
import os
from collections.abc import Sequence
from typing import Any, NewType

__all__ = [
    "Data",
    "LoggerLike",
    "StatusLike",
    "Origin",
    "Subprotocol",
    "ExtensionName",
    "ExtensionParameter",
]

#: A message: str travels in a text frame, bytes in a binary frame.
Data = str | bytes
#: What may be sent as the content of a binary frame.
BytesLike = bytes | bytearray | memoryview
#: What send() takes.
DataLike = str | bytes | bytearray | memoryview
#: A logger, or what wraps one.
LoggerLike = logging.Logger | logging.LoggerAdapter[Any]
#: The address of a Unix socket.
PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
#: An HTTP status code.
StatusLike = http.HTTPStatus | int
#: Value of an `Origin` header.
Origin = NewType("Origin", str)
#: One name from `Sec-WebSocket-Protocol`.
Subprotocol = NewType("Subprotocol", str)
#: Name of an extension in `Sec-WebSocket-Extensions`.
ExtensionName = NewType("ExtensionName", str)
#: A parameter of an extension: (name, value or None).
ExtensionParameter = tuple[str, str | None]
#: One element of `Sec-WebSocket-Extensions`.
ExtensionHeader = tuple[ExtensionName, Sequence[ExtensionParameter]]
#: One element of `Connection`.
ConnectionOption = NewType("ConnectionOption", str)
#: One element of `Upgrade`.
UpgradeProtocol = NewType("UpgradeProtocol", str)
