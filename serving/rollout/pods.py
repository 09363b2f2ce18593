"""What a cluster knows about the pods of both variants: readiness, restarts, problems and their own metrics."""

import logging
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from llm_flywheel.components.common.cluster import CALL_TIMEOUT_S, Cluster
from llm_flywheel.components.common.errors import FlywheelError, first_line
from llm_flywheel.serving.inference_service.build import PART_OF, PORT, VERSION_LABEL
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.rollout.evidence import PodFacts, VariantPods

logger = logging.getLogger(__name__)

# A look must not wait for a pod that hangs: its numbers are absent then.
SCRAPE_SECONDS = 2.0
SCRAPES_AT_ONCE = 8
# Waiting for these is how every pod begins.
STARTING = ("ContainerCreating", "PodInitializing")

_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Totals:
    """Counters of one pod since its start, and its gauges.

    Attributes:
        served: Answers to model requests, of any status.
        errors: Those with status 5xx.
        ttft_sum: Seconds to the first token, all requests together.
        ttft_count: Requests in that sum.
        running: Requests in work, None when not exported.
        waiting: Requests in the queue, None when not exported.
    """

    served: float
    errors: float
    ttft_sum: float = 0.0
    ttft_count: float = 0.0
    running: int | None = None
    waiting: int | None = None


