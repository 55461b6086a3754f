"""Who can be measured: a name, the environment it lives in, the driver that speaks its API, its settings.

`rows` says where a variant is measured when it was not asked for by name: a variant that differs only in how it masks
large payloads, say, is of no interest to the memory row.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Dict, List, Mapping, Optional, Sequence, Tuple


@dataclasses.dataclass(frozen=True)
class Contender:
    """One library in one configuration."""

    name: str
    environment: str
    driver: str
    module: str
    ours: bool = False
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    use_aiofastnet: Optional[bool] = None
    speedups: bool = True
    rows: Tuple[str, ...] = ("*",)
    note: str = ""

    def takes_part(self, key: str, deflate: bool) -> bool:
        """Returns: whether this contender is measured in the cell with that key by default."""
        if deflate and self.driver == "picows_like":
            return False  # the core API has no permessage-deflate
        return any(fnmatch.fnmatchcase(key, row) for row in self.rows)


PURE = {"PICOWS_IMPL": "pure"}
CORE = {"PICOWS_IMPL": "core"}
MASKED = ("echo/*", "echo2/*", "inflight/*")
CONNECTIONS = ("memory/*", "pingpong/*", "handshakes/*", "broadcast*")

CONTENDERS: Dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("pure", "ours", "picows_like", "picows", True, PURE, use_aiofastnet=False,
                  note="picows-pure on the loop's own transports (aiofastnet is no dependency of it), with numpy"),
        Contender("pure-nonumpy", "ours", "picows_like", "picows", True, {**PURE, "PICOWS_NUMPY": "0"},
                  use_aiofastnet=False, rows=MASKED, note="picows-pure that may not use numpy"),
        Contender("pure-aiofastnet", "ours", "picows_like", "picows", True, PURE, use_aiofastnet=True, rows=(),
                  note="picows-pure on aiofastnet's transports"),
        Contender("core", "core", "picows_like", "picows", True, CORE, use_aiofastnet=True,
                  note="picows-core on aiofastnet's transports, which it depends on"),
        Contender("core-native", "core", "picows_like", "picows", True, CORE, use_aiofastnet=False, rows=CONNECTIONS,
                  note="picows-core on the loop's own transports"),
        Contender("dropin-pure", "ours", "websockets_like", "picows.websockets", True, PURE,
                  note="picows-websockets over picows-pure"),
        Contender("dropin-core", "core", "websockets_like", "picows.websockets", True, CORE,
                  note="picows-websockets over picows-core"),
        Contender("picows", "picows", "picows_like", "picows", use_aiofastnet=True,
                  note="upstream, with aiofastnet, its default"),
        Contender("picows-native", "picows", "picows_like", "picows", use_aiofastnet=False, rows=("memory/*",),
                  note="upstream on the loop's own transports"),
        Contender("picows.websockets", "picows", "websockets_like", "picows.websockets",
                  note="upstream's replacement for websockets"),
        Contender("websockets", "websockets", "websockets_like", "websockets", note="with its C speedups"),
        Contender("websockets-nospeedups", "websockets", "websockets_like", "websockets", speedups=False, rows=MASKED,
                  note="without its C speedups"),
        Contender("aiohttp", "aiohttp", "aiohttp_like", "aiohttp", note="with its C extensions"),
    )
}  # fmt: skip

OURS = tuple(name for name, contender in CONTENDERS.items() if contender.ours)
PEERS = tuple(name for name, contender in CONTENDERS.items() if not contender.ours)


def choose(patterns: str, default: Sequence[str]) -> List[Contender]:
    """Picks contenders by name or glob pattern; one that is asked for by its full name joins every row.

    Args: patterns: comma-separated, empty for `default`. Returns: the contenders, in the order of the table.
    Raises: ValueError if a pattern matches nothing.
    """
    wanted = [word for word in patterns.split(",") if word] or list(default)
    chosen: Dict[str, Contender] = {}
    for word in wanted:
        names = fnmatch.filter(CONTENDERS, word)
        if not names:
            raise ValueError(f"no contender is called {word!r}; there are {', '.join(CONTENDERS)}")
        for name in names:
            known = CONTENDERS[name]
            exact = bool(patterns) and name == word and not known.rows
            chosen[name] = dataclasses.replace(known, rows=("*",)) if exact else known
    return [chosen[name] for name in CONTENDERS if name in chosen]
