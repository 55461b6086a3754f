"""A server that sends every message back. Run it, then run echo_client.py."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class EchoListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        print("connected:", transport.underlying_transport.get_extra_info("peername"))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), fin=bool(frame.fin))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        print("disconnected")


def listener_for(request: WSUpgradeRequest) -> WSListener:
    # Look at request.path and request.headers here; None answers 404.
    return EchoListener()


async def main() -> None:
    server = await ws_create_server(listener_for, "127.0.0.1", 9001)
    for sock in server.sockets:
        print("listening on", sock.getsockname())
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
