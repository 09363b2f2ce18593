"""Fine-tuning under a real torchrun with a model of seconds: results, lineage, failures, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.finetune import base_for, run
from llm_flywheel.components.finetune.local import LocalLauncher, child_environment

QUICK = {"max_steps": 6, "micro_batch_size": 4, "learning_rate": 2e-3, "logging_steps": 2, "sequence_len": 64}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "home", "run-7", None, "", "", "", "", "", "", "", "test")


def test_lora_run_writes_adapter_lineage_and_report(
    tmp_path: Path, tiny_dataset: Path, tiny_base: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    config = FinetuneConfig(**QUICK, lora_r=4)
    metrics = run(config, tiny_dataset, tiny_base, tmp_path / "model", tmp_path / "report.html", settings)
    assert metrics["steps"] == 6
    assert metrics["train_examples"] == 12
    assert metrics["train_dropped"] == 0
    assert metrics["validation_loss"] > 0
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert "training_args.bin" not in names and "config.json" not in names
    adapter = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    lineage = json.loads((tmp_path / "model" / "flywheel.json").read_text())
    assert adapter["base_model_name_or_path"] == lineage["base"]
    assert lineage["base"].startswith("tiny-")
    assert (lineage["kind"], lineage["run_id"], lineage["seed"]) == ("adapter", "run-7", 0)
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page and "Validation loss at the end" in page
    assert "fine-tuning: 100 %" in capsys.readouterr().out


def test_full_fine_tuning_on_two_processes_writes_weights(
    tmp_path: Path, tiny_dataset: Path, tiny_base: Path, settings: Settings
) -> None:
    config = FinetuneConfig(**QUICK, adapter="", nproc_per_node=2, evals_per_epoch=0)
    metrics = run(config, tiny_dataset, tiny_base, tmp_path / "model", tmp_path / "report.html", settings)
    assert "validation_loss" not in metrics
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert json.loads((tmp_path / "model" / "flywheel.json").read_text())["kind"] == "full"


def test_loss_that_is_no_number_fails_with_its_reason(
    tmp_path: Path, tiny_dataset: Path, tiny_base: Path, settings: Settings
) -> None:
    # Weights of NaN stand for a diverged run: any learning rate that diverges reliably in six steps is out of bounds.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    broken = tmp_path / "broken"
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(broken)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(broken)
    (broken / "flywheel.json").write_text('{"base": "broken"}')
    with pytest.raises(FlywheelError, match="the loss became nan at step 1") as caught:
        run(FinetuneConfig(**QUICK), tiny_dataset, broken, tmp_path / "model", tmp_path / "report.html", settings)
    assert caught.value.reason == "loss_not_finite"
    assert not (tmp_path / "model").exists()


def test_examples_that_are_all_too_long_are_counted_and_refused(
    tmp_path: Path, tiny_dataset: Path, tiny_base: Path, settings: Settings
) -> None:
    config = FinetuneConfig(**{**QUICK, "sequence_len": 16})
    with pytest.raises(FlywheelError, match="no example is left to train on") as caught:
        run(config, tiny_dataset, tiny_base, tmp_path / "model", tmp_path / "report.html", settings)
    assert caught.value.reason == "no_data"


def test_crash_shows_the_cause_and_the_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashing.py").write_text("raise MemoryError('no room for the weights')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = tmp_path / "job.json"
    job.write_text("{}")
    with pytest.raises(FlywheelError) as caught:
        LocalLauncher(module="crashing").run(job)
    assert caught.value.what.splitlines()[0] == "training ended with status 1: MemoryError: no room for the weights"
    assert "no room for the weights" in (tmp_path / "train.log").read_text()


def test_bad_job_is_explained(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"config": {"learning_rte": 1}, "base": "b", "dataset": "d", "output": "o"}))
    with pytest.raises(FlywheelError, match="learning_rte: unknown key; did you mean 'learning_rate'"):
        LocalLauncher().run(job)


LAUNCHER = """
import sys
from pathlib import Path
from llm_flywheel.components.finetune.local import LocalLauncher
LocalLauncher(module=sys.argv[2]).run(Path(sys.argv[1]))
"""

# A training that never ends, with its process id in a file; the stubborn one ignores SIGTERM, too.
ENDLESS = """
import os, pathlib, signal, sys, time
if "stubborn" in __file__:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[2] + ".pid").write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "module"), [(signal.SIGTERM, "stubborn"), (signal.SIGINT, "stubborn"), (signal.SIGKILL, "polite")]
)
def test_no_training_process_outlives_its_launcher(tmp_path: Path, number: int, module: str) -> None:
    (tmp_path / f"{module}.py").write_text(ENDLESS)
    job = tmp_path / "job.json"
    job.write_text("{}")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(job), module], env=env)
    pid_file = tmp_path / "job.json.pid"
    _wait(pid_file.exists)
    _wait(lambda: pid_file.read_text() != "")
    pid = int(pid_file.read_text())
    torchrun = psutil.Process(pid).ppid()
    launcher.send_signal(number)
    launcher.wait(60)
    _wait(lambda: not _alive(pid) and not _alive(torchrun))
    if number == signal.SIGTERM:
        assert launcher.returncode == 143


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def test_pods_fetch_a_base_in_s3_themselves(tmp_path: Path, tiny_base: Path, settings: Settings) -> None:
    (tmp_path / "flywheel.json").write_text('{"reference": "s3://models/qwen"}')
    assert base_for(FinetuneConfig(launcher="auto"), tmp_path, settings) == "s3://models/qwen"
    assert base_for(FinetuneConfig(launcher="auto"), tiny_base, settings) == str(tiny_base)
    (tmp_path / "flywheel.json").write_text('{"reference": "Qwen/Qwen2.5-0.5B"}')
    assert base_for(FinetuneConfig(launcher="auto"), tmp_path, settings) == "Qwen/Qwen2.5-0.5B"


def test_user_environment_wins_over_our_defaults() -> None:
    assert child_environment({"OMP_NUM_THREADS": "7"}, nproc=1)["OMP_NUM_THREADS"] == "7"
    assert int(child_environment({}, nproc=64)["OMP_NUM_THREADS"]) == 1
