"""A client that says hello, prints what comes back and hangs up. Run echo_server.py first."""

from __future__ import annotations

import asyncio
import sys

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect


class HelloListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, "Hello, world")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        else:
            print("echo:", frame.get_payload_as_utf8_text())
            transport.send_close(WSCloseCode.OK)


async def main(url: str) -> None:
    transport, _listener = await ws_connect(HelloListener, url)
    await transport.wait_disconnected()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001/"))
