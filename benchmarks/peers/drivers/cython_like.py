"""Driver for listeners in Cython over the API of picows: what users write who have found Python's callbacks too slow.

The listener reads the first byte of each payload where it lies and takes no bytes object: that is what Cython is for.
"""

from __future__ import annotations

import importlib

from . import picows_like
from .common import Marks


class Driver(picows_like.Driver):
    """The receiver of floods alone."""

    async def receive(self, port: int, marks: Marks) -> None:
        """Looks at messages in the read buffer until `marks.done`."""
        flood = importlib.import_module("cython_listener").Flood
        self.facts["listener"] = f"{flood.__module__}.{flood.__name__}"
        listener = await self._connect(lambda: flood(marks), port)
        marks.connected()
        await marks.done
        if not listener.touched:
            raise RuntimeError("the listener in Cython saw no payload: its on_ws_frame was not called")
