"""The names of upstream's module `picows.common`: re-exports only."""

from .abc import WSBuffer
from .enums import PICOWS_DEBUG_LL
from .errors import (
    WSError,
    WSHandshakeError,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSInvalidURL,
    WSProtocolError,
)
from .http import (
    WSHeadersLike,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    add_extra_headers,
)
from .url import WSHost, WSParsedURL, WSPort

__all__ = [
    "PICOWS_DEBUG_LL",
    "WSBuffer",
    "WSError",
    "WSHandshakeError",
    "WSHeadersLike",
    "WSHost",
    "WSInvalidHeaderError",
    "WSInvalidMessageError",
    "WSInvalidStatusError",
    "WSInvalidURL",
    "WSInvalidUpgradeError",
    "WSParsedURL",
    "WSPort",
    "WSProtocolError",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
    "add_extra_headers",
]
