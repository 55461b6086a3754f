"""What connects the processes: a message published in one is delivered in each that has subscribed to its topic.

A process delivers only what the broker has sent it, also what it has published itself, so that all see one order per
topic. Both brokers deliver at most once: what is published while a process is cut off from its broker is not repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Callable, Dict, Optional, Set

log = logging.getLogger("scaleout")

Deliver = Callable[[str, bytes], None]
PREFIX = "scaleout."
RETRY_S = 0.2


class BackplaneDown(ConnectionError):
    """The broker cannot be reached now."""


class Backplane:
    """Within one process; the others derive from it.

    Attributes:
        deliver: called with topic and message for each topic that is subscribed to.
        is_connected: what is published now reaches everybody.
    """

    def __init__(self, deliver: Deliver) -> None:
        self.deliver = deliver
        self.is_connected = True

    async def run(self) -> None:
        """Keep the broker's connection until cancelled. It returns only if that became impossible."""
        await asyncio.Event().wait()

    async def subscribe(self, topic: str) -> None:
        """Return when what is published from now on will be delivered; waits for a broker that is down."""

    async def unsubscribe(self, topic: str) -> None:
        """Deliver nothing more of it."""

    async def publish(self, topic: str, message: bytes) -> None:
        """Publish; BackplaneDown if that is not possible."""
        self.deliver(topic, message)


class RedisBackplane(Backplane):
    """Redis' publish and subscribe; one connection listens, others publish."""

    #: A subscription that is always there, because without any redis-py stops listening.
    _CONTROL = ""

    def __init__(self, deliver: Deliver, url: str) -> None:
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        super().__init__(deliver)
        self.is_connected = False
        self._errors = (RedisError, OSError)
        # We try again ourselves: a publication that is tried twice could arrive twice.
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=2, socket_keepalive=True
        )
        self._pubsub: Any = None
        self._topics: Set[str] = set()
        self._confirmed: Dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Listen; after a failure connect again and subscribe to everything."""
        try:
            while True:
                try:
                    await self._listen()
                except self._errors as exc:
                    log.warning("redis: %s", exc)
                self._set_down()
                await asyncio.sleep(RETRY_S)
        finally:
            await self._redis.aclose()

    async def _listen(self) -> None:
        async with self._redis.pubsub() as pubsub:
            wanted = set(self._topics)
            await pubsub.subscribe(*[PREFIX + topic for topic in (self._CONTROL, *wanted)])
            self._pubsub = pubsub
            for command, changed in (("subscribe", self._topics - wanted), ("unsubscribe", wanted - self._topics)):
                if changed:  # meanwhile, when `_tell` had nobody to tell it to
                    await getattr(pubsub, command)(*[PREFIX + topic for topic in changed])
            async for event in pubsub.listen():
                topic = event["channel"].decode()[len(PREFIX) :]
                if event["type"] == "message":
                    self.deliver(topic, event["data"])
                elif event["type"] == "subscribe":
                    self.is_connected = True
                    self._confirmation(topic).set()

    def _set_down(self) -> None:
        self.is_connected, self._pubsub = False, None
        for event in self._confirmed.values():
            event.clear()

    def _confirmation(self, topic: str) -> asyncio.Event:
        return self._confirmed.setdefault(topic, asyncio.Event())

    async def subscribe(self, topic: str) -> None:
        """See Backplane."""
        self._topics.add(topic)
        await self._tell("subscribe", topic)
        await self._confirmation(topic).wait()

    async def unsubscribe(self, topic: str) -> None:
        """See Backplane."""
        self._topics.discard(topic)
        self._confirmed.pop(topic, None)
        await self._tell("unsubscribe", topic)

    async def _tell(self, command: str, topic: str) -> None:
        if self._pubsub is not None:
            with contextlib.suppress(*self._errors):  # `run` hears of it too, and begins anew with what is wanted then
                await getattr(self._pubsub, command)(PREFIX + topic)

    async def publish(self, topic: str, message: bytes) -> None:
        """See Backplane."""
        try:
            await self._redis.publish(PREFIX + topic, message)
        except self._errors as exc:
            raise BackplaneDown(f"redis: {exc}") from exc


class NatsBackplane(Backplane):
    """NATS core; its client reconnects and subscribes again by itself."""

    def __init__(self, deliver: Deliver, url: str) -> None:
        import nats.aio.client
        import nats.errors

        super().__init__(deliver)
        self.is_connected = False
        self._url = url
        self._errors = (nats.errors.Error, OSError, asyncio.TimeoutError)
        self._nats: Any = nats.aio.client.Client()
        self._subscriptions: Dict[str, Any] = {}
        self._is_up = asyncio.Event()

    async def run(self) -> None:
        """Connect, as often as it takes, and stay."""

        async def on_up() -> None:
            self.is_connected = True
            self._is_up.set()

        async def on_down() -> None:
            self.is_connected = False
            self._is_up.clear()

        async def on_error(exc: Exception) -> None:
            log.warning("nats: %s", exc or type(exc).__name__)

        closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        options: Dict[str, Any] = {"max_reconnect_attempts": -1, "reconnect_time_wait": RETRY_S, "connect_timeout": 2}
        await self._nats.connect(
            self._url,
            error_cb=on_error,
            disconnected_cb=on_down,
            reconnected_cb=on_up,
            closed_cb=on_closed,
            **options,
        )
        await on_up()
        try:
            await closed.wait()
        finally:
            await self._nats.close()

    async def subscribe(self, topic: str) -> None:
        """See Backplane."""
        await self._is_up.wait()

        async def on_message(message: Any) -> None:
            self.deliver(topic, message.data)

        if topic not in self._subscriptions:
            self._subscriptions[topic] = None  # nobody else subscribes meanwhile
            self._subscriptions[topic] = await self._nats.subscribe(PREFIX + topic, cb=on_message)
        while True:
            try:
                await self._nats.flush(2)  # the server answers in order: it knows of the subscription by then
                return
            except self._errors:
                await asyncio.sleep(RETRY_S)

    async def unsubscribe(self, topic: str) -> None:
        """See Backplane."""
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            with contextlib.suppress(*self._errors):
                await subscription.unsubscribe()

    async def publish(self, topic: str, message: bytes) -> None:
        """See Backplane."""
        if not self._nats.is_connected:  # it would keep the message and send it some time
            raise BackplaneDown("nats: not connected")
        try:
            await self._nats.publish(PREFIX + topic, message)
        except self._errors as exc:
            raise BackplaneDown(f"nats: {exc}") from exc


def make_backplane(kind: str, url: Optional[str], deliver: Deliver) -> Backplane:
    """`kind` is none, redis or nats."""
    if kind == "redis":
        return RedisBackplane(deliver, url or "redis://127.0.0.1:6379")
    if kind == "nats":
        return NatsBackplane(deliver, url or "nats://127.0.0.1:4222")
    return Backplane(deliver)
