"""Traffic between two versions on a real cluster: what the weights say is what requests meet, whatever happens."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from urllib3 import PoolManager

from llm_flywheel.components.common.cluster import Body, Cluster, reference
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import store_for
from llm_flywheel.components.common.tracking import open_client
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.deploy.deploy import run
from llm_flywheel.serving.inference_service.address import Address, address
from llm_flywheel.serving.inference_service.build import service_name
from llm_flywheel.serving.inference_service.client import apply_service, wait_reached
from llm_flywheel.serving.inference_service.config import GatewayRef, ModelVersion, RuntimeConfig, ServiceSpec
from llm_flywheel.serving.inference_service.route import PROXY_LAG_S, RouteBackend
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.local.gateway import LocalGateway
from llm_flywheel.serving.local.processes import reap
from llm_flywheel.serving.rollout.backend import put_in_force

pytestmark = pytest.mark.cluster

NAME = "canary-test"
GATEWAY = GatewayRef(name="kserve-ingress-gateway", namespace="kserve")
QUICK = RuntimeConfig(cpu="100m", memory="128Mi")
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def model_uri(cluster_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model in the object storage, as far as the stand-in needs one."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text("{}")
    keys = {"s3_endpoint": "AWS_ENDPOINT_URL", "s3_access_key": "AWS_ACCESS_KEY_ID"}
    keys |= {"s3_secret_key": "AWS_SECRET_ACCESS_KEY", "s3_region": "AWS_REGION"}
    settings = replace(Settings.from_env(), **{key: cluster_environment[name] for key, name in keys.items()})  # type: ignore[arg-type]
    uri = f"{cluster_environment['FLYWHEEL_OBJECT_STORE']}/tests/canary"
    for version in ("1", "2"):
        store_for(uri, settings).upload(folder, f"{uri}/{version}")
    return uri


@pytest.fixture(scope="module")
def pair(namespace: str, standin: str, model_uri: str) -> ServiceSpec:
    """Version 1 with all traffic, version 2 with none."""
    return ServiceSpec(
        name=NAME,
        namespace=namespace,
        gateway=GATEWAY,
        serving_runtime=standin,
        service_account="flywheel-serving",
        runtime=QUICK,
        stable=ModelVersion(version="1", uri=f"{model_uri}/1"),
        canary=ModelVersion(version="2", uri=f"{model_uri}/2"),
    )


@pytest.fixture(scope="module", autouse=True)
def nothing_left(admin: Cluster, namespace: str) -> Iterator[None]:
    """What these tests leave is removed, at the end alone: a version that is there starts no pod again."""
    yield
    for name in (NAME, f"{NAME}-deploy"):
        kinds = (("serving.kserve.io/v1beta1", "InferenceService"), ("gateway.networking.k8s.io/v1", "HTTPRoute"))
        for api_version, kind in kinds:
            selector = f"app.kubernetes.io/part-of={name}"
            for item in admin.items(api_version, kind, namespace, labelSelector=selector):
                admin.delete(reference(api_version, kind, namespace, item["metadata"]["name"]))


@dataclass
class Client:
    """Asks the Gateway, with the host name alone."""

    where: Address
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def ask(self, pool: PoolManager, variant: str = "") -> str:
        """One question; returns the version that answered, or what went wrong."""
        headers = {"Host": self.where.host} | ({"x-flywheel-variant": variant} if variant else {})
        body = {"model": NAME, "messages": [{"role": "user", "content": "Who are you?"}]}
        try:
            answer = pool.request("POST", f"{self.where.url}/v1/chat/completions", headers=headers, json=body)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        if answer.status != 200:
            return f"status {answer.status}: {answer.data[:80]!r}"
        version = answer.headers["x-flywheel-version"]
        assert answer.json()["choices"][0]["message"]["content"] == f"This is version {version}"
        return str(version)

    def measure(self, count: int, variant: str = "") -> Counter[str]:
        """Versions that answered ``count`` requests."""
        with PoolManager(retries=False, timeout=20.0, maxsize=8) as pool, ThreadPoolExecutor(8) as threads:
            return Counter(threads.map(lambda _: self.ask(pool, variant), range(count)))

    @contextmanager
    def busy(self) -> Iterator["Client"]:
        """Ask from four threads all the while."""
        over = threading.Event()

        def work() -> None:
            with PoolManager(retries=False, timeout=20.0) as pool:
                while not over.is_set():
                    found = self.ask(pool)
                    (self.versions if found in ("1", "2") else self.failures)[found] += 1
                    time.sleep(0.02)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            over.set()
            for thread in threads:
                thread.join()


def ready(pipeline: Cluster, spec: ServiceSpec) -> Client:
    """Bring the service up, both variants reached by their pins."""
    apply_service(spec, pipeline, timeout_s=TIMEOUT_S)
    where = address(pipeline, spec)
    for variant, model in (("stable", spec.stable), ("canary", spec.canary)):
        if model is not None:
            wait_reached(where, {model.version}, variant)
    return Client(where)


def pods(cluster: Cluster, spec: ServiceSpec, version: str = "") -> list[Body]:
    selector = f"app.kubernetes.io/part-of={spec.name}" + (f",flywheel.dev/model-version={version}" if version else "")
    found = cluster.items("v1", "Pod", spec.namespace, labelSelector=selector)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def services(cluster: Cluster, spec: ServiceSpec) -> list[str]:
    found = cluster.items(
        "serving.kserve.io/v1beta1", "InferenceService", spec.namespace,
        labelSelector=f"app.kubernetes.io/part-of={spec.name}",
    )  # fmt: skip
    return sorted(item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"])


@pytest.mark.parametrize("canary", [20, 1])
def test_measured_shares_match_the_weights(pipeline: Cluster, pair: ServiceSpec, canary: int) -> None:
    asking = ready(pipeline, pair)
    backend = RouteBackend(pair, pipeline)
    assert put_in_force(backend, {"stable": 100 - canary, "canary": canary}) == (True, "")
    time.sleep(PROXY_LAG_S)
    count = 600
    found = asking.measure(count)
    assert set(found) <= {"1", "2"}
    share = canary / 100
    # Four standard deviations of a binomial: once in sixteen thousand runs by chance.
    assert abs(found["2"] - count * share) <= 4 * (count * share * (1 - share)) ** 0.5
    assert found["2"] > 0
    assert backend.weights() == {"stable": 100 - canary, "canary": canary}


def test_a_pinned_request_reaches_its_variant_and_no_other(pipeline: Cluster, pair: ServiceSpec) -> None:
    asking = ready(pipeline, pair)
    assert asking.measure(50) == {"1": 50}
    assert asking.measure(50, "canary") == {"2": 50}
    assert asking.measure(50, "stable") == {"1": 50}


def test_weights_of_another_hand_are_read_back_as_they_are(
    pipeline: Cluster, admin: Cluster, pair: ServiceSpec
) -> None:
    ready(pipeline, pair)
    backend = RouteBackend(pair, pipeline)
    route = reference("gateway.networking.k8s.io/v1", "HTTPRoute", pair.namespace, pair.name)
    rules = admin.get(route)["spec"]["rules"]
    rules[-1]["backendRefs"] = [{"name": f"{NAME}-v2-predictor", "port": 80, "weight": 100}]
    admin.patch(route, {"spec": {"rules": rules}})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert backend.weights() == {"stable": 0, "canary": 100}
            break
        except FlywheelError:
            time.sleep(0.2)  # the Gateway has not looked at the change yet
    rules[-1]["backendRefs"][0]["name"] = "nobody"
    admin.patch(route, {"spec": {"rules": rules}})
    time.sleep(3)
    with pytest.raises(FlywheelError, match="the route is not in force"):
        backend.weights()
    backend.set_weights({"stable": 100, "canary": 0})
    assert backend.weights() == {"stable": 100, "canary": 0}


def test_applying_twice_changes_nothing(pipeline: Cluster, pair: ServiceSpec) -> None:
    def state() -> list[Any]:
        kinds = [("serving.kserve.io/v1beta1", "InferenceService"), ("gateway.networking.k8s.io/v1", "HTTPRoute")]
        found = [
            pipeline.get(reference(api_version, kind, pair.namespace, name))
            for (api_version, kind), names in zip(kinds, ([f"{NAME}-v1", f"{NAME}-v2"], [NAME]), strict=True)
            for name in names
        ]
        generations = [(item["kind"], item["metadata"]["name"], item["metadata"]["generation"]) for item in found]
        return generations[:2] + sorted(pod["metadata"]["uid"] for pod in pods(pipeline, pair))

    ready(pipeline, pair)
    before = state()
    ready(pipeline, pair)
    assert state() == before
    assert len(before) == 4


def test_a_promotion_restarts_no_pod_and_fails_no_request(pipeline: Cluster, pair: ServiceSpec) -> None:
    asking = ready(pipeline, pair)
    backend = RouteBackend(pair, pipeline)
    [canary_pod] = pods(pipeline, pair, "2")
    with asking.busy():
        backend.set_weights({"stable": 50, "canary": 50})
        time.sleep(PROXY_LAG_S)
        backend.settle("promote")
        backend.settle("promote")
        time.sleep(PROXY_LAG_S)
    assert (sum(asking.failures.values()), asking.failures) == (0, Counter())
    assert min(asking.versions["1"], asking.versions["2"]) > 20
    assert services(pipeline, pair) == [f"{NAME}-v2"]
    assert backend.weights() == {"stable": 0, "canary": 100}
    assert [pod["metadata"]["uid"] for pod in pods(pipeline, pair, "2")] == [canary_pod["metadata"]["uid"]]
    assert asking.measure(50) == asking.measure(50, "stable") == {"2": 50}


def test_a_rollback_fails_no_request(pipeline: Cluster, pair: ServiceSpec) -> None:
    asking = ready(pipeline, pair)
    backend = RouteBackend(pair, pipeline)
    with asking.busy():
        backend.set_weights({"stable": 50, "canary": 50})
        time.sleep(PROXY_LAG_S)
        backend.settle("rollback")
        time.sleep(PROXY_LAG_S)
    assert (sum(asking.failures.values()), asking.failures) == (0, Counter())
    assert asking.versions["2"] > 20
    assert services(pipeline, pair) == [f"{NAME}-v1"]
    assert asking.measure(100) == {"1": 100}


def broken(pair: ServiceSpec, **changes: Any) -> ServiceSpec:
    """The same service with another canary: version 3, or what a test makes of it."""
    canary = pair.canary
    assert canary is not None
    return pair.model_copy(update={"canary": canary.model_copy(update={"version": "3"}), **changes})


def faulty(fault: str) -> Callable[[ServiceSpec], ServiceSpec]:
    environment = {"FAULT": fault, "FAULT_VERSION": "3", "FAULT_AFTER": "0"}
    return lambda pair: broken(pair, runtime=QUICK.model_copy(update={"env": environment}))


def unstored(pair: ServiceSpec) -> ServiceSpec:
    return broken(pair, canary=ModelVersion(version="3", uri=f"{pair.stable.uri}/nothing/here"))


@pytest.mark.parametrize(
    ("change", "timeout_s", "reason", "says"),
    [
        (faulty("never-ready"), 30, "timeout", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        (faulty("crash"), 240, "crash_loop", "| the stand-in crashes"),
        (unstored, 240, "storage", "storage-initializer: ended with exit code 1"),
    ],
    ids=["never-ready", "crash", "storage"],
)
def test_a_canary_that_does_not_get_ready_is_named_and_gets_no_traffic(
    pipeline: Cluster, pair: ServiceSpec, change: Any, timeout_s: float, reason: str, says: str
) -> None:
    spec = change(pair)
    alone = spec.model_copy(update={"canary": None})
    asking = ready(pipeline, alone)
    started = time.monotonic()
    with asking.busy(), pytest.raises(FlywheelError) as caught:
        apply_service(spec, pipeline, timeout_s=timeout_s)
    assert (caught.value.reason, caught.value.where) == (reason, f"InferenceService/{NAME}-v3")
    assert says in caught.value.what
    assert time.monotonic() - started < 200
    assert (asking.failures, set(asking.versions)) == (Counter(), {"1"})
    assert services(pipeline, pair) == [f"{NAME}-v1"]


def test_a_canary_that_no_node_can_hold_is_named(pipeline: Cluster, pair: ServiceSpec) -> None:
    asking = ready(pipeline, pair.model_copy(update={"canary": None}))
    huge = broken(pair, stable=pair.stable, runtime=QUICK.model_copy(update={"gpus": 8}))
    with pytest.raises(FlywheelError, match=r"unschedulable: .*Insufficient nvidia.com/gpu") as caught:
        apply_service(huge, pipeline, timeout_s=10)
    # Stable wants the GPUs too: it is named first, and its old pod goes on.
    assert (caught.value.reason, caught.value.where) == ("unschedulable", f"InferenceService/{NAME}-v1")
    assert asking.measure(20) == {"1": 20}


def test_a_native_canary_without_weights_is_noticed_and_taken_back(pipeline: Cluster, pair: ServiceSpec) -> None:
    """KServe 0.20.0: the canary's pod runs, its status says ready and 20 per cent, and the route has one backend."""
    native = pair.model_copy(update={"split": "native", "kserve_version": "0.21", "canary_percent": 20})
    with pytest.raises(FlywheelError, match="reports the canary ready at 20 %, but its HTTPRoute carries") as caught:
        apply_service(native, pipeline, timeout_s=TIMEOUT_S)
    assert "split: pair" in caught.value.fix
    where = reference(
        "serving.kserve.io/v1beta1", "InferenceService", pair.namespace, service_name(native, native.stable)
    )
    assert "canary" not in pipeline.get(where)["spec"]
    deadline = time.monotonic() + 60
    while pods(pipeline, pair, "2") and time.monotonic() < deadline:
        time.sleep(1)
    assert pods(pipeline, pair, "2") == []
    pipeline.delete(where)


