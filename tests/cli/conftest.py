"""The fixtures of the command line."""

from __future__ import annotations

from fixtures.commands import command, each_command, each_echo_url, echo_url

__all__ = ["command", "each_command", "each_echo_url", "echo_url"]
