"""The program that ``flywheel dashboard`` becomes."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from llm_flywheel.dashboard.serve import command


def test_it_serves_this_machine_only_and_reports_to_nobody():
    arguments = command(8501)
    assert "--server.address=127.0.0.1" in arguments
    assert "--browser.gatherUsageStats=false" in arguments


def test_main_becomes_a_server(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from llm_flywheel.components.common.settings import Settings\n"
        "from llm_flywheel.dashboard.serve import main\n"
        f"main(Settings.from_env(), {port})\n"
    )
    env = {**os.environ, "FLYWHEEL_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        answer = b""
        while not answer and time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as response:
                    answer = response.read()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        assert answer == b"ok"
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=20)
    assert f"http://127.0.0.1:{port}" in out
