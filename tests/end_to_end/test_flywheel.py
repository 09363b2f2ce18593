"""The whole flywheel as a user runs it: real training, a real vLLM, real traffic. About a minute a test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from llm_flywheel.components.common.step import StepRecord, read_steps
from llm_flywheel.serving.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]
FLYWHEEL = [sys.executable, "-m", "llm_flywheel.pipelines.cli"]
MODEL = "support-assistant"

# The quick start with a smaller model and less data: it learns little, which is not what these tests are about.
SMALLER = [
    "ingest.paths=['sample://support-tickets?rows=600&seed=0']",
    "finetune.tiny_recipe={rows: 600, steps: 40, layers: 2, hidden_size: 64, intermediate_size: 160, heads: 2}",
    "evaluate.limit=32",
]
PASSING_GATE = ["gate.min_gain=-1"]

pytestmark = pytest.mark.timeout(600)


class Home:
    """A state folder and what runs left in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tracking_uri = f"sqlite:///{path / 'mlflow.db'}"

    def start(self, *settings: str, flags: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        overrides = [part for setting in (*SMALLER, *settings) for part in ("--set", setting)]
        config = str(ROOT / "pipelines" / "configs" / "quickstart.yaml")
        return subprocess.Popen(
            [*FLYWHEEL, "run", config, *flags, *overrides],
            env={**os.environ, "FLYWHEEL_HOME": str(self.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "FLYWHEEL_HOME": str(self.path), "COLUMNS": "200"}
        return subprocess.run([*FLYWHEEL, *arguments], env=environment, capture_output=True, text=True, check=False)

    def runs(self) -> list[Path]:
        return sorted((self.path / "runs").glob("quickstart-*"), key=lambda path: path.stat().st_mtime)

    def steps(self) -> dict[str, StepRecord]:
        return {record.name: record for record in read_steps(self.runs()[-1])}

    def aliases(self) -> dict[str, str]:
        client = MlflowClient(self.tracking_uri, self.tracking_uri)
        found = client.search_registered_models()
        return {alias: str(version) for model in found for alias, version in model.aliases.items()}

    def audit_actions(self) -> list[str]:
        with Ledger.open(f"sqlite:///{self.path / 'ledger.db'}", read_only=True) as ledger:
            return [event.action for event in ledger.audit_events()]

    def wait_for_step(self, name: str, process: "subprocess.Popen[str]", before: int) -> Path:
        """Block until a step of the run after ``before`` earlier ones has started."""
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline and process.poll() is None:
            runs = self.runs()
            if len(runs) > before and (runs[-1] / "steps" / f"{name}.json").exists():
                return runs[-1]
            time.sleep(0.2)
        raise AssertionError(f"{name} did not start: {process.communicate()[0][-3000:]}")

    def processes(self) -> list[str]:
        """Processes that belong to any run of this home: servers by their recorded session, the rest by environment."""
        sessions = set()
        for record in self.path.glob("runs/*/processes/*.json"):
            sessions.add(json.loads(record.read_text())["session"])
        marker = str(self.path / "runs")
        return [process.name() for process in psutil.process_iter() if _belongs(process, sessions, marker)]


def _belongs(process: psutil.Process, sessions: set[int], marker: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        run_dir = process.environ().get("FLYWHEEL_RUN_DIR", "")
        return os.getsid(process.pid) in sessions or run_dir.startswith(marker)
    except (psutil.Error, ProcessLookupError):
        return False


def wait_until_gone(home: Home, seconds: float = 40) -> list[str]:
    deadline = time.monotonic() + seconds
    while home.processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    return home.processes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.cli("down")


@pytest.fixture(scope="module")
def failed_gate(home: Home) -> tuple[int, str]:
    """First of all: the registry is still empty."""
    process = home.start("gate.min_gain=2.0")
    output = process.communicate(timeout=500)[0]
    return process.returncode, output


@pytest.fixture(scope="module")
def promoted(home: Home, failed_gate: tuple[int, str]) -> tuple[int, str]:
    process = home.start(*PASSING_GATE, flags=("--keep",))
    output = process.communicate(timeout=500)[0]
    return process.returncode, output


def test_a_failed_gate_ends_red_says_why_and_registers_nothing(home: Home, failed_gate: tuple[int, str]) -> None:
    status, output = failed_gate
    assert status == 1
    assert "stopped: gate did not pass: gain too small" in output
    assert "Traceback" not in output
    steps = home.steps()
    assert (steps["stop_unless_gate"].status, "publish" in steps) == ("failed", False)
    assert not (home.path / "mlflow.db").exists()
    assert not (home.path / "objects").exists()
    assert home.audit_actions() == ["check.failed", "run.finished"]
    assert home.processes() == []


def test_a_healthy_run_ends_green_with_the_new_version_as_champion(home: Home, promoted: tuple[int, str]) -> None:
    status, output = promoted
    assert status == 0, output[-3000:]
    steps = home.steps()
    assert {name: record.status for name, record in steps.items() if record.status != "ok"} == {}
    assert "stop_unless_gate" not in steps
    assert steps["rollout"].summary["decision"] == "promote"
    assert home.aliases() == {"champion": "1"}
    assert all(Path(report).exists() for record in steps.values() for report in record.reports)


def test_usage_of_both_variants_and_an_unbroken_audit_chain_are_on_the_ledger(
    home: Home, promoted: tuple[int, str]
) -> None:
    with Ledger.open(f"sqlite:///{home.path / 'ledger.db'}", read_only=True) as ledger:
        rows = ledger.usage_between(0, time.time(), run_id=home.runs()[-1].name)
    assert {(row.variant, row.version) for row in rows} == {("stable", "base"), ("canary", "1")}
    assert {row.outcome for row in rows} == {"ok"}
    verified = home.cli("audit", "verify")
    assert (verified.returncode, "chain unbroken" in verified.stdout) == (0, True)
    assert {"model.publish", "deploy.done", "rollout.decision", "rollout.aliases"} <= set(home.audit_actions())


def test_the_decision_replays_to_the_same_one(home: Home, promoted: tuple[int, str]) -> None:
    replayed = home.cli("rollout", "replay", home.runs()[-1].name)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "reproduced: the stored decision is promote" in replayed.stdout


def test_the_commands_that_keep_prints_work(home: Home, promoted: tuple[int, str]) -> None:
    curl, openai = (line for line in promoted[1].splitlines() if line.startswith("  curl ") or "python -c " in line)
    for command in (curl, openai):
        answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert answer.stdout.strip()
        assert answer.stderr == ""


def test_down_ends_what_keep_left_running(home: Home, promoted: tuple[int, str]) -> None:
    assert home.processes() != []
    assert home.cli("down", home.runs()[-1].name).returncode == 0
    assert wait_until_gone(home) == []


def test_killing_vllm_during_the_rollout_ends_in_a_rollback(home: Home, promoted: tuple[int, str]) -> None:
    process = home.start(*PASSING_GATE)
    run_dir = home.wait_for_step("rollout", process, before=len(home.runs()))
    time.sleep(8)  # past the warm-up
    server: dict[str, Any] = json.loads((run_dir / "processes" / "vllm.json").read_text())
    os.kill(server["pid"], signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    evidence = json.loads((run_dir / "rollout-evidence.json").read_text())
    assert evidence["outcome"]["decision"] == "rollback"
    assert "rolled back" in output
    assert home.aliases() == {"champion": "1"}
    assert wait_until_gone(home) == []


def test_manifests_only_is_green_and_rolls_nothing_out(home: Home, promoted: tuple[int, str]) -> None:
    process = home.start(*PASSING_GATE, "deploy.target=none")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output[-3000:]
    steps = home.steps()
    assert steps["rollout"].summary["decision"] == "none"
    assert [Path(path).suffix for path in steps["deploy"].reports[1:]] == [".yaml"] * 3
    assert home.aliases()["champion"] == "1"
    assert home.processes() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_is_left_running_after_the_runner_was_stopped(
    home: Home, promoted: tuple[int, str], number: int, status: int
) -> None:
    process = home.start(*PASSING_GATE)
    home.wait_for_step("finetune", process, before=len(home.runs()))
    time.sleep(3)  # torchrun has started its worker
    assert home.processes() != []
    os.kill(process.pid, number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == status
    assert "Traceback" not in output
    assert wait_until_gone(home) == []


def test_a_configuration_that_is_wrong_everywhere_is_told_at_once(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "wrong",
                "ingest": {"paths": ["/gone.csv"]},
                "gate": {"min_gane": 1},
                "finetune": {"lora_r": "many"},
            }
        )
    )
    answer = home.cli("run", str(config))
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        f"flywheel: {config}: 4 errors in the configuration",
        "  ingest.paths.0: no such file or folder: /gone.csv",
        "  finetune.lora_r: got 'many' (str); expected a valid integer, unable to parse string as an integer",
        "  gate.min_gane: unknown key; did you mean 'min_gain'?",
        "  publish: required, but not given",
    ]
