"""One rollout: traffic in the background, the controller in front, then registry, evidence and report."""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.dataset import read_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.endpoint import Endpoint, read_endpoint
from llm_flywheel.components.rollout.registry import apply_outcome, is_champion
from llm_flywheel.components.rollout.report import build, show_e
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.backend import GatewayBackend, TrafficBackend, put_in_force
from llm_flywheel.serving.rollout.controller import Audit, Controller, PodSource
from llm_flywheel.serving.rollout.decision import WARM_UP, Decision, Outcome, State
from llm_flywheel.serving.rollout.evidence import Observation
from llm_flywheel.serving.rollout.journal import (
    ABANDONED,
    ALIASES,
    DECIDED,
    SETTLED,
    Busy,
    Journal,
    TakenOver,
    abandon_orphans,
)
from llm_flywheel.serving.rollout.plan import CANARY, STABLE, weights_for
from llm_flywheel.serving.rollout.record import Record, to_json, write
from llm_flywheel.serving.rollout.traffic import Traffic, TrafficStats

logger = logging.getLogger(__name__)

EVIDENCE_NAME = "rollout-evidence.json"
INPUTS_NAME = "rollout-inputs.json"
PROGRESS_SECONDS = 3.0


@dataclass(frozen=True)
class RolloutResult:
    """What the step hands on.

    Attributes:
        outcome: How the rollout ended.
        record: Everything it saw.
        evidence_uri: Where a copy of evidence and report is stored.
        requests: Requests per variant, warm-up left out.
    """

    outcome: Outcome
    record: Record
    evidence_uri: str
    requests: dict[str, int]

    def failure(self, config: RolloutConfig) -> FlywheelError | None:
        """The error that ends the step red, or None: call it when everything is stored."""
        red = {"rollback": config.fail_on_rollback, "hold": config.fail_on_hold, "promote": False}
        if not red[self.outcome.decision]:
            return None
        words = "rolled back" if self.outcome.decision == "rollback" else "not promoted"
        return FlywheelError(f"{words}: {self.outcome.reason}", reason=self.outcome.rule)


