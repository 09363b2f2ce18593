"""Fine-tuning in pods: both kinds of job, a killed launcher, a cancel, and each cause of failure by its name."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Body, Cluster, reference
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.kubernetes import ClusterLauncher, job_name
from llm_flywheel.components.finetune.local import LocalLauncher

pytestmark = pytest.mark.cluster

QUICK: dict[str, Any] = {"max_steps": 4, "micro_batch_size": 2, "learning_rate": 2e-3, "logging_steps": 1, "lora_r": 4}
# Two pods add up gradients in the same order as two processes; only the number of threads may differ.
TOLERANCE = 1e-5


@pytest.fixture
def pods(trainer_image: str) -> Callable[..., FinetuneConfig]:
    """A config of two small pods, changed as asked."""

    def made(launcher: str = "pytorchjob", cluster: dict[str, Any] | None = None, **changes: Any) -> FinetuneConfig:
        ask = {
            "image": trainer_image,
            "workers": 2,
            "cpu": "100m",
            "cpu_limit": "1",
            "memory": "2Gi",
            "volume_claim": "python-env",
            "shared_memory": "64Mi",
            "queue_timeout_seconds": 240,
            **(cluster or {}),
        }
        return FinetuneConfig.model_validate({**QUICK, **changes, "launcher": launcher, "cluster": ask})

    return made


@pytest.fixture
def job_file(tmp_path: Path, curated: Path, tiny_base: Path) -> Path:
    """What a launcher is given."""
    path = tmp_path / "work" / "job.json"
    path.parent.mkdir()
    values = {"base": str(tiny_base), "dataset": str(curated), "output": str(path.parent / "model")}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_job_is_left(admin: Cluster, settings: Settings, namespace: str) -> Iterator[None]:
    yield
    for kind, version in (("PyTorchJob", "kubeflow.org/v1"), ("TrainJob", "trainer.kubeflow.org/v1alpha1")):
        admin.delete(reference(version, kind, namespace, job_name(settings.run_id, "finetune")))


def the_job(settings: Settings, namespace: str) -> Body:
    return reference("kubeflow.org/v1", "PyTorchJob", namespace, job_name(settings.run_id, "finetune"))


def adapter(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def largest_difference(one: Path, other: Path) -> float:
    ours, theirs = adapter(one), adapter(other)
    assert ours.keys() == theirs.keys()
    return max(float(abs(ours[name] - theirs[name]).max()) for name in ours)


def test_pytorchjob_of_two_pods_trains_the_adapter_of_two_local_processes(
    pods: Callable[..., FinetuneConfig],
    pipeline: Cluster,
    settings: Settings,
    namespace: str,
    job_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = pods()
    log = ClusterLauncher(config, settings, pipeline).run(job_file)
    assert "fine-tuning: 100 % (loss " in capsys.readouterr().out
    assert (log.done["steps"], len(log.progress), log.evals != []) == (4, 4, True)
    assert '"pct": 100.0' in (job_file.parent / "train.log").read_text()
    job = pipeline.get(the_job(settings, namespace))
    assert job["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == 1
    assert job["spec"]["runPolicy"]["ttlSecondsAfterFinished"] == 86400
    assert settings.s3_secret_key not in json.dumps(job)

    # The finished job of an earlier try is adopted: its result is fetched again, and nothing is trained.
    again = ClusterLauncher(config, settings, pipeline).run(job_file)
    assert pipeline.get(the_job(settings, namespace))["metadata"]["uid"] == job["metadata"]["uid"]
    assert again.progress == log.progress

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    local_file = job_file.with_name("local.json")
    local = config.model_copy(update={"nproc_per_node": 2}).model_dump()
    values = {**json.loads(job_file.read_text()), "config": local, "output": str(job_file.parent / "local")}
    local_file.write_text(json.dumps(values))
    LocalLauncher(nproc=2).run(local_file)
    assert largest_difference(job_file.parent / "model", job_file.parent / "local") <= TOLERANCE


STEP = """
import sys
from pathlib import Path
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.step import step
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.finetune import run
with step("finetune"):
    run(FinetuneConfig.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:]), Settings.from_env())
"""


@pytest.fixture
def launch(
    settings: Settings, curated: Path, tiny_base: Path, tmp_path: Path, cluster_environment: dict[str, str]
) -> Iterator[Callable[[FinetuneConfig], "subprocess.Popen[str]"]]:
    """Starts the step as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(config: FinetuneConfig) -> "subprocess.Popen[str]":
        environment = {**os.environ, **cluster_environment, "FLYWHEEL_RUN_ID": settings.run_id}
        folders = map(str, (curated, tiny_base, tmp_path / "model", tmp_path / "report.html"))
        argv = [sys.executable, "-c", STEP, config.model_dump_json(), *folders]
        started.append(subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("did not happen in time")


def test_trainjob_ends_with_lineage_report_and_no_job(
    pods: Callable[..., FinetuneConfig],
    pipeline: Cluster,
    namespace: str,
    settings: Settings,
    launch: Callable[[FinetuneConfig], "subprocess.Popen[str]"],
    tmp_path: Path,
) -> None:
    process = launch(pods("auto"))
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "created TrainJob flywheel/ft-" in said
    assert "fine-tuning: 100 % (loss " in said
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "flywheel.json"} <= names
    assert "<svg" in (tmp_path / "report.html").read_text()
    named = reference("trainer.kubeflow.org/v1alpha1", "TrainJob", namespace, job_name(settings.run_id, "finetune"))
    assert pipeline.find(named) is None


