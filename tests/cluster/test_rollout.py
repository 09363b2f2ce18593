"""Rollouts on a real cluster: healthy, failing, slow, crashing and never ready canaries, and killed controllers."""

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.rollout.rollout import EVIDENCE_NAME, RolloutResult, run
from llm_flywheel.serving.inference_service.address import address
from llm_flywheel.serving.inference_service.build import (
    http_route,
    inference_service,
    route_reference,
    service_name,
    service_reference,
)
from llm_flywheel.serving.inference_service.client import wait_reached
from llm_flywheel.serving.inference_service.config import GatewayRef, ModelVersion, RuntimeConfig, ServiceSpec
from llm_flywheel.serving.inference_service.ready import wait_ready, wait_route, weights_of
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.local.gateway import LocalGateway, Upstream, start_gateway
from llm_flywheel.serving.local.processes import reap
from llm_flywheel.serving.rollout.journal import ABANDONED, ALIASES, DECIDED, FINISHED, Journal
from llm_flywheel.serving.rollout.replay import replay_file
from llm_flywheel.serving.rollout.traffic import Traffic, TrafficConfig
from tests.components.rollout.test_resume import start_step

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

# Real requests, short waiting: a stand-in answers in milliseconds.
CONFIG = bind(
    RolloutConfig,
    {
        "plan": {
            "steps": [20, 50],
            "min_requests": 8,
            "min_seconds": 2,
            "max_seconds": 30,
            "interval_seconds": 0.5,
            "deadline_seconds": 5,
            "metrics": [{"kind": "errors", "margin": 2, "max_rate": 0.1}, {"kind": "ttft", "floor_seconds": 0.3}],
            "warmup": {"requests": 40, "discard": 4, "max_seconds": 30},
            "guards": {"not_ready_seconds": 6},
        },
        "traffic": {"requests_per_second": 30, "connect_timeout_s": 1, "timeout_s": 6},
    },
)

# A model thinks before it answers. Traefik's reverse proxy (Go's) cuts an answer off that begins before it has seen
# the end of the request, as a stand-in without this does in one of 30 requests.
PREFILL = {"FAULT": "slow", "FAULT_SECONDS": "0.02"}


