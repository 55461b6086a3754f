"""WebSocket for uvicorn, on the engine: `uvicorn --ws picows.websockets.uvicorn:WebSocketProtocol application:app`.

uvicorn's HTTP protocol hands an upgrade request over to a `WebSocketProtocol`. That runs the ASGI application and
answers the request; once it is accepted the engine's own protocol takes the transport over, and frames no longer pass
through Python of ours:

    protocol    what uvicorn calls: the request, the application's task, accept, the end
    refusal     every other answer to the request: 403, 500, a response of the application's
    connection  the engine's listener, in the messages of ASGI
    keepalive   --ws-ping-interval and --ws-ping-timeout

Only this package imports uvicorn.
"""

from .protocol import WebSocketProtocol

__all__ = ["WebSocketProtocol"]