def read_totals(text: str) -> Totals | None:
    """Read a page in Prometheus' text format; None when it does not count HTTP answers.

    ``http_requests_total`` is what vLLM's prometheus-fastapi-instrumentator exports, with the status as ``2xx`` …
    ``5xx``; the list of models is asked by probes and people and is left out.
    """
    served = errors = ttft_sum = ttft_count = 0.0
    gauges: dict[str, float] = {}
    counted = False
    for name, labels, value in samples(text):
        if name == "http_requests_total":
            counted = True
            handler = labels.get("handler", "")
            if handler.startswith("/v1/") and not handler.startswith("/v1/models"):
                served += value
                errors += value if labels.get("status", "").startswith("5") else 0.0
        elif name == "vllm:time_to_first_token_seconds_sum":
            ttft_sum += value
        elif name == "vllm:time_to_first_token_seconds_count":
            ttft_count += value
        elif name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
            gauges[name] = gauges.get(name, 0.0) + value
    if not counted:
        return None
    running, waiting = gauges.get("vllm:num_requests_running"), gauges.get("vllm:num_requests_waiting")
    return Totals(served, errors, ttft_sum, ttft_count, _whole(running), _whole(waiting))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of every sample of a page that is a number."""
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:  # a comment, or nothing we know
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        if value == value and abs(value) != float("inf"):
            yield found[1], dict(_LABEL.findall(found[2] or "")), value


class Meter:
    """Turns a pod's counters into what was added since the look before.

    The first numbers of a pod that was there before this meter are only a starting point; a pod that came later has
    counted all of its own since. After a restart counters begin at zero again.
    """

    def __init__(self) -> None:
        self._totals: dict[str, tuple[int, Totals]] = {}
        self._known: set[str] | None = None

    def facts(self, pods: Mapping[str, PodFacts], scraped: Mapping[str, Totals | None]) -> dict[str, PodFacts]:
        """Facts with the numbers filled in where they are known.

        Args:
            pods: All pods of this look by uid.
            scraped: Their counters by uid; None or absent where there was no answer.
        """
        new = set() if self._known is None else pods.keys() - self._known
        made = {uid: self._with_numbers(uid, pod, scraped.get(uid), uid in new) for uid, pod in pods.items()}
        self._known = (self._known or set()) | pods.keys()
        return made

    def _with_numbers(self, uid: str, pod: PodFacts, now: Totals | None, new: bool) -> PodFacts:
        if now is None:
            if new:  # it counts from zero: what it does before the first answer is not lost
                self._totals[uid] = pod.restarts, Totals(0, 0)
            return pod
        restarts, before = self._totals.get(uid, (pod.restarts, Totals(0, 0) if new else None))
        self._totals[uid] = pod.restarts, now
        served = errors = None
        ttft = None
        if before is not None:
            if pod.restarts > restarts or now.served < before.served:
                before = Totals(0, 0)
            served, errors = round(now.served - before.served), round(max(0.0, now.errors - before.errors))
            answers = now.ttft_count - before.ttft_count
            ttft = (now.ttft_sum - before.ttft_sum) / answers if answers > 0 else None
        return PodFacts(
            pod.name, pod.ready, pod.restarts, pod.problem, served, errors, now.running, now.waiting, ttft
        )  # fmt: skip


class ClusterPods:
    """The predictor pods of a service's two versions, through the API server alone.

    Args:
        spec: The service.
        versions: Registered version per variant.
        cluster: Where it runs.
    """

    def __init__(self, spec: ServiceSpec, versions: Mapping[str, str], cluster: Cluster) -> None:
        self._spec, self._versions, self._cluster = spec, dict(versions), cluster
        self._meter = Meter()

    def look(self) -> dict[str, VariantPods]:
        """The pods of both variants now; what is not known is said to be."""
        wanted = self._spec.replicas
        try:
            found = self._cluster.items("v1", "Pod", self._spec.namespace, labelSelector=f"{PART_OF}={self._spec.name}")
        except FlywheelError as error:
            logger.warning("rollout: no data on pods: %s", first_line(error))
            return {variant: VariantPods(wanted, unknown=first_line(error)) for variant in self._versions}
        live = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        by_uid = {pod["metadata"]["uid"]: pod_facts(pod) for pod in live}
        ready = {uid: pod.name for uid, pod in by_uid.items() if pod.ready}
        with ThreadPoolExecutor(SCRAPES_AT_ONCE) as threads:
            scraped = dict(zip(ready, threads.map(self._scrape, ready.values()), strict=True))
        facts = self._meter.facts(by_uid, scraped)
        version = {pod["metadata"]["uid"]: pod["metadata"]["labels"].get(VERSION_LABEL, "") for pod in live}
        return {
            variant: VariantPods(wanted, tuple(facts[uid] for uid in facts if version[uid] == wanted_version))
            for variant, wanted_version in self._versions.items()
        }

    def _scrape(self, name: str) -> Totals | None:
        try:
            return read_totals(metrics_of(self._cluster, self._spec.namespace, name, SCRAPE_SECONDS))
        except FlywheelError as error:
            logger.debug("rollout: no metrics of %s: %s", name, first_line(error))
            return None


def metrics_of(cluster: Cluster, namespace: str, pod: str, timeout_s: float = CALL_TIMEOUT_S) -> str:
    """A model server's own metrics, through the API server's proxy; raises FlywheelError without an answer."""
    return cluster.text(f"/api/v1/namespaces/{namespace}/pods/{pod}:{PORT}/proxy/metrics", timeout_s=timeout_s)


def pod_facts(pod: Mapping[str, Any]) -> PodFacts:
    """What a pod's status says, without its metrics."""
    status = pod.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or []}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return PodFacts(
        pod["metadata"]["name"],
        conditions.get("Ready", {}).get("status") == "True",
        sum(int(item.get("restartCount", 0)) for item in containers),
        next(filter(None, map(_container_problem, containers)), "") or _pod_problem(status, conditions),
    )


def _container_problem(container: Mapping[str, Any]) -> str:
    """Why a container does not run, with how it ended before: ``CrashLoopBackOff (OOMKilled)``."""
    state, last = container.get("state") or {}, (container.get("lastState") or {}).get("terminated") or {}
    waiting = (state.get("waiting") or {}).get("reason", "")
    ended = state.get("terminated") or {}
    if ended and ended.get("exitCode"):
        return str(ended.get("reason") or "Error")
    if not waiting or waiting in STARTING:
        return ""
    return f"{waiting} ({last['reason']})" if last.get("reason") else str(waiting)


def _pod_problem(status: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason") or "Unschedulable")
    return str(status.get("reason") or "Failed") if status.get("phase") == "Failed" else ""
