"""The program of a pod: two of them on this machine, with the variables that an operator sets."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.events import TrainingLog
from llm_flywheel.components.finetune.local import LocalLauncher
from llm_flywheel.serving.local.processes import free_port

NODE = [sys.executable, "-m", "llm_flywheel.components.finetune.node", "--config"]
QUICK = {"max_steps": 6, "micro_batch_size": 2, "learning_rate": 2e-3, "logging_steps": 2, "lora_dropout": 0.1}


def start(job: dict[str, object], rank: int, port: int, tmp_path: Path) -> "subprocess.Popen[str]":
    """One pod of two."""
    operator = {"NNODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    (tmp_path / f"scratch-{rank}").mkdir()
    environment = {
        **os.environ,
        **{f"PET_{name}": value for name, value in operator.items()},
        "TMPDIR": str(tmp_path / f"scratch-{rank}"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen([*NODE, json.dumps(job)], env=environment, stdout=subprocess.PIPE, text=True)


def test_two_pods_train_what_two_local_processes_train(tmp_path: Path, tiny_dataset: Path, tiny_base: Path) -> None:
    from safetensors.numpy import load_file

    config = FinetuneConfig(**QUICK, lora_r=4, nproc_per_node=2)
    job = {"config": config.model_dump(), "base": str(tiny_base), "dataset": str(tiny_dataset)}
    (tmp_path / "job.json").write_text(json.dumps({**job, "output": str(tmp_path / "local")}))
    local = LocalLauncher(nproc=2).run(tmp_path / "job.json")

    port = free_port()
    one = config.model_copy(update={"nproc_per_node": 1})
    stored = {"base": tiny_base.as_uri(), "dataset": tiny_dataset.as_uri(), "output": (tmp_path / "pods").as_uri()}
    pods = [start({"config": one.model_dump(), **stored}, rank, port, tmp_path) for rank in (1, 0)]
    said = [pod.communicate(timeout=300)[0] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], said
    logs = [TrainingLog(), TrainingLog()]
    for log, text in zip(logs, said, strict=True):
        for line in text.splitlines():
            log.feed(line)

    assert (logs[0].progress, logs[0].splits) == ([], {})  # only the pod of rank 0 talks
    assert [event["loss"] for event in logs[1].progress] == [event["loss"] for event in local.progress]
    assert logs[1].evals == local.evals
    names = {path.name for path in (tmp_path / "pods").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("pods", "local"))
    assert ours.keys() == theirs.keys()
    assert max(float(abs(ours[name] - theirs[name]).max()) for name in ours) <= 1e-6
    assert list(tmp_path.glob("scratch-*/flywheel-*")) == []


def test_missing_dataset_is_an_event_with_its_reason(tmp_path: Path, tiny_base: Path) -> None:
    job = {"config": {}, "base": str(tiny_base), "dataset": (tmp_path / "gone").as_uri(), "output": "file:///x"}
    done = subprocess.run([*NODE, json.dumps(job)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "missing"


@pytest.mark.usefixtures("one_thread")
def test_pod_that_is_deleted_ends_its_ranks(tmp_path: Path, tiny_dataset: Path, tiny_base: Path) -> None:
    job = {"config": QUICK, "base": str(tiny_base), "dataset": tiny_dataset.as_uri(), "output": "file:///nowhere"}
    pod = start(job, 0, free_port(), tmp_path)  # and it waits for the other pod, in vain
    tree: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while not tree and time.monotonic() < deadline:
        time.sleep(0.2)
        tree = psutil.Process(pod.pid).children(recursive=True)
    pod.send_signal(signal.SIGTERM)
    pod.communicate(timeout=30)
    assert pod.returncode == 143
    assert tree and not psutil.wait_procs(tree, timeout=10)[1]
