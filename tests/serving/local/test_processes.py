import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.local.http import call
from llm_flywheel.serving.local.processes import RUN_ID, alive, free_port, reap, records, start
from llm_flywheel.serving.local.ready import wait_ready


def members(run_id: str) -> set[int]:
    """Live processes that carry the run's id."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_ID) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def started(server: list[str], run_dir: Path, run_id: str, *options: str) -> int:
    """Start the small server, wait for it, and return its process id."""
    port = free_port()
    made = start("web", [*server, str(port), *options], run_dir=run_dir, run_id=run_id, port=port)
    wait_ready(made, f"http://127.0.0.1:{port}/health", 30)
    return made.record.pid


def test_a_server_runs_in_its_own_session_and_is_recorded(server: list[str], run_dir: Path, run_id: str) -> None:
    pid = started(server, run_dir, run_id)
    assert os.getsid(pid) == pid
    assert psutil.Process(pid).environ()[RUN_ID] == run_id
    written = json.loads((run_dir / "processes" / "web.json").read_text())
    assert (written["pid"], written["session"], written["name"]) == (pid, pid, "web")
    assert call(f"http://127.0.0.1:{written['port']}/health").status == 200
    assert [alive(record) for record in records(run_dir)] == [True]


def test_reap_ends_the_server_and_forgets_it(server: list[str], run_dir: Path, run_id: str) -> None:
    pid = started(server, run_dir, run_id)
    ended = reap(run_dir, run_id)
    assert [line.split()[0] for line in ended] == [str(pid)]
    assert (members(run_id), records(run_dir), reap(run_dir, run_id)) == (set(), [], [])


def test_reap_kills_what_does_not_listen_to_term(server: list[str], run_dir: Path, run_id: str) -> None:
    started(server, run_dir, run_id, "stubborn")
    reap(run_dir, run_id, grace_s=0.3)
    assert members(run_id) == set()


@pytest.mark.parametrize("option", ["child", "detached"])
def test_reap_finds_children_of_a_dead_leader(server: list[str], run_dir: Path, run_id: str, option: str) -> None:
    leader = started(server, run_dir, run_id, option)
    assert len(members(run_id)) == 2
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    assert len(members(run_id)) == 1
    reap(run_dir, run_id)
    assert members(run_id) == set()


def test_reap_goes_by_the_records_alone_without_a_run_id(server: list[str], run_dir: Path, run_id: str) -> None:
    started(server, run_dir, run_id)
    stray = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, RUN_ID: run_id}
    )  # fmt: skip
    reap(run_dir, "")
    assert members(run_id) == {stray.pid}
    reap(run_dir, run_id)
    stray.wait(10)
    assert members(run_id) == set()


def test_reap_leaves_other_runs_and_its_own_ancestors_alone(server: list[str], run_dir: Path, run_id: str) -> None:
    other = started(server, run_dir / "other", f"{run_id}-other")
    code = (
        "import sys; from pathlib import Path; from llm_flywheel.serving.local.processes import reap;"
        f"print(reap(Path({str(run_dir)!r}), {run_id!r})); print('alive')"
    )
    # The caller and its parent both carry the run's id, as a step and `flywheel run` do.
    parent = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
    done = subprocess.run(
        [sys.executable, "-c", parent], env={**os.environ, RUN_ID: run_id}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["[]", "alive"])
    assert members(f"{run_id}-other") == {other}
    reap(run_dir / "other", f"{run_id}-other")


def test_a_record_whose_process_id_now_means_another_process_ends_nothing(run_dir: Path, run_id: str) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    record = {"name": "web", "pid": bystander.pid, "session": bystander.pid, "argv": [], "port": 0, "log": ""}
    (run_dir / "processes").mkdir()
    (run_dir / "processes" / "web.json").write_text(json.dumps({**record, "started": 1000.0}))
    try:
        assert reap(run_dir, run_id) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_damaged_record_does_not_stop_the_others(server: list[str], run_dir: Path, run_id: str) -> None:
    started(server, run_dir, run_id)
    (run_dir / "processes" / "torn.json").write_text('{"name": "to')
    assert [record.name for record in records(run_dir)] == ["web"]
    reap(run_dir, run_id)
    assert members(run_id) == set()


def test_a_program_that_is_not_there_is_explained(run_dir: Path, run_id: str) -> None:
    with pytest.raises(FlywheelError, match="cannot start web: .*No such file"):
        start("web", ["/no/such/program"], run_dir=run_dir, run_id=run_id)
