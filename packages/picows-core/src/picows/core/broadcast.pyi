"""One message to many connections."""

from collections.abc import Iterable
from typing import Any

from picows.abc import WSBuffer

from .transport import WSTransport

def ws_broadcast(transports: Iterable[WSTransport], msg_type: int, message: WSBuffer | None) -> None: ...
def sort_for_broadcast(connections: Iterable[Any]) -> tuple[list[WSTransport], list[Any]]: ...
