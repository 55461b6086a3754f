"""A transport that reads again also hands over what it has decrypted already."""

from __future__ import annotations

from typing import Any, Callable, List

from picows.resuming import resume_reading


class Transport:
    def __init__(self) -> None:
        self.calls: List[str] = []

    def resume_reading(self) -> None:
        self.calls.append("resume")


class FastnetTls(Transport):
    def _retry_ssl_read(self) -> None:
        self.calls.append("retry")


class Loop:
    def __init__(self) -> None:
        self.soon: List[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.soon.append(callback)


def test_of_a_loop() -> None:
    loop, transport = Loop(), Transport()
    resume_reading(transport, loop)
    assert (transport.calls, loop.soon) == (["resume"], [])


def test_of_aiofastnet_with_tls() -> None:
    loop, transport = Loop(), FastnetTls()
    resume_reading(transport, loop)
    assert transport.calls == ["resume"]  # the caller is not called back from within
    for callback in loop.soon:
        callback()
    assert transport.calls == ["resume", "retry"]