def run(
    config: RolloutConfig,
    endpoint_url: str,
    name: str,
    version: str,
    dataset: Path,
    evidence: Path,
    report: Path,
    settings: Settings | None = None,
    cluster: Cluster | None = None,
) -> RolloutResult:
    """Roll ``version`` out, and store what was decided and why.

    Traffic stays on a promoted canary only when all of that is stored and the alias has moved; then, in a cluster, the
    loser's service is removed. After a hold the canary's service stays, without traffic, as its version stays the
    challenger: the next deploy finds it ready, or removes it when it deploys another version.

    May be called again with the same settings, also after the process was killed: a rollout that had not decided goes
    on, one that had is completed and not decided again, and for a finished one only the files are written again.

    Args:
        config: The ``rollout`` section.
        endpoint_url: What ``deploy`` handed on.
        name: Registered model.
        version: Version that is the canary.
        dataset: Curated dataset; the questions of its test split are asked.
        evidence: Where the evidence record goes (JSON).
        report: Where the page goes (HTML).
        settings: Addresses; from the environment when not given.
        cluster: For a service in a cluster; default: the one of the environment.

    Raises:
        FlywheelError: The endpoint, the ledger, the object store or the registry is not usable. Traffic is back on
            stable then, unless the registry names the canary as champion already and only what comes after failed, or
            another process goes on with this rollout or, in a cluster, watches another one of this model. What cannot
            even be begun (no ledger, no endpoint to steer) leaves the traffic as it was: in a cluster, where `deploy`
            gives a canary no share, on stable.
    """
    settings = settings or Settings.from_env()
    with Ledger.open(settings.ledger_url) as ledger:
        journal = Journal(ledger, settings.run_id, name, version)
        if journal.phase == ABANDONED:
            raise FlywheelError(
                "another run has taken over the traffic since this rollout was interrupted",
                where=f"{name} {version}",
                fix="run the pipeline again",
                reason="abandoned",
            )
        if journal.phase == SETTLED:
            sealed = to_json(journal.record())
            write(sealed, evidence)
            build(journal.record(), {}).write(report)
            return _result(journal.record(), sealed["digest"], settings)
        endpoint = read_endpoint(settings.run_dir, endpoint_url)
        _check(endpoint, name, version)
        audit = _auditor(ledger, settings, endpoint.model)
        backend, pods = _backend(endpoint, settings, cluster)

        def stays(error: BaseException) -> bool:
            if isinstance(error, TakenOver) or (isinstance(error, Busy) and endpoint.service is not None):
                return True
            return journal.body(ALIASES) is not None or is_champion(settings, name, version)

        with _stable_on_failure(backend, audit, unless=stays):
            if settings.run_dir is not None:
                again = {"config": config.model_dump(mode="json"), "endpoint": endpoint_url}
                write_json(settings.run_dir / INPUTS_NAME, {**again, "version": version, "dataset": str(dataset)})
            abandon_orphans(ledger, journal, audit)
            record, stats = _watch(config, endpoint, backend, pods, dataset, ledger, journal, settings)
            sealed = to_json(record)
            digest = sealed["digest"]
            write(sealed, evidence)
            build(record, stats.outcomes, stats.error).write(report)
            changed: dict[str, str] = {}
            if journal.body(ALIASES) is None:
                facts = {"evidence": digest, "versions": dict(record.versions), **asdict(record.outcome)}
                audit("rollout.decision", facts)
                uri = _keep(sealed, report, name, version, settings)
                audit("rollout.evidence", {"evidence": digest, "evidence_uri": uri})
                changed = apply_outcome(settings, name, version, record.outcome, digest)
        # Outside: champion and traffic agree now, and taking the traffic back would part them.
        if journal.body(ALIASES) is None:
            if changed:
                audit("rollout.aliases", {"aliases": changed, "version": version, "evidence": digest})
            journal.append(ALIASES, {"aliases": changed})
        if record.outcome.decision != "hold":
            backend.settle(record.outcome.decision)
        journal.append(SETTLED, {})
    return _result(record, digest, settings)


def _result(record: Record, digest: str, settings: Settings) -> RolloutResult:
    requests = {variant: record.summary[variant].requests for variant in (STABLE, CANARY)}
    uri = _evidence_uri(record.model, record.versions[CANARY], digest, settings)
    return RolloutResult(record.outcome, record, uri, requests)


def _backend(
    endpoint: Endpoint, settings: Settings, cluster: Cluster | None
) -> tuple[TrafficBackend, PodSource | None]:
    """What splits the traffic: the route of a service in a cluster, or the gateway itself."""
    if endpoint.service is None:
        return GatewayBackend(endpoint.base_url, endpoint.model, endpoint.admin_token, settings.actor), None
    from llm_flywheel.serving.inference_service.route import RouteBackend
    from llm_flywheel.serving.rollout.pods import ClusterPods

    cluster = cluster or Cluster()
    return RouteBackend(endpoint.service, cluster), ClusterPods(endpoint.service, endpoint.versions, cluster)


def _check(endpoint: Endpoint, name: str, version: str) -> None:
    if endpoint.model != name or endpoint.versions[CANARY] != version:
        raise FlywheelError(
            f"the endpoint serves {endpoint.model} with canary {endpoint.versions[CANARY]}, not {name} {version}",
            where=endpoint.base_url,
            reason="endpoint",
        )


@contextmanager
def _stable_on_failure(
    backend: TrafficBackend, audit: Audit, unless: Callable[[BaseException], bool]
) -> Iterator[None]:
    """Put all traffic on stable, and audit that, when the block does not come to its end; also for Ctrl-C.

    Not when ``unless`` says so of the error: the registry knows the outcome already, or the traffic is another's.
    """
    try:
        yield
    except BaseException as error:
        if unless(error):
            raise
        weights = weights_for(0)
        applied, problem = put_in_force(backend, weights)
        details = {"weights": weights, "error": type(error).__name__, "applied": applied}
        try:
            audit("rollout.reverted", details | ({"problem": problem} if problem else {}))
        except FlywheelError as refused:  # what ended the rollout is the news, not this
            logger.warning("rollout: the revert to stable is not audited: %s", refused)
        raise


