"""The step killed at every write and run again, with a real gateway, ledger and registry; and a real `kill -9`."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.rollout import EVIDENCE_NAME, INPUTS_NAME, run
from llm_flywheel.pipelines.resume import REPORT_NAME, resume
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.backend import GatewayBackend
from llm_flywheel.serving.rollout.journal import ABANDONED, DECIDED, SETTLED, SILENT_INTERVALS, START, Journal
from llm_flywheel.serving.rollout.replay import replay_file
from tests.components.rollout.test_rollout import CONFIG, aliases


class Killed(BaseException):
    """What `kill -9` is to a process."""


@contextmanager
def killed_at(write: int, after: str = "") -> Iterator[list[str]]:
    """Let this process do no more than ``write`` writes to ledger and registry, counted from a journal entry on."""
    writes: list[str] = []
    begun = not after

    def execute(connection, cursor, statement, parameters, context, many) -> None:
        nonlocal begun
        verb = statement.split(maxsplit=1)[0]
        if verb not in ("INSERT", "UPDATE", "DELETE"):
            return
        begun = begun or after in str(parameters)
        if begun and len(writes) >= write:
            raise Killed
        if begun:
            writes.append(statement)

    event.listen(Engine, "before_cursor_execute", execute)
    try:
        yield writes
    finally:
        event.remove(Engine, "before_cursor_execute", execute)


@pytest.fixture
def roll_out(endpoint_url, dataset, settings, registry, tmp_path):
    def call(**changes):
        paths = tmp_path / "evidence.json", tmp_path / "report.html"
        return run(CONFIG, endpoint_url, "support", "2", dataset, *paths, replace(settings, **changes))

    return call


def journal(settings, run_id=None):
    with Ledger.open(settings.ledger_url) as ledger:
        return Journal(ledger, settings.run_id if run_id is None else run_id, "support", "2")


def weights(endpoint_url):
    return GatewayBackend(endpoint_url, "support", "admin-test").weights()


def test_killed_at_every_write_of_a_promotion_it_ends_promoted(roll_out, registry, settings, endpoint_url, tmp_path):
    with killed_at(0, after=f"'{DECIDED}'"), pytest.raises(Killed):
        roll_out()
    looks = journal(settings).looks
    assert looks[-1]["decision"]["action"] == "promote"
    assert aliases(registry) == {"champion": "1", "challenger": "2"}
    deaths = 0
    while True:
        try:
            with killed_at(deaths + 1):
                result = roll_out()
            break
        except Killed:
            deaths += 1
            # Whoever is champion has the traffic.
            assert weights(endpoint_url)["canary"] == (100 if aliases(registry)["champion"] == "2" else 0)
    assert deaths >= 8
    assert (result.outcome.decision, aliases(registry)) == ("promote", {"champion": "2"})
    assert registry.get_model_version("support", "2").tags["flywheel.rollout.previous_champion"] == "1"
    assert journal(settings).looks == looks
    with Ledger.open(settings.ledger_url) as ledger:
        assert ledger.verify_audit().ok
        digests = {event.details["evidence"] for event in ledger.audit_events(action="rollout.decision")}
        assert ledger.audit_events(action="rollout.aliases")
    assert digests == {json.loads((tmp_path / "evidence.json").read_text())["digest"]}
    assert replay_file(settings.run_dir / EVIDENCE_NAME).ok


def test_an_error_after_the_alias_has_moved_leaves_traffic_with_the_champion(
    roll_out, registry, endpoint_url, tmp_path
):
    with killed_at(0, after="rollout.aliases"), pytest.raises(Killed):
        roll_out()
    assert aliases(registry) == {"champion": "2"}
    (tmp_path / "a_file").write_text("")
    with pytest.raises((FlywheelError, OSError)):
        roll_out(object_store=(tmp_path / "a_file").as_uri())
    assert weights(endpoint_url) == {"stable": 0, "canary": 100}
    assert roll_out().outcome.decision == "promote"


def test_killed_at_writes_of_a_rollback_it_ends_rolled_back(roll_out, registry, server, settings, endpoint_url):
    server.failing.add("v2")
    with killed_at(0, after=f"'{DECIDED}'"), pytest.raises(Killed):
        roll_out()
    server.failing.clear()  # a decision is not made again
    for writes in (1, 3, 6):
        with killed_at(writes), pytest.raises(Killed):
            roll_out()
    result = roll_out()
    assert (result.outcome.decision, aliases(registry)) == ("rollback", {"champion": "1"})
    assert weights(endpoint_url) == {"stable": 100, "canary": 0}
    assert journal(settings).phase == SETTLED


def test_a_finished_rollout_only_writes_its_files_again(roll_out, registry, settings, endpoint_url, tmp_path):
    first = roll_out()
    before = (tmp_path / "evidence.json").read_bytes()
    registry.set_registered_model_alias("support", "champion", "1")
    GatewayBackend(endpoint_url, "support", "admin-test").set_weights({"stable": 100, "canary": 0})
    (tmp_path / "evidence.json").unlink()
    again = roll_out()
    assert (again.outcome, again.evidence_uri, again.requests) == (first.outcome, first.evidence_uri, first.requests)
    assert (tmp_path / "evidence.json").read_bytes() == before
    assert "Canary promoted" in (tmp_path / "report.html").read_text()
    assert (aliases(registry)["champion"], weights(endpoint_url)["canary"]) == ("1", 0)


def test_a_run_that_another_has_taken_over_is_refused(roll_out, settings, registry):
    with Ledger.open(settings.ledger_url) as ledger:
        made = Journal(ledger, settings.run_id, "support", "2")
        made.append(START, {})
        made.append(ABANDONED, {})
    with pytest.raises(FlywheelError, match="another run has taken over"):
        roll_out()


def test_a_running_rollout_of_another_run_is_waited_for(roll_out, settings, registry, endpoint_url):
    with Ledger.open(settings.ledger_url) as ledger:
        plan = CONFIG.plan.model_dump()
        Journal(ledger, "run-0", "support", "2").append(START, {"plan": plan})
        old = Journal(ledger, "run-00", "support", "1", lambda: time.time() - 100)
        old.append(START, {"plan": plan})
    GatewayBackend(endpoint_url, "support", "admin-test").set_weights({"stable": 90, "canary": 10})
    with pytest.raises(FlywheelError, match="a rollout of support runs: version 2, run run-0"):
        roll_out()
    assert weights(endpoint_url) == {"stable": 100, "canary": 0}  # of this run's own gateway: nobody would watch it


STEP = """
import json, sys
from dataclasses import fields
from pathlib import Path
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.rollout import run
given = json.loads(sys.argv[1])
paths = ("home", "run_dir")
settings = Settings(**{k: Path(v) if k in paths else v for k, v in given["settings"].items()})
folder = Path(given["folder"])
run(RolloutConfig.model_validate(given["config"]), given["url"], given["name"], given["version"],
    Path(given["dataset"]), folder / "evidence.json", folder / "report.html", settings)
