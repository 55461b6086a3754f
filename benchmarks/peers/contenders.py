"""Who can be measured: a name, the environment it lives in, the driver that speaks its API, its settings.

`rows` says where a variant is measured when it was not asked for by name: a variant that differs only in how it masks
large payloads, say, is of no interest to the memory row. A contender with a `program` is compiled (native.py) and plays
the process under test itself; it has no environment. One with a `script` does so too, in the environment of a library
that has another event loop or another language than the drivers.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from rows import Cell


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
    program: str = ""
    script: str = ""
    """A file of `reference/`."""
    least_warm_s: float = 0.0
    """As in spec.py."""
    lacks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Why cells whose key matches a pattern are left out, where the report shall say so."""

    @property
    def kind(self) -> str:
        """What it stands for: ours, peer, or reference (a floor, or another language)."""
        return "ours" if self.ours else "reference" if self.program or self.script else "peer"

    def takes_part(self, cell: Cell) -> bool:
        """Returns: whether this contender is measured in that cell, or named there as lacking it, by default."""
        if cell.spec.deflate and self.driver == "picows_like":
            return False  # the core API has no permessage-deflate
        invited = any(fnmatch.fnmatchcase(self.name, only) for only in cell.row.only)
        return invited and any(fnmatch.fnmatchcase(cell.key, row) for row in self.rows)

    def lack(self, cell: Cell) -> Optional[str]:
        """Returns: why this contender has nothing to measure in that cell, None if it has."""
        return next((why for key, why in self.lacks.items() if fnmatch.fnmatchcase(cell.key, key)), None)


PURE = {"PICOWS_IMPL": "pure"}
CORE = {"PICOWS_IMPL": "core"}
MASKED = ("echo/*", "echo2/*", "inflight/*")
CONNECTIONS = ("memory/*", "pingpong/*", "handshakes/*", "broadcast*")
LISTENER = ("cython-listener/*",)
KERNELS = ("masking/*",)
NO_DEFLATE = "this program does not use permessage-deflate"
NO_TLS = {"*/tls": "TCP only, this program does not use TLS", "json/*": NO_DEFLATE, "deflate/*": NO_DEFLATE,
          "memory-deflate/*": NO_DEFLATE}  # fmt: skip
SERVED = ("inflight/*", "pingpong/*", "handshakes/*", "broadcast*", "memory*", "deflate/*")
NO_BROADCAST = {"broadcast*": "Beast has no broadcast, and queues of messages are left to its users"}


def _kernels(name: str) -> Contender:
    return Contender(f"kernel-{name}", "", "", name, True, program="bench_kernels", rows=KERNELS,
                     note=f"the mask kernel of the set {name}, called from C")  # fmt: skip


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
        Contender("core-cython", "core", "cython_like", "picows", True, CORE, use_aiofastnet=True, rows=LISTENER,
                  note="picows-core, with a listener in Cython"),
        Contender("dropin-pure", "ours", "websockets_like", "picows.websockets", True, PURE,
                  note="picows-websockets over picows-pure"),
        Contender("dropin-core", "core", "websockets_like", "picows.websockets", True, CORE,
                  note="picows-websockets over picows-core"),
        Contender("picows", "picows", "picows_like", "picows", use_aiofastnet=True,
                  note="upstream, with aiofastnet, its default"),
        Contender("picows-native", "picows", "picows_like", "picows", use_aiofastnet=False, rows=("memory/*",),
                  note="upstream on the loop's own transports"),
        Contender("picows-cython", "picows", "cython_like", "picows", use_aiofastnet=True, rows=LISTENER,
                  note="upstream, with a listener in Cython"),
        Contender("picows.websockets", "picows", "websockets_like", "picows.websockets",
                  note="upstream's replacement for websockets"),
        Contender("websockets", "websockets", "websockets_like", "websockets", note="with its C speedups"),
        Contender("websockets-nospeedups", "websockets", "websockets_like", "websockets", speedups=False, rows=MASKED,
                  note="without its C speedups"),
        Contender("aiohttp", "aiohttp", "aiohttp_like", "aiohttp", note="with its C extensions"),
        Contender("c-epoll", "", "", "", program="c_epoll", lacks=NO_TLS,
                  note="what the work costs in C, on the codec and kernels of picows-core; no peer, a floor"),
        Contender("beast", "", "", "", program="beast", lacks={**NO_TLS, **NO_BROADCAST},
                  note="Boost.Beast, where its headers are"),
        Contender("ws", "ws", "", "", script="ws_server.js", rows=SERVED, least_warm_s=1.0,
                  note="Node's ws as a server, with bufferutil; wants node, npm and taskset"),
        Contender("uws", "uws", "", "", script="uws_server.py", rows=SERVED,
                  note="uWebSockets in C++ as a server, its callbacks in Python through socketify; wants libuv"),
        *map(_kernels, ("generic", "sse2", "avx2", "avx512", "neon")),
        Contender("memcpy", "", "", "memcpy", program="bench_kernels", rows=KERNELS,
                  note="of the C library: what copying without masking costs"),
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
