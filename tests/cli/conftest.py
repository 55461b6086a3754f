"""The fixtures of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from fixtures.certificates import make_certificates
from fixtures.commands import command, each_command, each_echo_url, echo_url
from fixtures.far_ends import far_ends, free_port, situation

from picows.cli.main import main

__all__ = ["command", "each_command", "each_echo_url", "echo_url", "far_ends", "free_port", "situation"]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`Command.fails` without a process of its own, which would take longer than the failure."""

    def run(*arguments: str) -> str:
        code = main(arguments)
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert (code, printed.out, line[:8]) == (1, "", "picows: ")
        return line[8:]

    return run


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """authority.pem, and server.pem for 127.0.0.1 and localhost."""
    certificates = make_certificates()
    (tmp_path / "authority.pem").write_bytes(certificates.authority_pem)
    (tmp_path / "server.pem").write_bytes(certificates.server_pem)
    return tmp_path
