"""What users send with."""

from picows.abc import WSBuffer

from .frame_writer import FrameWriter

class WSTransport(FrameWriter):
    def send(
        self,
        msg_type: int,
        message: WSBuffer | None,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def send_ping(self, message: WSBuffer | None = None) -> None: ...
    def send_pong(self, message: WSBuffer | None = None) -> None: ...
    def send_close(self, close_code: int = ..., close_message: WSBuffer | None = None) -> None: ...
    def send_reuse_external_bytearray(
        self,
        msg_type: int,
        buffer: bytearray,
        msg_offset: int,
        fin: bool = True,
        rsv1: bool = False,
        rsv2: bool = False,
        rsv3: bool = False,
    ) -> None: ...
    def flush(self) -> None: ...

    # For the layers above (see picows.abc).
    def _lend_transport(self) -> None: ...
