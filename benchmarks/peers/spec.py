"""One measurement, as its processes are told of it: a record that travels as JSON in argv.

Every process of a measurement gets the same record, so that what was measured can be read from one place and is
stored with the result. Nothing here imports a WebSocket library: the load generators read it too.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, List, Optional

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Largest message that every library is told to accept, in bytes (the memory row sends 10 MiB)."""

BACKLOG = 1024
"""Length of the accept queue that every server is told to use."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """Workload, library and surroundings of one measurement."""

    row: str
    """Name of the workload: echo, flood, ..."""
    role: str = "echo"
    """What the process under test does: echo (both ends), client, server, receive, kernel."""
    load: str = ""
    """Load generator at the other end, or nothing."""
    server: str = "echo"
    """What a server answers: echo or broadcast."""
    driver: str = ""
    module: str = ""
    loop: str = "asyncio"
    tls: bool = False
    size: int = 256
    text: bool = False
    deflate: bool = False
    seconds: float = 1.0
    least_warm_s: float = 0.0
    """Warm-up, in seconds, if a quarter of what is measured is less: code that is compiled while it runs needs it."""
    connections: int = 1
    in_flight: int = 1
    repeat: int = 1
    """Broadcasts per callback."""
    big: int = 0
    """Size of the one large message of the memory row, in bytes."""
    consume_us: float = 0.0
    """How long the receiver is busy with each message, in microseconds of CPU, not counted."""
    use_aiofastnet: Optional[bool] = None
    speedups: bool = True
    cpu: int = 0
    load_cpu: int = 0
    port: int = 0
    pid: int = 0
    """Process whose CPU clock the other end reads."""
    cert: str = ""
    key: str = ""

    @property
    def warm_s(self) -> float:
        """How long to run before measuring, in seconds."""
        return max(0.25 * self.seconds, self.least_warm_s)

    def to_json(self) -> str:
        """Returns: the record as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Spec:
        """Args: line: what `to_json` returned. Returns: the record."""
        fields: Dict[str, Any] = json.loads(line)
        return cls(**fields)

    def to_words(self) -> List[str]:
        """Returns: the record as `name=value` words, for programs that would need a parser for JSON."""
        fields = dataclasses.asdict(self).items()
        return [f"{name}={int(value) if isinstance(value, bool) else value}" for name, value in fields]

    def but(self, **changes: Any) -> Spec:
        """Returns: a copy with these fields changed."""
        return dataclasses.replace(self, **changes)
