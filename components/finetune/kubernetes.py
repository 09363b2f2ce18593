"""Run the training program as a job on a cluster: submit or adopt, follow, name the cause of a failure, cancel."""

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Literal

from llm_flywheel.components.common.cluster import Body, Cluster, Refused, reference
from llm_flywheel.components.common.crd import require_valid
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.images import TRAINER
from llm_flywheel.components.common.outage import ride_out
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import files_under, store_for
from llm_flywheel.components.finetune import causes
from llm_flywheel.components.finetune.causes import Cause
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.events import TrainingLog, progress_text
from llm_flywheel.components.finetune.launcher import sigterm_exits
from llm_flywheel.components.finetune.pod import LABEL, Training
from llm_flywheel.components.finetune.pytorchjob import pytorchjob_body
from llm_flywheel.components.finetune.trainjob import API as TRAINER_API
from llm_flywheel.components.finetune.trainjob import NODE, trainjob_body

logger = logging.getLogger(__name__)

SPEC_HASH = f"{LABEL}/spec-hash"
OUTAGE_S = 300.0  # how long the API server may be away before a wait is given up; the job goes on meanwhile
REPLACE_S = 300.0
CANCEL_S = 1.0  # a KFP step that is terminated has about a second
# By kind of job: the label of its pods, the label and value of the pod of rank 0, and the container that trains.
_PODS = {
    "PyTorchJob": ("training.kubeflow.org/job-name", "training.kubeflow.org/job-role", "master", "pytorch"),
    "TrainJob": ("jobset.sigs.k8s.io/jobset-name", "batch.kubernetes.io/job-completion-index", "0", NODE),
}


def job_name(run_id: str, task: str) -> str:
    """A name that a retry of the same task of the same run finds again: ``ft-`` and 16 hex digits."""
    return f"ft-{hashlib.sha256(f'{run_id}/{task}'.encode()).hexdigest()[:16]}"


