"""What a connection is called in logs: its id and its logger, which are made when they are first asked for."""

from __future__ import annotations

import logging
import uuid
import weakref
from typing import Any

from .typing import LoggerLike


class Named:
    """Has an id and a logger."""

    _logger: LoggerLike
    #: The connection that the records of the logger refer to, until the logger knows it.
    _owner: weakref.ref[Any] | None = None
    _id: uuid.UUID | None = None

    @property
    def id(self) -> uuid.UUID:
        """A UUID, for logs."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @id.setter
    def id(self, value: uuid.UUID) -> None:
        self._id = value

    @property
    def logger(self) -> LoggerLike:
        """The logger. That of a connection of the asyncio API has it in its records, as `websocket`."""
        if self._owner is not None:
            owner, self._owner = self._owner(), None
            if owner is not None:
                self._logger = logging.LoggerAdapter(self._logger, {"websocket": weakref.proxy(owner)})
        return self._logger

    @logger.setter
    def logger(self, logger: LoggerLike) -> None:
        self._owner = None
        self._logger = logger
