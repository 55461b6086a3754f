"""Topics within one process, and its connections.

A client sends JSON: {"subscribe": topic}, {"unsubscribe": topic}, {"publish": topic, "data": anything}; it receives
{"welcome": process}, {"subscribed": topic}, {"topic": topic, "data": anything}, {"dropped": number}, {"error": text}.

Its next message is read when the last one was dealt with, so that a slow broker slows clients down instead of filling
memory. In the other direction each connection has a queue of its own: it is used while the write buffer is full, and
when it is full too the client is too slow, and is closed, or loses the oldest messages and is told how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import deque
from typing import Any, Deque, Dict, List, Set

from backplane import Backplane, BackplaneDown

from picows import WSCloseCode, WSConnectionClosed, WSMessageListener, WSMsgType, WSTransport, ws_broadcast

TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_TOPICS = 100


class Member(WSMessageListener):
    """A connection.

    Args:
        hub: of this process.
        max_queue: messages that may wait for the peer.
        drops: what happens to one that is too slow: True loses its oldest messages, False is closed with 1013.
    """

    def __init__(self, hub: Hub, max_queue: int, drops: bool) -> None:
        super().__init__(max_message_size=64 * 1024)
        self.topics: Set[str] = set()
        self._hub = hub
        self._max_queue = max_queue
        self._drops = drops
        self._queue: Deque[bytes] = deque()
        self._dropped = 0
        self.is_full = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        transport.underlying_transport.set_write_buffer_limits(64 * 1024)
        self._hub.members.add(self)
        self._task = asyncio.create_task(self._read())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        self._hub.members.discard(self)
        self._queue.clear()

    async def _read(self) -> None:
        self.tell(welcome=os.getpid())
        try:
            async for message in self:
                await self._obey(message)
        except WSConnectionClosed:
            pass
        finally:
            for topic in list(self.topics):
                await self._hub.leave(self, topic)

    async def _obey(self, message: Any) -> None:
        try:
            wish = json.loads(message)
            if "subscribe" in wish:
                await self._hub.join(self, _topic(wish["subscribe"]))
                self.tell(subscribed=wish["subscribe"])
            elif "unsubscribe" in wish:
                await self._hub.leave(self, _topic(wish["unsubscribe"]))
            else:
                await self._hub.publish(_topic(wish["publish"]), wish["data"])
        except BackplaneDown:
            self.tell(error="try again later")
        except (ValueError, TypeError, KeyError, RecursionError) as exc:  # the last one for [[[[...
            self.tell(error=f"not understood: {exc!r}")

    def tell(self, **what: Any) -> None:
        """Send a message to this connection alone."""
        self.send_or_keep(json.dumps(what).encode())

    def send_or_keep(self, message: bytes) -> None:
        """Send it, or keep it while the peer does not read."""
        if not self.is_full:
            self.transport.send(WSMsgType.TEXT, message)
        elif len(self._queue) < self._max_queue:
            self._queue.append(message)
        elif self._drops:
            self._queue.append(message)  # first: the queue of --max-queue 0 is empty
            self._queue.popleft()
            self._dropped += 1
        else:
            self._queue.clear()
            self.transport.send_close(WSCloseCode.TRY_AGAIN_LATER, "too slow")
            self.transport.disconnect()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_full = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_full = False
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.tell(dropped=dropped)
        while self._queue and not self.is_full:
            self.transport.send(WSMsgType.TEXT, self._queue.popleft())


class Hub:
    """Who of this process wants what.

    Args:
        backplane: made by the caller with `deliver`; set before the first connection.
    """

    backplane: Backplane

    def __init__(self) -> None:
        self.members: Set[Member] = set()
        self._topics: Dict[str, Set[Member]] = {}

    async def join(self, member: Member, topic: str) -> None:
        """Return when the member will get what is published from now on."""
        if len(member.topics) >= MAX_TOPICS and topic not in member.topics:
            raise ValueError(f"more than {MAX_TOPICS} topics")
        member.topics.add(topic)
        self._topics.setdefault(topic, set()).add(member)
        await self.backplane.subscribe(topic)

    async def leave(self, member: Member, topic: str) -> None:
        """The process wants it no longer if nobody does."""
        member.topics.discard(topic)
        left = self._topics.get(topic)
        if left is not None:
            left.discard(member)
            if not left:
                del self._topics[topic]
                await self.backplane.unsubscribe(topic)

    async def publish(self, topic: str, data: Any) -> None:
        """To everybody, everywhere."""
        await self.backplane.publish(topic, json.dumps({"topic": topic, "data": data}).encode())

    def deliver(self, topic: str, message: bytes) -> None:
        """What the backplane brings: one frame for all who can take it."""
        ready: List[WSTransport] = []
        for member in list(self._topics.get(topic, ())):
            if member.is_full:
                member.send_or_keep(message)
            else:
                ready.append(member.transport)
        ws_broadcast(ready, WSMsgType.TEXT, message)

    def health(self) -> Dict[str, Any]:
        """What /health says."""
        return {
            "pid": os.getpid(),
            "is_connected": self.backplane.is_connected,
            "connections": len(self.members),
            "topics": len(self._topics),
        }


def _topic(name: object) -> str:
    if not isinstance(name, str) or not TOPIC.fullmatch(name):
        raise ValueError(f"a topic has 1 to 64 letters, digits, '-' and '_', got {name!r}")
    return name
