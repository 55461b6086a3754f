"""A language server of pygls and its client: a request, a notification, the end."""

from __future__ import annotations

import asyncio
import socket
import threading

from lsprotocol import types
from pygls.lsp.client import LanguageClient
from pygls.lsp.server import LanguageServer

server = LanguageServer("compat", "1")


@server.feature(types.TEXT_DOCUMENT_COMPLETION)
def complete(params: types.CompletionParams) -> list[types.CompletionItem]:
    return [types.CompletionItem(label=f"line {params.position.line}")]


async def main(port: int) -> None:
    client = LanguageClient("compat-client", "1")
    await client.start_ws("127.0.0.1", port)
    answer = await client.initialize_async(
        types.InitializeParams(capabilities=types.ClientCapabilities(), root_uri="file:///nowhere")
    )
    print(answer.server_info)
    client.initialized(types.InitializedParams())
    place = types.CompletionParams(
        text_document=types.TextDocumentIdentifier("file:///nowhere/a"), position=types.Position(7, 0)
    )
    print([item.label for item in await client.text_document_completion_async(place)])
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()


def wait_until_listening(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            continue


with socket.create_server(("127.0.0.1", 0)) as free:
    chosen = free.getsockname()[1]
threading.Thread(target=server.start_ws, args=("127.0.0.1", chosen), daemon=True).start()
wait_until_listening(chosen)
asyncio.run(main(chosen))