def test_job_of_a_killed_launcher_is_adopted_and_that_of_a_cancelled_one_deleted(
    pods: Callable[..., FinetuneConfig],
    pipeline: Cluster,
    settings: Settings,
    namespace: str,
    launch: Callable[[FinetuneConfig], "subprocess.Popen[str]"],
) -> None:
    config, named = pods(max_steps=2000), the_job(settings, namespace)

    def running() -> bool:
        return any(item["type"] == "Running" for item in pipeline.get(named)["status"].get("conditions") or ())

    first = launch(config)
    job = wait_for(lambda: pipeline.find(named))
    wait_for(running)
    first.kill()
    first.wait()
    assert pipeline.get(named)["metadata"]["uid"] == job["metadata"]["uid"]

    second = launch(config)
    assert second.stdout is not None
    lines = iter(second.stdout.readline, "")
    assert any("fine-tuning: " in line and "loss" in line for line in lines)
    assert pipeline.get(named)["metadata"]["uid"] == job["metadata"]["uid"]

    second.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert second.wait(30) == 143
    assert time.monotonic() - began < 3
    wait_for(lambda: pipeline.find(named) is None, 30)


def failed(config: FinetuneConfig, settings: Settings, pipeline: Cluster, job_file: Path) -> FlywheelError:
    with pytest.raises(FlywheelError) as caught:
        ClusterLauncher(config, settings, pipeline).run(job_file)
    return caught.value


def test_image_that_is_not_there(
    pods: Callable[..., FinetuneConfig], settings: Settings, pipeline: Cluster, namespace: str, job_file: Path
) -> None:
    image = "localhost/flywheel/no-such-image:1"
    config = pods(cluster={"image": image, "workers": 1, "start_timeout_seconds": 5})
    error = failed(config, settings, pipeline, job_file)
    assert error.reason == "image_pull"
    assert image in error.what
    assert pipeline.find(the_job(settings, namespace)) is None


def test_pod_that_no_node_can_take(
    pods: Callable[..., FinetuneConfig],
    settings: Settings,
    pipeline: Cluster,
    job_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = {"cpu": "900", "cpu_limit": "900", "workers": 1, "queue_timeout_seconds": 15}
    error = failed(pods(cluster=asked), settings, pipeline, job_file)
    assert error.reason == "unschedulable"
    assert "Insufficient cpu" in error.what
    assert "waiting: pod ft-" in capsys.readouterr().out


def test_missing_secret(
    pods: Callable[..., FinetuneConfig], settings: Settings, pipeline: Cluster, job_file: Path
) -> None:
    asked = {"storage_secret": "no-such-secret", "workers": 1, "start_timeout_seconds": 5}
    error = failed(pods(cluster=asked), settings, pipeline, job_file)
    assert error.reason == "container"
    assert 'secret "no-such-secret" not found' in error.what


def test_pods_that_pod_security_refuses(
    pods: Callable[..., FinetuneConfig], settings: Settings, pipeline: Cluster, job_file: Path
) -> None:
    # The runtime that Trainer ships says nothing about security, and Trainer 2.1 cannot add it.
    config = pods("trainjob", cluster={"runtime": "torch-distributed", "start_timeout_seconds": 5})
    error = failed(config, settings, pipeline, job_file)
    assert error.reason == "forbidden"
    assert 'violates PodSecurity "restricted' in error.what
    assert "manifests/overlays/trainjob" in error.fix


@pytest.mark.parametrize("kind", ["pytorchjob", "trainjob"])
def test_pods_with_too_little_memory(
    kind: str, pods: Callable[..., FinetuneConfig], settings: Settings, pipeline: Cluster, job_file: Path
) -> None:
    config = pods(kind, cluster={"memory": "200Mi"})
    error = failed(config, settings, pipeline, job_file)
    assert error.reason == "out_of_memory"
    assert "200Mi" in error.what and "finetune.cluster.memory" in error.fix


def test_loss_that_is_no_number(
    pods: Callable[..., FinetuneConfig],
    settings: Settings,
    pipeline: Cluster,
    namespace: str,
    job_file: Path,
    tiny_base: Path,
) -> None:
    # Weights of NaN stand for a diverged run.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    broken = job_file.parent / "broken"
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(broken)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(broken)
    job_file.write_text(json.dumps({**json.loads(job_file.read_text()), "base": str(broken)}))
    error = failed(pods(), settings, pipeline, job_file)
    assert error.reason == "loss_not_finite"
    assert "the loss became nan at step 1" in error.what
    failed_job = pipeline.get(the_job(settings, namespace))

    # The next try makes the job anew, now from a base that can be trained.
    job_file.write_text(json.dumps({**json.loads(job_file.read_text()), "base": str(tiny_base)}))
    log = ClusterLauncher(pods(), settings, pipeline).run(job_file)
    assert log.done["steps"] == 4
    assert pipeline.get(the_job(settings, namespace))["metadata"]["uid"] != failed_job["metadata"]["uid"]
