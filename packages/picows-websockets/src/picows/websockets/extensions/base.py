"""What an extension and its two factories look like. An extension belongs to one connection, a factory to many.

A client's factory writes an offer and judges the answer; a server's factory judges the offer and writes the answer.
Either declines with NegotiationError.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..frames import Frame
from ..typing import ExtensionName, ExtensionParameter

__all__ = ["Extension", "ClientExtensionFactory", "ServerExtensionFactory"]


class Extension:
    """What was agreed for one connection.

    Attributes:
        name: the token in Sec-WebSocket-Extensions.
    """

    name: ExtensionName

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Undo what the peer's `encode` did to a frame.

        Args:
            frame: as it arrived; it may be returned itself.
            max_size: how many bytes the payload of the result may have; None for no limit.

        Raises:
            PayloadTooBig: it would have more.
            ProtocolError: the peer broke the rules of the extension.
        """
        raise TypeError(f"{type(self).__name__} must override decode()")

    def encode(self, frame: Frame) -> Frame:
        """Change a frame before it is sent; it may be returned itself."""
        raise TypeError(f"{type(self).__name__} must override encode()")


class ClientExtensionFactory:
    """How a client negotiates an extension.

    Attributes:
        name: the token in Sec-WebSocket-Extensions.
    """

    name: ExtensionName

    def get_request_params(self) -> Sequence[ExtensionParameter]:
        """The parameters of the offer."""
        raise TypeError(f"{type(self).__name__} must override get_request_params()")

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> Extension:
        """Judge the server's answer.

        Args:
            params: the parameters of the answer.
            accepted_extensions: what earlier elements of the header agreed on.

        Raises:
            NegotiationError: the answer is not acceptable.
        """
        raise TypeError(f"{type(self).__name__} must override process_response_params()")


class ServerExtensionFactory:
    """How a server negotiates an extension.

    Attributes:
        name: the token in Sec-WebSocket-Extensions.
    """

    name: ExtensionName

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Judge a client's offer.

        Args:
            params: the parameters of the offer.
            accepted_extensions: what earlier elements of the header agreed on.

        Returns:
            The parameters of the answer, and the extension.

        Raises:
            NegotiationError: the offer is declined; the connection goes on without it.
        """
        raise TypeError(f"{type(self).__name__} must override process_request_params()")
