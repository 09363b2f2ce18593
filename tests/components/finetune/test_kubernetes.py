"""Submitting, adopting, following and cancelling a job, against a small API server; storage is a real MinIO."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.kubernetes import (
    SPEC_HASH,
    ClusterLauncher,
    job_kind,
    job_name,
    runtime_kind,
    trainjob_fields,
)

NAMESPACE = "/api/v1/namespaces/flywheel"
JOBS = "/apis/kubeflow.org/v1/namespaces/flywheel/pytorchjobs"
RESOURCES = {
    "/apis/kubeflow.org/v1": {"resources": [{"kind": "PyTorchJob"}]},
    "/apis/trainer.kubeflow.org/v1alpha1": {"resources": [{"kind": "TrainJob"}]},
}
CREATED = "2026-11-21T10:00:00Z"


@dataclass
class Jobs:
    """What the server knows, and what it was asked.

    Attributes:
        objects: Bodies by path.
        pods: Pods in the namespace.
        events: Events in the namespace.
        log: Lines of any pod's log, with time stamps.
        calls: (method, path) of every request but GETs, in order.
        log_queries: Queries of the log, in order.
        log_denied: The log is forbidden.
        stages: What happens at each reading of a job, one after the other; the last one stays.
        down: Number of coming requests that end without an answer.
        slow_delete_s: Seconds until a DELETE is answered.
    """

    objects: dict[str, Any] = field(default_factory=lambda: dict(RESOURCES))
    pods: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    log_queries: list[dict[str, str]] = field(default_factory=list)
    log_denied: bool = False
    stages: list[Callable[["Jobs"], None]] = field(default_factory=list)
    down: int = 0
    slow_delete_s: float = 0.0
    port: int = 0

    def job(self) -> Any:
        """The one job."""
        return next(body for path, body in self.objects.items() if path.startswith(f"{JOBS}/"))

    def ends(self, condition: str, message: str = "") -> None:
        """Give the job a condition."""
        self.job()["status"] = {"conditions": [{"type": condition, "status": "True", "message": message}]}

    def made(self, method: str) -> int:
        """How many requests of a method came."""
        return [called for called, _ in self.calls].count(method)

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "GET":
            return self._read(path, query)
        self.calls.append((method, path))
        if method == "POST":
            name = f"{path}/{body['metadata']['name']}"
            if name in self.objects:
                return 409, {"message": "already exists"}
            body["metadata"] |= {"uid": f"uid-{len(self.calls)}", "creationTimestamp": CREATED}
            self.objects[name] = body
            return 201, body
        if path not in self.objects:
            return 404, {"message": "not found"}
        if method == "DELETE":
            return 200, self.objects.pop(path)
        self.objects[path]["metadata"] |= body["metadata"]
        return 200, self.objects[path]

    def _read(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == f"{NAMESPACE}/pods":
            return 200, {"items": self.pods}
        if path == f"{NAMESPACE}/events":
            return 200, {"items": self.events}
        if path.endswith("/log"):
            if self.log_denied:
                return 403, {"message": "pods/log is forbidden"}
            self.log_queries.append(query)
            return 200, "".join(f"{line}\n" for line in self.log if line[:19] >= query.get("sinceTime", "")[:19])
        if path.startswith(f"{JOBS}/") and path in self.objects and self.stages:
            (self.stages.pop(0) if len(self.stages) > 1 else self.stages[0])(self)
        found = self.objects.get(path)
        return (404, {"message": "not found"}) if found is None else (200, found)


def pod(name: str, phase: str = "Running", uid: str = "pod-1", **status: Any) -> dict[str, Any]:
    """A pod of the training operator."""
    role = {"training.kubeflow.org/job-role": "master"} if "master" in name else {}
    container = {"name": "pytorch", "image": "trainer:1", "restartCount": 0, "state": {}}
    return {
        "metadata": {
            "name": name,
            "namespace": "flywheel",
            "uid": uid,
            "labels": role,
            "creationTimestamp": CREATED,
        },
        "spec": {"containers": [{"name": "pytorch"}]},
        "status": {"phase": phase, "containerStatuses": [{**container, **status}]},
    }


class Handler(BaseHTTPRequestHandler):
    jobs: Jobs

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _do(self) -> None:
        if self.jobs.down:
            self.jobs.down -= 1
            self.connection.close()
            return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, value = self.jobs.answer(self.command, parts.path, query, body)
        if self.command == "DELETE":
            threading.Event().wait(self.jobs.slow_delete_s)
        text = value if isinstance(value, str) else json.dumps(value)
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _do


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """What the API server knows; it serves PyTorchJob and TrainJob."""
    made = Jobs()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"jobs": made}))
    server.daemon_threads = True
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cluster(jobs: Jobs) -> Cluster:
    """The client of that server."""
    from kubernetes import client

    return Cluster(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{jobs.port}")))


@pytest.fixture
def kubeconfig(jobs: Jobs, tmp_path: Path) -> Path:
    """A kubeconfig of that server."""
    server = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{jobs.port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    values = {"clusters": [server], "contexts": [context], "users": [{"name": "u", "user": {"token": "t"}}]}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **values}))
    return path


DONE = '{"done": true, "steps": 4, "train_loss": 1.0, "tokens": 9}'


def step_line(step: int) -> str:
    event = {"step": step, "max_steps": 4, "pct": 25.0 * step, "loss": 2.0, "lr": 0.1, "tok_s": 10, "eta_s": 1.0}
    return json.dumps(event)


def stamped(*lines: str, second: int = 1) -> list[str]:
    return [f"2026-11-21T10:00:{second:02}.{number:09}Z {line}" for number, line in enumerate(lines)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a run whose storage is not reached."""
    return Settings(
        tmp_path, "run-7", None, "", "s3://flywheel", "", "http://127.0.0.1:9", "a", "b", "us-east-1", "eva"
    )


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job with nothing to upload."""
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"base": "org/model", "dataset": "s3://f/data", "output": str(tmp_path / "model")}))
    return path


def config(**cluster: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate({"launcher": "pytorchjob", "cluster": {"image": "trainer:1", **cluster}})


def failed(cluster: Cluster, settings: Settings, job_file: Path, **limits: Any) -> FlywheelError:
    with pytest.raises(FlywheelError) as caught:
        ClusterLauncher(config(**limits), settings, cluster, poll_s=0.02).run(job_file)
    return caught.value


def leave_a_job(jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path, **limits: Any) -> Any:
    """A job that an earlier try of the same run has left."""
    jobs.pods, jobs.log_denied = [pod("ft-master-0")], True
    assert "pods/log is forbidden" in failed(cluster, settings, job_file, **limits).what
    jobs.log_denied = False
    return jobs.job()["metadata"]


def test_data_is_stored_before_the_job_is_made_and_the_model_comes_home(
    jobs: Jobs,
    cluster: Cluster,
    settings: Settings,
    minio: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = {"s3_endpoint": minio.endpoint, "s3_access_key": minio.access_key, "s3_secret_key": minio.secret_key}
    settings = replace(settings, object_store="s3://first", **keys)
    store = store_for("s3://first", settings)
    for name in ("base", "dataset", "made"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    paths = {"base": str(tmp_path / "base"), "dataset": str(tmp_path / "dataset"), "output": str(tmp_path / "home")}
    (tmp_path / "job.json").write_text(json.dumps(paths))

    def starts(server: Jobs) -> None:
        server.pods, server.log = [pod("ft-master-0")], stamped(step_line(1))

    def ends(server: Jobs) -> None:
        server.log += stamped(step_line(4), DONE, second=2)
        store.upload(tmp_path / "made", "s3://first/runs/run-7/finetune/model")
        server.ends("Succeeded")

    jobs.stages = [lambda _: None, starts, ends]
    log = ClusterLauncher(config(), settings, cluster, poll_s=0.02).run(tmp_path / "job.json")
    assert (tmp_path / "home" / "file").read_text() == "made"
    assert [event["step"] for event in log.progress] == [1, 4]
    assert (tmp_path / "train.log").read_text() == f"{step_line(1)}\n{step_line(4)}\n{DONE}\n"
    assert "fine-tuning: 100 % (loss 2.000, 10 tokens/s, 1 s left)" in capsys.readouterr().out
    assert jobs.calls == [("POST", JOBS)]
    container = jobs.job()["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]
    job = json.loads(container["args"][1])
    assert job["base"] == "s3://first/runs/run-7/finetune/base"
    assert job["output"] == "s3://first/runs/run-7/finetune/model"
    store.download(job["dataset"], tmp_path / "back")
    assert (tmp_path / "back" / "file").read_text() == "dataset"
    assert jobs.job()["metadata"]["name"] == job_name("run-7", "finetune")


def test_retry_of_a_task_finds_the_same_name() -> None:
    assert job_name("run-1", "finetune") == job_name("run-1", "finetune")
    assert job_name("run-1", "finetune") != job_name("run-2", "finetune")
    assert len(job_name("run-1", "finetune")) == 19


def test_job_of_an_earlier_try_is_adopted_and_gets_one_more_owner(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path
) -> None:
    left = leave_a_job(jobs, cluster, settings, job_file)
    earlier = {"apiVersion": "v1", "kind": "Pod", "name": "step-1", "uid": "u1"}
    left["ownerReferences"] = [earlier]
    jobs.objects[f"{NAMESPACE}/pods/step-2"] = {"metadata": {"name": "step-2", "uid": "u2"}}
    jobs.stages = [lambda server: server.ends("Failed")]
    jobs.stages.insert(0, lambda _: None)  # the look for an earlier job
    failed(cluster, replace(settings, pod_name="step-2", pod_uid="u2"), job_file)
    assert [method for method, _ in jobs.calls] == ["POST", "PATCH"]
    assert jobs.job()["metadata"]["uid"] == left["uid"]
    owners = jobs.job()["metadata"]["ownerReferences"]
    assert [owner["name"] for owner in owners] == ["step-1", "step-2"]


def test_pod_of_another_namespace_owns_nothing(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path
) -> None:
    leave_a_job(jobs, cluster, replace(settings, pod_name="elsewhere", pod_uid="u3"), job_file)
    assert "ownerReferences" not in jobs.job()["metadata"]


@pytest.mark.parametrize("why", ["failed", "other spec", "other data"])
def test_job_that_cannot_be_waited_on_is_made_anew(
    why: str, jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path, tmp_path: Path
) -> None:
    left = leave_a_job(jobs, cluster, settings, job_file)
    if why == "failed":
        jobs.ends("Failed")
    elif why == "other data":
        left["annotations"][SPEC_HASH] = "made of something else"
    again = leave_a_job(jobs, cluster, settings, job_file, **({"memory": "1Gi"} if why == "other spec" else {}))
    assert again["uid"] != left["uid"]
    assert [method for method, _ in jobs.calls] == ["POST", "DELETE", "POST"]


def test_lines_are_taken_once_although_the_log_is_read_by_whole_seconds(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path, tmp_path: Path
) -> None:
    jobs.pods, jobs.log = [pod("ft-master-0")], stamped("a", "a", second=1)
    more = [stamped("b", second=1), stamped("c", "d", second=2), [], stamped("e", second=3)]

    def says(lines: list[str]) -> Callable[[Jobs], None]:
        return lambda server: server.log.extend(lines)

    def breaks(server: Jobs) -> None:
        server.down = 1

    jobs.stages = [stage for lines in more for stage in (says(lines), breaks)] + [lambda server: server.ends("Failed")]
    failed(cluster, settings, job_file)
    assert (tmp_path / "train.log").read_text().split() == ["a", "a", "b", "c", "d", "e"]
    assert "sinceTime" not in jobs.log_queries[0]
    assert jobs.log_queries[-1]["sinceTime"] == "2026-11-21T10:00:03Z"


def test_pod_that_is_made_anew_starts_the_measurements_anew(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path, minio: Any
) -> None:
    keys = {"s3_endpoint": minio.endpoint, "s3_access_key": minio.access_key, "s3_secret_key": minio.secret_key}
    settings = replace(settings, object_store="s3://anew", **keys)
    store_for("s3://anew", settings).upload(job_file.parent, "s3://anew/runs/run-7/finetune/model")
    jobs.pods, jobs.log = [pod("ft-master-0")], stamped(step_line(1), step_line(2), second=9)

    def evicted(server: Jobs) -> None:
        server.pods, server.log = [pod("ft-master-0", uid="pod-2")], stamped(step_line(1), step_line(4), DONE)

    jobs.stages = [lambda _: None, lambda _: None, evicted, lambda server: server.ends("Succeeded")]
    log = ClusterLauncher(config(), settings, cluster, poll_s=0.02).run(job_file)
    assert [event["step"] for event in log.progress] == [1, 4]


def test_failure_of_another_pod_is_read_from_its_log(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path, tmp_path: Path
) -> None:
    ended = {"terminated": {"exitCode": 1, "finishedAt": CREATED}}
    jobs.pods = [pod("ft-worker-0", "Failed", state=ended)]  # the operator has removed the master
    jobs.log = ['{"error": "the loss became nan at step 1", "reason": "loss_not_finite"}']
    jobs.stages = [lambda server: server.ends("Failed", "1 Worker replica(s) failed")]
    error = failed(cluster, settings, job_file)
    assert (error.what, error.reason) == ("the loss became nan at step 1", "loss_not_finite")
    assert "the last lines of pod ft-worker-0" in (tmp_path / "train.log").read_text()
    assert jobs.made("DELETE") == 0  # a failed job is kept for a look at it


def test_image_that_is_missing_for_too_long_ends_the_wait(
    jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path
) -> None:
    jobs.pods = [pod("ft-master-0", "Pending", state={"waiting": {"reason": "ErrImagePull", "message": "no"}})]
    began = time.monotonic()
    assert failed(cluster, settings, job_file, start_timeout_seconds=1).reason == "image_pull"
    assert 1 < time.monotonic() - began < 5
    assert jobs.made("DELETE") == 1


def test_queue_has_its_own_limit(jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path) -> None:
    lone = pod("ft-master-0", "Pending")
    lone["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]
    jobs.pods = [lone]
    error = failed(cluster, settings, job_file, queue_timeout_seconds=1, start_timeout_seconds=1)
    assert error.reason == "unschedulable"
    assert "within 1 s: pod ft-master-0 has no node: Insufficient cpu" in error.what
    assert jobs.made("DELETE") == 1


def test_run_has_its_own_limit(jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path) -> None:
    jobs.pods = [pod("ft-master-0")]
    assert failed(cluster, settings, job_file, run_timeout_seconds=1, queue_timeout_seconds=1).reason == "deadline"
    assert jobs.made("DELETE") == 1


def test_job_that_somebody_deleted_is_named(jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path) -> None:
    jobs.pods = [pod("ft-master-0")]
    jobs.stages = [lambda _: None, lambda server: server.objects.pop(f"{JOBS}/{job_name('run-7', 'finetune')}")]
    assert failed(cluster, settings, job_file).reason == "deleted"


def test_success_without_a_log_is_no_success(jobs: Jobs, cluster: Cluster, settings: Settings, job_file: Path) -> None:
    jobs.stages = [lambda server: server.ends("Succeeded")]
    error = failed(cluster, settings, job_file)
    assert error.reason == "log"
    assert error.fix.startswith("kubectl delete pytorchjob -n flywheel ft-")


def test_files_of_this_machine_are_no_storage_for_pods(settings: Settings, cluster: Cluster) -> None:
    local = replace(settings, object_store="file:///data")
    with pytest.raises(FlywheelError, match="FLYWHEEL_OBJECT_STORE=s3://BUCKET, or --set finetune.launcher=local"):
        ClusterLauncher(config(), local, cluster)


def test_run_without_an_id_has_no_name_for_its_job(settings: Settings, cluster: Cluster) -> None:
    with pytest.raises(FlywheelError, match="export FLYWHEEL_RUN_ID"):
        ClusterLauncher(config(), replace(settings, run_id=""), cluster)


def test_auto_takes_the_kind_that_the_cluster_knows(jobs: Jobs, cluster: Cluster) -> None:
    assert job_kind(cluster, "auto") == "TrainJob"
    assert job_kind(cluster, "pytorchjob") == "PyTorchJob"
    del jobs.objects["/apis/trainer.kubeflow.org/v1alpha1"]
    assert job_kind(cluster, "auto") == "PyTorchJob"
    with pytest.raises(FlywheelError, match="knows no TrainJob"):
        job_kind(cluster, "trainjob")
    jobs.objects.clear()
    with pytest.raises(FlywheelError, match="knows no TrainJob and no PyTorchJob"):
        job_kind(cluster, "auto")


def test_shape_of_a_trainjob_is_read_from_the_openapi_document(jobs: Jobs, cluster: Cluster) -> None:
    spec = {"properties": {"spec": {"properties": {"runtimeRef": {}, "podTemplateOverrides": {}}}}}
    schemas = {"org.kubeflow.trainer.v1alpha1.TrainJobList": {}, "org.kubeflow.trainer.v1alpha1.TrainJob": spec}
    jobs.objects["/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"] = {"components": {"schemas": schemas}}
    assert trainjob_fields(cluster) == {"runtimeRef", "podTemplateOverrides"}


def test_runtime_of_the_namespace_comes_before_that_of_the_cluster(jobs: Jobs, cluster: Cluster) -> None:
    api = "/apis/trainer.kubeflow.org/v1alpha1"
    with pytest.raises(FlywheelError, match="kubectl apply -k manifests/overlays/trainjob"):
        runtime_kind(cluster, "flywheel", "torch")
    jobs.objects[f"{api}/clustertrainingruntimes/torch"] = {}
    assert runtime_kind(cluster, "flywheel", "torch") == "ClusterTrainingRuntime"
    jobs.objects[f"{api}/namespaces/flywheel/trainingruntimes/torch"] = {}
    assert runtime_kind(cluster, "flywheel", "torch") == "TrainingRuntime"


LAUNCHER = """
import sys
from pathlib import Path
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.kubernetes import ClusterLauncher
ClusterLauncher(FinetuneConfig(launcher="pytorchjob"), Settings.from_env(), poll_s=0.02).run(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("number", "slow", "status", "deletes"),
    [
        (signal.SIGTERM, 0.0, 143, 1),
        (signal.SIGTERM, 30.0, 143, 1),
        (signal.SIGINT, 0.0, -2, 1),
        (signal.SIGKILL, 0.0, -9, 0),
    ],
)
def test_cancel_is_one_delete_that_takes_a_second_at_most(
    number: int, slow: float, status: int, deletes: int, jobs: Jobs, kubeconfig: Path, job_file: Path
) -> None:
    jobs.pods, jobs.log, jobs.slow_delete_s = [pod("ft-master-0")], stamped(step_line(1)), slow
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "FLYWHEEL_OBJECT_STORE": "s3://f"}
    environment = {**os.environ, **keys, "KUBECONFIG": str(kubeconfig), "FLYWHEEL_RUN_ID": "run-7"}
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(job_file)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not jobs.log_queries and time.monotonic() < deadline:
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == status
        assert time.monotonic() - began < 3
    finally:
        process.kill()
    assert jobs.made("DELETE") == deletes
