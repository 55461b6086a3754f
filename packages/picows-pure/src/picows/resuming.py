"""Let a transport read again, and hand over what it has read already.

TLS is decrypted by the record. A transport of aiofastnet (1.2) that is paused while it hands a record over keeps the
rest, and looks at it again only when its socket has more to read, which may be never. It is told to look at once, as
the transports of asyncio and uvloop do.
"""

from __future__ import annotations

from typing import Any


def resume_reading(transport: Any, loop: Any) -> None:
    """End a pause; what comes of it comes in a later turn of the loop.

    Args:
        transport: of asyncio, uvloop or aiofastnet.
        loop: its event loop.
    """
    transport.resume_reading()
    retry = getattr(transport, "_retry_ssl_read", None)
    if retry is not None:
        loop.call_soon(retry)
