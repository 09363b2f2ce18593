import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from llm_flywheel.serving.local.processes import records
from llm_flywheel.serving.local.watchdog import start_watchdog

# What `flywheel run` does: a watchdog, a server, then work.
RUNNER = """
import sys, time
from pathlib import Path
from llm_flywheel.serving.local.processes import start
from llm_flywheel.serving.local.watchdog import start_watchdog
run_dir, run_id, ending = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
watchdog = start_watchdog(run_dir, run_id)
server = start("web", [sys.executable, "-c", "import time; time.sleep(600)"], run_dir=run_dir, run_id=run_id)
print(watchdog.pid, server.record.pid, flush=True)
if ending == "keep":
    watchdog.keep()
if ending == "sleep":
    time.sleep(600)
if ending == "crash":
    raise SystemError("crash")
"""


def runner(run_dir: Path, run_id: str, ending: str) -> tuple["subprocess.Popen[str]", psutil.Process, psutil.Process]:
    """A runner, its watchdog and its server."""
    popen = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(run_dir), run_id, ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert popen.stdout is not None
    watchdog, server = (psutil.Process(int(pid)) for pid in popen.stdout.readline().split())
    return popen, watchdog, server


def gone(process: psutil.Process) -> bool:
    """Wait until a process has ended; false when it has not after a generous while."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_is_killed_takes_its_servers_along(run_dir: Path, run_id: str, number: int) -> None:
    popen, watchdog, server = runner(run_dir, run_id, "sleep")
    os.kill(popen.pid, number)
    popen.wait(10)
    assert gone(watchdog)
    assert gone(server)
    assert records(run_dir) == []
    assert f"ended {server.pid} " in (run_dir / "logs" / "watchdog.log").read_text()


def test_a_runner_that_crashes_takes_its_servers_along(run_dir: Path, run_id: str) -> None:
    popen, watchdog, server = runner(run_dir, run_id, "crash")
    popen.wait(10)
    assert gone(watchdog)
    assert gone(server)


def test_keep_leaves_the_servers_running(run_dir: Path, run_id: str) -> None:
    popen, watchdog, server = runner(run_dir, run_id, "keep")
    popen.wait(10)
    assert gone(watchdog)
    assert server.is_running()
    assert [record.pid for record in records(run_dir)] == [server.pid]


def test_close_waits_until_everything_is_gone(server: list[str], run_dir: Path, run_id: str) -> None:
    from llm_flywheel.serving.local.processes import start

    watchdog = start_watchdog(run_dir, run_id)
    started = start("web", [*server, "0"], run_dir=run_dir, run_id=run_id)
    watchdog.close()
    assert gone(psutil.Process(started.record.pid))


def test_a_watchdog_that_was_killed_breaks_nothing(run_dir: Path, run_id: str) -> None:
    watchdog = start_watchdog(run_dir, run_id)
    os.kill(watchdog.pid, signal.SIGKILL)
    assert gone(psutil.Process(watchdog.pid))
    watchdog.keep()
    watchdog.close()


def test_the_watchdog_does_not_carry_the_run_id(run_dir: Path, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_RUN_ID", run_id)
    watchdog = start_watchdog(run_dir, run_id)
    assert "FLYWHEEL_RUN_ID" not in psutil.Process(watchdog.pid).environ()
    watchdog.close()
