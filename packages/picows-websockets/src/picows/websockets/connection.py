"""The old name of `picows.websockets.protocol`, deprecated."""

from __future__ import annotations

import warnings

from .protocol import SEND_EOF as SEND_EOF
from .protocol import Protocol as Connection  # noqa: F401
from .protocol import Side as Side
from .protocol import State as State

warnings.warn(
    "websockets.connection was renamed to websockets.protocol and Connection was renamed to Protocol",
    DeprecationWarning,
    stacklevel=2,
)
