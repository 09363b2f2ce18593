import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_flywheel.serving.local.processes import reap

SERVER = '''
"""A small real server: python server.py PORT [stubborn] [child] [detached] [slow] [fail=TEXT] [taken=PORT]"""
import os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

options = sys.argv[2:]
for option in options:
    if option.startswith("fail="):
        print("starting")
        raise ValueError(option[5:])
if "stubborn" in options:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "child" in options:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
if "detached" in options:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
if "slow" in options:
    time.sleep(600)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''


@pytest.fixture
def server(tmp_path: Path) -> list[str]:
    """Start of the command line of a small real server; a port and options follow."""
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    return [sys.executable, str(script)]


@pytest.fixture
def run_dir(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A run folder; whatever its run started is gone after the test."""
    folder = tmp_path / "run"
    folder.mkdir()
    yield folder
    reap(folder, run_id_of(folder), grace_s=0)


def run_id_of(folder: Path) -> str:
    """A run id that no other test uses."""
    return f"test-{folder.parent.name}"


@pytest.fixture
def run_id(run_dir: Path) -> str:
    return run_id_of(run_dir)