"""


def start_step(
    config: RolloutConfig, url: str, name: str, version: str, dataset: Path, folder: Path, settings: Settings
) -> subprocess.Popen:
    """The step in a process of its own, with its files in ``folder``."""
    given = {
        "config": config.model_dump(mode="json"),
        "url": url,
        "name": name,
        "version": version,
        "dataset": str(dataset),
        "folder": str(folder),
        "settings": asdict(settings),
    }
    return subprocess.Popen([sys.executable, "-c", STEP, json.dumps(given, default=str)])


def test_after_a_real_kill_a_person_goes_on_with_the_run(
    endpoint_url, dataset, settings, registry, tmp_path, capsys, monkeypatch
):
    process = start_step(CONFIG, endpoint_url, "support", "2", dataset, tmp_path, settings)
    try:
        deadline = time.monotonic() + 60
        while journal(settings).warming_up or len(journal(settings).looks) < 4:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = weights(endpoint_url)
    assert left["canary"] == 20 or left["canary"] == 50
    seen = len(journal(settings).looks)

    with pytest.raises(FlywheelError, match="a rollout of support runs: version 2, run run-1, last heard of"):
        resume(settings.run_dir, settings)
    assert (weights(endpoint_url), len(journal(settings).looks)) == (left, seen)
    monkeypatch.setattr("llm_flywheel.serving.rollout.journal.SILENT_SECONDS", 0.0)
    time.sleep(SILENT_INTERVALS * CONFIG.plan.interval_seconds)
    assert resume(settings.run_dir, settings) == 0
    assert "support 2: promote" in capsys.readouterr().out
    assert aliases(registry) == {"champion": "2"}
    assert weights(endpoint_url) == {"stable": 0, "canary": 100}
    evidence = json.loads((settings.run_dir / EVIDENCE_NAME).read_text())
    gaps = [number for number, look in enumerate(evidence["looks"]) if look["seen"]["unwatched"]]
    assert len(gaps) == 1 and gaps[0] >= seen
    assert replay_file(settings.run_dir / EVIDENCE_NAME).ok
    counted = [key for look in journal(settings).looks for key in look["requests"]]
    assert len(counted) == len(set(counted))
    page = (settings.run_dir / REPORT_NAME).read_text()
    assert "Interruptions" in page and "Nobody watched" in page
    with Ledger.open(settings.ledger_url) as ledger:
        [resumed] = ledger.audit_events(action="rollout.resumed")
    assert resumed.details["looks"] >= seen

    assert resume(Path("run-1"), settings) == 0  # also by its id, and when it is finished


@pytest.mark.parametrize(
    ("target", "fix"), [("local", "run the pipeline again"), ("cluster", "--config /c.json --port 9 ")]
)
def test_a_run_whose_gateway_is_gone_says_what_to_do(settings, dataset, target, fix):
    endpoint = {"base_url": "http://127.0.0.1:9/v1", "model": "support", "config_file": "/c.json", "target": target}
    inputs = {"config": {}, "endpoint": endpoint["base_url"], "version": "2", "dataset": str(dataset)}
    (settings.run_dir / "endpoint.json").write_text(json.dumps(endpoint))
    (settings.run_dir / INPUTS_NAME).write_text(json.dumps(inputs))
    with pytest.raises(FlywheelError, match="gateway") as caught:
        resume(settings.run_dir, settings)
    assert fix in caught.value.fix


@pytest.mark.parametrize("damaged", ['{"model": "support"}', '{"half', "[]"])
def test_a_damaged_file_is_named(settings, damaged):
    (settings.run_dir / INPUTS_NAME).write_text(damaged)
    with pytest.raises(FlywheelError, match="damaged") as caught:
        resume(settings.run_dir, settings)
    assert caught.value.where == str(settings.run_dir / INPUTS_NAME)


def test_a_run_without_a_rollout_is_named(settings):
    with pytest.raises(FlywheelError, match="no rollout to go on with"):
        resume(Path("run-7"), settings)