def _watch(
    config: RolloutConfig,
    endpoint: Endpoint,
    backend: TrafficBackend,
    pods: PodSource | None,
    dataset: Path,
    ledger: Ledger,
    journal: Journal,
    settings: Settings,
) -> tuple[Record, TrafficStats]:
    traffic = _traffic(config, endpoint, dataset, journal) if journal.body(DECIDED) is None else None
    progress = _Progress(config)

    def on_look(state: State, seen: Observation, decision: Decision) -> None:
        if traffic is not None:
            traffic.pinning = state.step == WARM_UP
        progress.show(state, seen, decision)

    controller = Controller(
        config.plan,
        backend,
        ledger,
        journal,
        versions=endpoint.versions,
        audit=_auditor(ledger, settings, endpoint.model),
        pods=pods,
        actor=settings.actor,
        on_look=on_look,
    )
    with traffic or nullcontext():
        record = controller.run()
    return record, traffic.stats if traffic is not None else TrafficStats()


def _traffic(config: RolloutConfig, endpoint: Endpoint, dataset: Path, journal: Journal) -> Traffic:
    questions = [row["messages"] for row in read_table(dataset / "test.parquet").to_pylist()]
    traffic = Traffic(
        endpoint.base_url,
        endpoint.api_key,
        endpoint.model,
        questions,
        config.traffic,
        max_seconds=config.plan.longest_seconds + 60,
    )
    traffic.pinning = journal.warming_up
    return traffic


def _auditor(ledger: Ledger, settings: Settings, model: str) -> Audit:
    def audit(action: str, details: Mapping[str, Any]) -> None:
        ledger.append_audit(settings.actor, action, f"model:{model}", {**details, "run_id": settings.run_id})

    return audit


def _keep(sealed: dict[str, Any], report: Path, name: str, version: str, settings: Settings) -> str:
    """Store evidence and report where a failed step cannot take them away; a backend drops a red step's outputs."""
    uri = _evidence_uri(name, version, sealed["digest"], settings)
    with tempfile.TemporaryDirectory() as folder:
        write(sealed, Path(folder) / EVIDENCE_NAME)
        (Path(folder) / "report.html").write_bytes(report.read_bytes())
        store_for(uri, settings).upload(Path(folder), uri)
    if settings.run_dir is not None:
        write(sealed, settings.run_dir / EVIDENCE_NAME)
    return uri


def _evidence_uri(name: str, version: str, digest: str, settings: Settings) -> str:
    return f"{settings.object_store}/rollouts/{quote(name, safe='')}/{version}/{digest[:16]}"


class _Progress:
    """One line every few seconds, and one for every change."""

    def __init__(self, config: RolloutConfig) -> None:
        self._plan = config.plan
        self._started: float | None = None
        self._next = 0.0

    def show(self, state: State, seen: Observation, decision: Decision) -> None:
        """Print where the rollout stands, if it is time to."""
        if self._started is None:
            self._started = seen.start
        at = seen.end - self._started
        if decision.action == "hold" and at < self._next:
            return
        self._next = at + PROGRESS_SECONDS
        step = "warm-up" if decision.step == WARM_UP else f"canary {self._plan.steps[decision.step]} %"
        words = decision.reason if decision.action == "hold" else f"{decision.action.upper()}: {decision.reason}"
        logger.info("rollout %3.0f s  %s  %s%s", at, step, words, self._evidence(state, decision))

    def _evidence(self, state: State, decision: Decision) -> str:
        if decision.step == WARM_UP:
            return ""
        values = ", ".join(f"{kind} {show_e(value)}" for kind, value in decision.log_pass.items())
        seen = f"{state.canary.n} canary requests, {state.canary.bad} errors"
        return f"  [{seen}; e-values to pass, of {self._plan.pass_limit:g}: {values}]"
