"""The trio API needs trio, and is loaded when it is asked for. Its names and signatures: test_names.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("picows.websockets needs Python 3.11, as websockets 17 does", allow_module_level=True)
pytest.importorskip("picows.websockets", reason="picows-websockets is not installed")

PROGRAM = """
import sys
import picows.websockets
assert not hasattr(picows.websockets.sync, "trio") and "trio" not in sys.modules
sys.modules["trio"] = None
try:
    import picows.websockets.trio.client
except ImportError as exc:
    print(exc)
"""


def test_without_trio() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert output == "picows.websockets.trio needs trio: pip install picows-websockets[trio]\n"


INSTALLED = """
import picows.websockets
picows.websockets.install()
import picows.websockets.trio.server, websockets.trio.client, websockets.trio.server
assert websockets.trio.client.connect.__module__ == "picows.websockets.trio.client"
assert not hasattr(websockets.trio.client.connect, "__await__")
assert websockets.trio.server is picows.websockets.trio.server
print(websockets.trio.server.serve.__name__)
"""


def test_under_the_name_of_the_library() -> None:
    pytest.importorskip("trio", reason="trio is not installed: pip install trio")
    output = subprocess.run([sys.executable, "-c", INSTALLED], capture_output=True, text=True, check=True).stdout
    assert output == "serve\n"