@pytest.fixture
def registered(settings: Settings, model_uri: str) -> Iterator[Settings]:
    """A registry with a champion and a challenger; the gateway that a test starts is ended."""
    registry = open_client(settings)
    registry.create_registered_model(f"{NAME}-deploy")
    for version in ("1", "2"):
        registry.create_model_version(f"{NAME}-deploy", f"{model_uri}/{version}", tags={"kind": "full"})
    registry.set_registered_model_alias(f"{NAME}-deploy", "champion", "1")
    yield settings
    assert settings.run_dir is not None
    reap(settings.run_dir, settings.run_id)


def test_deploy_puts_our_gateway_in_front_and_meters_every_version(
    pipeline: Cluster, registered: Settings, namespace: str, standin: str, tmp_path: Path
) -> None:
    settings, name = registered, f"{NAME}-deploy"
    config = DeployConfig(target="cluster", namespace=namespace, serving_runtime=standin, runtime=QUICK)
    made = run(config, name, "2", tmp_path / "manifests", tmp_path / "report.md", settings, cluster=pipeline)
    assert made.weights == {"stable": 100, "canary": 0}
    assert settings.run_dir is not None
    spec = ServiceSpec.model_validate(json.loads((settings.run_dir / "endpoint.json").read_text())["service"])
    backend = RouteBackend(spec, pipeline)
    assert backend.weights() == made.weights
    backend.set_weights({"stable": 70, "canary": 30})
    folder = settings.run_dir / "gateway"
    gateway = LocalGateway(made.endpoint, name, folder / "api-key", folder / "admin-token", folder / "config.json")
    time.sleep(PROXY_LAG_S)
    with OpenAI(base_url=made.endpoint, api_key=gateway.key) as ours:
        for number in range(40):
            message: Any = {"role": "user", "content": "Who are you?"}
            answer = ours.chat.completions.create(model=name, messages=[message], stream=number % 2 == 1)
            text = "".join(part.choices[0].delta.content or "" for part in answer if part.choices) if number % 2 else (
                answer.choices[0].message.content
            )  # fmt: skip
            assert text.startswith("This is version ")
    assert gateway.chat("hello", variant="canary").headers["x-flywheel-variant"] == "canary"
    with pytest.raises(FlywheelError, match="409 .*HTTPRoute for host canary-test-deploy.flywheel.internal"):
        gateway.set_weights({"stable": 50, "canary": 50})
    report = (tmp_path / "report.md").read_text()
    where = address(pipeline, spec)
    with OpenAI(base_url=f"{where.url}/v1", api_key="none", default_headers={"Host": where.host}) as direct:
        assert direct.models.list().data[0].id == name
    assert f'default_headers={{"Host": "{where.host}"}}' in report
    reap(settings.run_dir, settings.run_id)
    with Ledger.open(settings.ledger_url) as ledger:
        rows = ledger.usage_between(0, 1e12, run_id=settings.run_id)
    assert len(rows) == 2 + 40 + 1  # smoke test, questions, the pinned one
    assert {(row.variant, row.version, row.outcome) for row in rows} == {("stable", "1", "ok"), ("canary", "2", "ok")}
    assert all(row.completion_tokens for row in rows)