class Service:
    """One service for all scenarios: what was promoted in one is the next one's stable."""

    def __init__(self, cluster: Cluster, namespace: str, runtime: str, registry: Any, uri: str) -> None:
        self.uri = uri
        self.cluster, self.registry = cluster, registry
        self.name = f"rollout-{uuid.uuid4().hex[:4]}"
        self._common = {
            "name": self.name,
            "namespace": namespace,
            "gateway": GatewayRef(name="kserve-ingress-gateway", namespace="kserve"),
            "serving_runtime": runtime,
            "service_account": "flywheel-serving",
        }
        registry.create_registered_model(self.name)
        self.champion = self._register("champion")

    def _register(self, alias: str) -> str:
        version = str(self.registry.create_model_version(self.name, source=self.uri).version)
        self.registry.set_registered_model_alias(self.name, alias, version)
        return version

    @property
    def aliases(self) -> dict[str, str]:
        found = self.registry.get_registered_model(self.name).aliases
        return {alias: str(version) for alias, version in found.items()}

    def deploy(self, **faults: str) -> ServiceSpec:
        """The champion as stable, and a new version with these faults as canary, which gets no traffic yet."""
        canary = self._register("challenger")
        stable, new = (ModelVersion(version=version, uri=self.uri) for version in (self.champion, canary))
        spec = ServiceSpec(stable=stable, canary=new, **self._common)
        bodies = []
        for model, env in ((stable, PREFILL), (new, faults or PREFILL)):
            runtime = RuntimeConfig(cpu="300m", memory="128Mi", env=env)
            each = spec.model_copy(update={"runtime": runtime})
            bodies.append(inference_service(each, model, service_name(each, model)))
        for body in bodies:
            self.cluster.apply(body)
        ready = bodies[:1] if faults.get("FAULT") == "never-ready" else bodies
        for body in ready:
            wait_ready(self.cluster, body, 90.0, poll_s=0.5)
        route = http_route(spec)
        self.cluster.apply(route)
        wait_route(self.cluster, route)
        for variant in ("stable", "canary")[: len(ready)]:
            version = spec.stable.version if variant == "stable" else canary
            wait_reached(address(self.cluster, spec), {version}, variant)
        return spec

    def route_weights(self, spec: ServiceSpec) -> dict[str, int]:
        return weights_of(self.cluster.get(route_reference(spec)))

    def is_gone(self, spec: ServiceSpec, model: ModelVersion) -> bool:
        deadline = time.monotonic() + 20
        while self.cluster.find(service_reference(spec, model)) is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def model_uri(cluster_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of no weight: the stand-in needs none, but KServe wants one to fetch."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text("{}")
    uri = f"{cluster_environment['FLYWHEEL_OBJECT_STORE']}/tests/rollout"
    settings = replace(
        Settings.from_env(),
        s3_endpoint=cluster_environment["AWS_ENDPOINT_URL"],
        s3_access_key=cluster_environment["AWS_ACCESS_KEY_ID"],
        s3_secret_key=cluster_environment["AWS_SECRET_ACCESS_KEY"],
        s3_region=cluster_environment["AWS_REGION"],
    )
    store_for(uri, settings).upload(folder, uri)
    return uri


@pytest.fixture(scope="module")
def service(pipeline: Cluster, namespace: str, standin: str, tracking_uri: str, model_uri: str) -> Iterator[Service]:
    from mlflow import MlflowClient

    made = Service(pipeline, namespace, standin, MlflowClient(tracking_uri, tracking_uri), model_uri)
    yield made
    kinds = ("serving.kserve.io/v1beta1", "InferenceService"), ("gateway.networking.k8s.io/v1", "HTTPRoute")
    for version, kind in kinds:
        for item in pipeline.items(version, kind, namespace, labelSelector=f"app.kubernetes.io/part-of={made.name}"):
            pipeline.delete({**item, "apiVersion": version, "kind": kind})


class Scenario:
    """One canary on its way: the gateway in front of it, and the rollout."""

    def __init__(self, service: Service, spec: ServiceSpec, gateway: LocalGateway, settings: Settings) -> None:
        self.service, self.spec, self.gateway, self.settings = service, spec, gateway, settings
        assert spec.canary is not None and settings.run_dir is not None
        self.canary, self.run_dir = spec.canary, settings.run_dir

    def roll_out(self, dataset: Path) -> RolloutResult:
        paths = self.run_dir / "evidence.json", self.run_dir / "report.html"
        given = self.service.name, self.canary.version, dataset, *paths, self.settings, self.service.cluster
        result = run(CONFIG, self.gateway.base_url, *given)
        assert replay_file(self.run_dir / EVIDENCE_NAME).ok
        return result

    def assert_rolled_back(self, result: RolloutResult, *rules: str) -> None:
        assert result.outcome.decision == "rollback" and result.outcome.rule in rules, result.outcome
        assert self.service.aliases == {"champion": self.spec.stable.version}
        self.assert_only(self.spec.stable, self.canary)

    def assert_promoted(self) -> None:
        assert self.service.aliases == {"champion": self.canary.version}
        self.service.champion = self.canary.version
        self.assert_only(self.canary, self.spec.stable)

    def assert_only(self, winner: ModelVersion, loser: ModelVersion) -> None:
        """All traffic on one version, and nothing left of the other."""
        assert self.service.route_weights(self.spec) == {f"{service_name(self.spec, winner)}-predictor": 100}
        assert self.service.is_gone(self.spec, loser)
        answer = self.gateway.chat("Which version are you?")
        assert (answer.status, winner.version in answer.json()["choices"][0]["message"]["content"]) == (200, True)

    def journal(self) -> Journal:
        with Ledger.open(self.settings.ledger_url) as ledger:
            return Journal(ledger, self.settings.run_id, self.service.name, self.canary.version)


@pytest.fixture
def start(service: Service, settings: Settings, tracking_uri: str) -> Iterator[Any]:
    """Call it with the canary's faults: it deploys both versions and starts our gateway, as `deploy` does."""
    settings = replace(settings, tracking_uri=tracking_uri)
    made: list[Scenario] = []

    def begin(**faults: str) -> Scenario:
        spec = service.deploy(**faults)
        assert spec.canary is not None and settings.run_dir is not None
        where = address(service.cluster, spec)
        models = {"stable": spec.stable, "canary": spec.canary}
        upstreams = {name: Upstream(where.url, service.name, model.version, host=where.host)
                     for name, model in models.items()}  # fmt: skip
        gateway, _ = start_gateway(
            service.name, upstreams, settings=settings, run_dir=settings.run_dir, run_id=settings.run_id,
            split_by="router",
        )  # fmt: skip
        endpoint = {
            "base_url": gateway.base_url,
            "model": service.name,
            "key_file": str(gateway.key_file),
            "admin_token_file": str(gateway.admin_token_file),
            "versions": {name: model.version for name, model in models.items()},
            "target": "cluster",
            "service": spec.model_dump(mode="json"),
        }
        (settings.run_dir / "endpoint.json").write_text(json.dumps(endpoint))
        made.append(Scenario(service, spec, gateway, settings))
        return made[0]

    yield begin
    assert settings.run_dir is not None
    reap(settings.run_dir, settings.run_id)
    for scenario in made:
        with Ledger.open(settings.ledger_url) as ledger:
            left = Journal(ledger, settings.run_id, service.name, scenario.canary.version)
            if left.phase and left.phase not in FINISHED:  # of a failed test: the next one must not wait for it
                left.append(ABANDONED, {})
        for model in (scenario.canary, scenario.spec.stable):
            if model.version != service.champion:
                service.cluster.delete(service_reference(scenario.spec, model))


def people(scenario: Scenario) -> Traffic:
    """Users beside the rollout's own client; they ask all the time and pin nothing."""
    config = TrafficConfig(requests_per_second=10, concurrency=2, pin_every=0, timeout_s=30)
    question = [[{"role": "user", "content": "How long is the warranty?"}]]
    gateway = scenario.gateway
    return Traffic(gateway.base_url, gateway.key, gateway.model, question, config, max_seconds=200)


def test_a_healthy_canary_is_promoted_without_one_failed_request(start, curated):
    scenario = start()
    with people(scenario) as traffic:
        result = scenario.roll_out(curated)
        time.sleep(3)  # the old version is on its way out
    assert result.outcome.decision == "promote", result.outcome
    assert dict(traffic.stats.outcomes) == {"ok": traffic.stats.sent}, traffic.stats
    scenario.assert_promoted()
    looks = result.record.looks
    assert all(look.seen.unattributed == 0 for look in looks)
    assert all(look.seen.pods["canary"].ready == 1 for look in looks)
    served = {variant: sum(pod.served or 0 for look in looks for pod in look.seen.pods[variant].pods)
              for variant in ("stable", "canary")}  # fmt: skip
    recorded = {variant: sum(look.seen.of(variant).requests for look in looks) for variant in served}
    # The first look is the pods' starting point, and requests in flight are counted by one side only.
    assert all(0.5 * recorded[variant] <= served[variant] <= 1.2 * recorded[variant] for variant in served), served
    page = (scenario.run_dir / "report.html").read_text()
    assert "answered by pods" in page and f"{service_name(scenario.spec, scenario.canary)}-predictor" in page


def test_a_canary_that_fails_is_rolled_back(start, curated):
    scenario = start(FAULT="error")
    scenario.assert_rolled_back(scenario.roll_out(curated), "canary_failing", "pods_error_share", "error_share")


def test_a_slow_canary_is_rolled_back(start, curated):
    scenario = start(FAULT="slow", FAULT_SECONDS="0.8")
    scenario.assert_rolled_back(scenario.roll_out(curated), "harm:ttft")


def test_a_canary_that_crashes_midway_is_rolled_back(start, curated):
    scenario = start(FAULT="crash", FAULT_AFTER="60")
    result = scenario.roll_out(curated)
    scenario.assert_rolled_back(
        result, "canary_crash_loop", "canary_restarts", "canary_not_ready", "unattributed", "canary_failing",
        "canary_unavailable", "error_share", "harm:errors",
    )  # fmt: skip
    assert any(look.decision.step >= 0 for look in result.record.looks)


def test_a_canary_that_never_becomes_ready_is_rolled_back_and_never_gets_weight(start, curated):
    scenario = start(FAULT="never-ready")
    result = scenario.roll_out(curated)
    scenario.assert_rolled_back(result, "canary_not_ready")
    assert all(look.seen.weights in (None, {"stable": 100, "canary": 0}) for look in result.record.looks)


def test_killed_again_and_again_it_ends_in_the_same_place_and_no_request_fails(
    start, curated, cluster_environment, monkeypatch
):
    scenario = start()
    monkeypatch.setenv("KUBECONFIG", cluster_environment["KUBECONFIG"])
    reached = [
        lambda journal: len(journal.looks) >= 2,
        lambda journal: not journal.warming_up,
        lambda journal: journal.body(DECIDED) is not None,
        lambda journal: journal.body(ALIASES) is not None,
    ]
    with people(scenario) as traffic:
        for far_enough in reached:
            process = begin_process(scenario, curated)
            deadline = time.monotonic() + 60
            while not far_enough(scenario.journal()) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert process.poll() is None, "it ended before it was killed"
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert scenario.journal().phase == ALIASES
        process = begin_process(scenario, curated)
        assert process.wait(60) == 0
    assert dict(traffic.stats.outcomes) == {"ok": traffic.stats.sent}, traffic.stats
    scenario.assert_promoted()
    evidence = json.loads((scenario.run_dir / EVIDENCE_NAME).read_text())
    assert replay_file(scenario.run_dir / EVIDENCE_NAME).decision == "promote"
    assert sum(look["seen"]["unwatched"] > 0 for look in evidence["looks"]) == 2
    counted = [key for look in scenario.journal().looks for key in look["requests"]]
    assert len(counted) == len(set(counted))
    with Ledger.open(scenario.settings.ledger_url) as ledger:
        actions = [event.action for event in ledger.audit_events(object=f"model:{scenario.service.name}")
                   if event.details.get("run_id") == scenario.settings.run_id]  # fmt: skip
    assert actions.count("rollout.resumed") == 2 and "rollout.reverted" not in actions


def begin_process(scenario: Scenario, dataset: Path) -> Any:
    return start_step(
        CONFIG, scenario.gateway.base_url, scenario.service.name, scenario.canary.version, dataset,
        scenario.run_dir, scenario.settings,
    )  # fmt: skip