class ClusterLauncher:
    """Trains as a PyTorchJob or TrainJob; data and model go through object storage.

    A job outlives this process unless the process is asked to end: the next try of the same run finds the job by its
    name and waits on.

    Args:
        config: The finetune section; ``launcher`` is ``pytorchjob``, ``trainjob`` or ``auto``.
        settings: Run id, object storage and the pod of this step.
        cluster: Where to train; default: the pod's own cluster, or that of the kubeconfig.
        poll_s: Seconds between two looks at the job.

    Raises:
        FlywheelError: The storage is no place that pods reach, there is no run id, or the cluster has no such jobs.
    """

    def __init__(
        self, config: FinetuneConfig, settings: Settings, cluster: Cluster | None = None, poll_s: float = 2.0
    ) -> None:
        if settings.object_store.startswith("file://"):
            raise FlywheelError(
                "the pods of a cluster do not see files of this machine",
                where=f"FLYWHEEL_OBJECT_STORE: {settings.object_store}",
                fix="export FLYWHEEL_OBJECT_STORE=s3://BUCKET, or --set finetune.launcher=local",
                reason="launcher",
            )
        if not settings.run_id:
            raise FlywheelError(
                "a job on a cluster needs the id of its run", fix="export FLYWHEEL_RUN_ID=…", reason="launcher"
            )
        self._config, self._settings = config, settings
        self._cluster = cluster or Cluster()
        self._kind = job_kind(self._cluster, config.launcher)
        self._namespace, self._poll_s = config.cluster.namespace, poll_s

    def run(self, job: Path) -> TrainingLog:
        """Train, and return what the program said.

        Args:
            job: JSON file as for `LocalLauncher`; the log of rank 0 goes to ``train.log`` beside it.

        Raises:
            FlywheelError: The job failed, waits for what will not come, or a time limit is over.
            SystemExit: This process got SIGTERM; the job is deleted first.
        """
        paths = json.loads(job.read_text(encoding="utf-8"))
        uri = f"{self._settings.object_store}/runs/{self._settings.run_id}/finetune"
        uploads = {name: Path(paths[name]) for name in ("dataset", "base") if Path(paths[name]).is_dir()}
        stored = {name: f"{uri}/{name}" for name in uploads}
        body = self._body(Training(
            config=self._config,
            name=job_name(self._settings.run_id, "finetune"),
            run_id=self._settings.run_id,
            image=self._config.cluster.image or TRAINER,
            base=stored.get("base", paths["base"]),
            dataset=stored.get("dataset", paths["dataset"]),
            output=f"{uri}/model",
        ))  # fmt: skip
        body["metadata"]["annotations"][SPEC_HASH] = _digest(body["spec"], *uploads.values())
        with sigterm_exits():
            try:
                self._submit(body, uploads, stored)
                log = _Wait(self._cluster, self._config, body, job.with_name("train.log"), self._poll_s).result()
            except (KeyboardInterrupt, SystemExit):
                with suppress(FlywheelError):
                    self._cluster.delete(body, timeout_s=CANCEL_S)
                raise
        store_for(uri, self._settings).download(f"{uri}/model", Path(paths["output"]))
        if self._kind == "TrainJob":  # it has no TTL
            self._cluster.delete(body)
        return log

    def _body(self, training: Training) -> Body:
        if self._kind == "PyTorchJob":
            body = pytorchjob_body(training)
            require_valid(body)
            return body
        kind = runtime_kind(self._cluster, self._namespace, self._config.cluster.runtime)
        return trainjob_body(training, trainjob_fields(self._cluster), kind)

    def _submit(self, body: Body, uploads: Mapping[str, Path], stored: Mapping[str, str]) -> None:
        """Create the job, or adopt the one that an earlier try of the same step has left."""
        owner = self._owner()
        if owner:
            body["metadata"]["ownerReferences"] = [owner]
        deadline = time.monotonic() + REPLACE_S
        while time.monotonic() < deadline:
            found = self._cluster.find(body)
            if found is None:
                for name, folder in uploads.items():
                    store_for(stored[name], self._settings).upload(folder, stored[name])
                try:
                    self._cluster.create(body)
                except Refused as error:
                    if error.status != 409:
                        raise
                    continue  # another try was faster
                logger.info("created %s", _shown(body))
                return
            if _is_same(found, body):
                logger.info("adopted %s, which an earlier try has left", _shown(body))
                owners = found["metadata"].get("ownerReferences") or []
                if owner and owner["uid"] not in {item["uid"] for item in owners}:
                    self._cluster.patch(body, {"metadata": {"ownerReferences": [*owners, owner]}})
                return
            if "deletionTimestamp" not in found["metadata"]:
                logger.info("replacing %s, which has failed or was made of something else", _shown(body))
                self._cluster.delete(body, "Foreground")  # the pods of the new job get the same names
            time.sleep(self._poll_s)
        raise FlywheelError("the job of an earlier try does not go away", where=_shown(body), reason="cluster")

    def _owner(self) -> Body | None:
        """The pod of this step, with which the job is to go; only one of the same namespace can own it."""
        if not self._settings.pod_name:
            return None
        pod = reference("v1", "Pod", self._namespace, self._settings.pod_name)
        found = self._cluster.find(pod)
        if found is None or found["metadata"]["uid"] != self._settings.pod_uid:
            return None
        return {"apiVersion": "v1", "kind": "Pod", "name": self._settings.pod_name, "uid": self._settings.pod_uid}


