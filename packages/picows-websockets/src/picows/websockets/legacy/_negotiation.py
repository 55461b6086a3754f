"""What a server chooses of a request: the origin that it accepts, the extensions, the subprotocol.

These are steps of the opening handshake that a subclass of WebSocketServerProtocol may override.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..datastructures import Headers, MultipleValuesError
from ..exceptions import InvalidHeader, InvalidOrigin
from ..extensions.base import Extension, ServerExtensionFactory
from ..headers import parse_subprotocol
from ..server import ServerProtocol
from ..typing import Origin, Subprotocol


class Negotiation:
    """The choices of WebSocketServerProtocol."""

    _select_subprotocol: Callable[[Sequence[Subprotocol], Sequence[Subprotocol]], Subprotocol] | None

    @staticmethod
    def process_origin(headers: Headers, origins: Sequence[Origin | None] | None = None) -> Origin | None:
        """The Origin header, or None.

        Args:
            headers: of the request.
            origins: which are accepted; None for all.

        Raises:
            InvalidOrigin: it is not accepted.
            InvalidHeader: there are several.
        """
        try:
            value = headers.get("Origin")
        except MultipleValuesError as exc:
            raise InvalidHeader("Origin", "multiple values") from exc
        origin = None if value is None else Origin(value)
        if origins is not None and origin not in origins:
            raise InvalidOrigin(origin)
        return origin

    @staticmethod
    def process_extensions(
        headers: Headers, available_extensions: Sequence[ServerExtensionFactory] | None
    ) -> tuple[str | None, list[Extension]]:
        """Choose among the extensions that a client offers.

        Args:
            headers: of the request.
            available_extensions: ours.

        Returns:
            The value of Sec-WebSocket-Extensions or None, and the extensions.

        Raises:
            InvalidHeaderFormat: the header is malformed.
        """
        return ServerProtocol(extensions=available_extensions).process_extensions(headers)

    def process_subprotocol(
        self, headers: Headers, available_subprotocols: Sequence[Subprotocol] | None
    ) -> Subprotocol | None:
        """Choose among the subprotocols that a client offers; None if it offers none, or we have none.

        Args:
            headers: of the request.
            available_subprotocols: ours.

        Raises:
            InvalidHeaderFormat: the header is malformed.
        """
        values = headers.get_all("Sec-WebSocket-Protocol")
        if not values or not available_subprotocols:
            return None
        offers = [element for value in values for element in parse_subprotocol(value)]
        return self.select_subprotocol(offers, available_subprotocols)

    def select_subprotocol(
        self, client_subprotocols: Sequence[Subprotocol], server_subprotocols: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """Choose the subprotocol that stands nearest to the front of both lists.

        Args:
            client_subprotocols: in the client's order.
            server_subprotocols: in ours.

        Returns:
            None if no subprotocol is in both lists.
        """
        if self._select_subprotocol is not None:
            return self._select_subprotocol(client_subprotocols, server_subprotocols)
        common = [each for each in client_subprotocols if each in server_subprotocols]
        return min(common, key=lambda x: client_subprotocols.index(x) + server_subprotocols.index(x), default=None)