class _Wait:
    """Waits for the end of one job: shows its log and progress, and gives up where waiting is of no use."""

    def __init__(self, cluster: Cluster, config: FinetuneConfig, named: Body, log_file: Path, poll_s: float) -> None:
        self._cluster, self._config, self._named = cluster, config, named
        self._log_file, self._poll_s = log_file, poll_s
        self._namespace = named["metadata"]["namespace"]
        self._of_job, self._lead_label, self._lead_value, self._container = _PODS[named["kind"]]
        self._began = time.monotonic()
        self._started = self._blocked = 0.0

    def result(self) -> TrainingLog:
        """What rank 0 said; raises FlywheelError when the job failed or was given up."""
        with self._log_file.open("w", encoding="utf-8") as copy, Progress("fine-tuning", 100) as progress:
            lead = _LeadLog(self._cluster, self._container, copy, progress)
            while True:
                job, pods = ride_out(partial(self._look, lead), OUTAGE_S, self._poll_s)
                ended = causes.finished(job)
                if ended == "failed":
                    logs = {**self._tails(pods, copy), **lead.by_pod()}
                    self._fail(causes.failure(job, pods, self._events(job), logs))
                if ended == "succeeded":
                    return self._checked(lead.log)
                self._go_on(job, pods, progress)
                time.sleep(self._poll_s)

    def _look(self, lead: "_LeadLog") -> tuple[Body, list[Body]]:
        job = self._cluster.find(self._named)
        if job is None:
            raise FlywheelError("somebody has deleted the job", where=_shown(self._named), reason="deleted")
        selector = f"{self._of_job}={self._named['metadata']['name']}"
        pods = self._cluster.items("v1", "Pod", self._namespace, labelSelector=selector)
        lead.read(self._lead(pods))
        return job, pods

    def _lead(self, pods: Sequence[Body]) -> Body | None:
        """The pod of rank 0; the newest, where a failed one was made anew."""
        found = [pod for pod in pods if pod["metadata"]["labels"].get(self._lead_label) == self._lead_value]
        return max(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    def _go_on(self, job: Body, pods: Sequence[Body], progress: Progress) -> None:
        """Show what the job waits for, and give it up when a limit is over."""
        limits, now = self._config.cluster, time.monotonic()
        if causes.all_started(pods, limits.workers):
            self._started = self._started or now
            if limits.run_timeout_seconds and now - self._started > limits.run_timeout_seconds:
                fix = "raise finetune.cluster.run_timeout_seconds"
                self._give_up(Cause("deadline", f"the training ran for {limits.run_timeout_seconds} s", fix))
            return
        cause = causes.waiting_for(job, pods, self._events(job), limits.workers)
        progress.update(0, f"waiting: {cause.text}")
        self._blocked = (self._blocked or now) if cause.lasting else 0.0
        if self._blocked and now - self._blocked > limits.start_timeout_seconds:
            self._give_up(cause)
        if limits.queue_timeout_seconds and not self._started and now - self._began > limits.queue_timeout_seconds:
            text = f"not all pods ran within {limits.queue_timeout_seconds} s: {cause.text}"
            self._give_up(Cause(cause.reason, text, cause.fix or "raise finetune.cluster.queue_timeout_seconds"))

    def _give_up(self, cause: Cause) -> None:
        self._cluster.delete(self._named)
        self._fail(cause)

    def _fail(self, cause: Cause) -> None:
        where = f"{_shown(self._named)} (log: {self._log_file})"
        raise FlywheelError(cause.text, where=where, fix=cause.fix, reason=cause.reason)

    def _checked(self, log: TrainingLog) -> TrainingLog:
        if log.done:
            return log
        kind, meta = self._named["kind"].lower(), self._named["metadata"]
        raise FlywheelError(
            "the job succeeded, but its log is gone, and with it the measurements",
            where=_shown(self._named),
            fix=f"kubectl delete {kind} -n {meta['namespace']} {meta['name']}, and run again",
            reason="log",
        )

    def _events(self, job: Body) -> list[Body]:
        return causes.own_events(self._cluster.items("v1", "Event", self._namespace), job)

    def _tails(self, pods: Sequence[Body], copy: IO[str]) -> dict[str, TrainingLog]:
        """By failed pod, its last lines."""
        logs = {}
        for name in causes.failed_pods(pods)[:4]:
            logs[name] = TrainingLog()
            with suppress(Refused):
                path = f"/api/v1/namespaces/{self._namespace}/pods/{name}/log"
                text = self._cluster.text(path, {"container": self._container, "tailLines": "60"})
                copy.write(f"--- the last lines of pod {name}\n{text}")
                for line in text.split("\n"):
                    logs[name].feed(line)
        return logs


class _LeadLog:
    """The log of the pod of rank 0, read on where the last reading ended; a pod that is made anew starts it anew."""

    def __init__(self, cluster: Cluster, container: str, copy: IO[str], progress: Progress) -> None:
        self._cluster, self._container, self._copy, self._progress = cluster, container, copy, progress
        self.log = TrainingLog()
        self._pod = ""
        self._source: tuple[str, int] = ("", 0)
        self._since = ""  # the API knows whole seconds only,
        self._seen: set[str] = set()  # so the lines of the last one come twice

    def read(self, pod: Body | None) -> None:
        """Take the lines that are new."""
        if pod is None or pod["status"].get("phase") not in ("Running", "Succeeded", "Failed"):
            return
        meta = pod["metadata"]
        statuses = pod["status"].get("containerStatuses") or ()
        restarts = sum(item["restartCount"] for item in statuses if item["name"] == self._container)
        if (meta["uid"], restarts) != self._source:
            self.log, self._source, self._since = TrainingLog(), (meta["uid"], restarts), ""
            self._pod = meta["name"]
        query = {"container": self._container, "timestamps": "true"}
        if self._since:
            query["sinceTime"] = self._since
        try:
            text = self._cluster.text(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log", query)
        except Refused as error:
            if error.status in (401, 403):
                raise
            return  # the container is not there yet, or any more
        for line in filter(None, text.split("\n")):
            self._take(line)
        self._copy.flush()

    def by_pod(self) -> dict[str, TrainingLog]:
        """The log under its pod's name."""
        return {self._pod: self.log} if self._pod else {}

    def _take(self, line: str) -> None:
        stamp, _, said = line.partition(" ")
        second = re.sub(r"\.\d+", "", stamp)
        if second > self._since:
            self._since, self._seen = second, set()
        if second == self._since:
            if line in self._seen:
                return
            self._seen.add(line)
        self._copy.write(f"{said}\n")
        event = self.log.feed(said)
        if "pct" in event:
            self._progress.update(int(event["pct"]), progress_text(event))


def job_kind(cluster: Cluster, launcher: str) -> str:
    """``PyTorchJob`` or ``TrainJob``: what the config names, or for ``auto`` what the cluster knows.

    Raises:
        FlywheelError: The cluster does not know it.
    """
    kinds = {"trainjob": ("TrainJob", TRAINER_API), "pytorchjob": ("PyTorchJob", "kubeflow.org/v1")}
    asked = list(kinds) if launcher == "auto" else [launcher]
    for name in asked:
        kind, api = kinds[name]
        if cluster.serves(api, kind):
            return kind
    raise FlywheelError(
        f"this cluster knows no {' and no '.join(kinds[name][0] for name in asked)}",
        where=f"finetune.launcher: {launcher}, on {cluster.server}",
        fix="flywheel doctor --target cluster says how to install it; or --set finetune.launcher=local",
        reason="launcher",
    )


def trainjob_fields(cluster: Cluster) -> set[str]:
    """The fields of a TrainJob's spec on this cluster, from its OpenAPI document, which any account may read."""
    schemas = cluster.object_at(f"/openapi/v3/apis/{TRAINER_API}")["components"]["schemas"]
    found = (schema for name, schema in schemas.items() if name.endswith(".v1alpha1.TrainJob"))
    schema: Body = next(found, {})
    return set(schema.get("properties", {}).get("spec", {}).get("properties", {}))


def runtime_kind(cluster: Cluster, namespace: str, name: str) -> Literal["TrainingRuntime", "ClusterTrainingRuntime"]:
    """Which kind of runtime has this name; the namespace's own comes first.

    Raises:
        FlywheelError: Neither has.
    """
    if cluster.find(reference(TRAINER_API, "TrainingRuntime", namespace, name)) is not None:
        return "TrainingRuntime"
    try:
        cluster.object_at(f"/apis/{TRAINER_API}/clustertrainingruntimes/{name}")
    except Refused as error:
        if error.status != 404:
            raise
        raise FlywheelError(
            f"no TrainingRuntime {name} in namespace {namespace}, and no ClusterTrainingRuntime",
            where="finetune.cluster.runtime",
            fix="kubectl apply -k manifests/overlays/trainjob, or name another: kubectl get clustertrainingruntimes",
            reason="launcher",
        ) from None
    return "ClusterTrainingRuntime"


def _digest(spec: Body, *folders: Path) -> str:
    """What a job is made of: its spec, and the names and sizes of the files that were uploaded for it."""
    files = [
        (path.relative_to(folder).as_posix(), path.stat().st_size) for folder in folders for path in files_under(folder)
    ]
    return hashlib.sha256(json.dumps([spec, files], sort_keys=True).encode()).hexdigest()[:16]


def _is_same(found: Body, body: Body) -> bool:
    """Whether a job can be waited on in place of ``body``."""
    meta = found["metadata"]
    same = (meta.get("annotations") or {}).get(SPEC_HASH) == body["metadata"]["annotations"][SPEC_HASH]
    return same and "deletionTimestamp" not in meta and causes.finished(found) != "failed"


def _shown(body: Body) -> str:
    return f"{body['kind']} {body['metadata']['namespace']}/{body['metadata']['name']}"
