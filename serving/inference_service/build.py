"""From a `ServiceSpec` to KServe objects, with the knowledge of what each deployment mode can split.

KServe ignores the wrong field silently (kserve/kserve#5335); here what cannot be honoured is an error. Every body
is checked against its CRD schema before it leaves this module.
"""

from typing import Any, Literal

from llm_flywheel.components.common.crd import require_valid
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.config import CPU_IMAGE, GPU_IMAGE, ModelVersion, ServiceSpec

Body = dict[str, Any]

MODELS = "/mnt/models"  # where KServe's storage initializer puts storageUri
BASE, ADAPTER = f"{MODELS}/base", f"{MODELS}/adapter"
PORT = 8080
VERSION_LABEL = "flywheel.dev/model-version"
VARIANT_LABEL = "flywheel.dev/variant"


def build(spec: ServiceSpec) -> list[Body]:
    """The objects of a service as they are to be in the end; `stages` says in which order to get there.

    Raises:
        FlywheelError: The mode cannot split traffic as asked, or a body does not match its CRD.
    """
    split = split_of(spec)
    check(spec, split)
    bodies = [serving_runtime(spec)]
    if split == "pair":
        bodies.append(inference_service(spec, spec.stable, "stable", spec.name))
        if spec.canary is not None:
            bodies.append(inference_service(spec, spec.canary, "canary", canary_name(spec)))
        if spec.gateway is not None:
            bodies.append(http_route(spec))
    elif split == "percent":
        bodies.append(_percent(spec))
    else:
        bodies.append(_native(spec))
    for body in bodies:
        require_valid(body)
    return bodies


def stages(spec: ServiceSpec) -> dict[str, list[Body]]:
    """The same objects in steps to apply one after the other, each when the one before is ready.

    Knative gives a revision a share only when another one has been rolled out, and a Gateway sends a share to a
    backend whether it is ready or not: so first stable, then the canary, then the split.
    """
    first, last = build(without_canary(spec)), build(spec)
    if spec.canary is None:
        return {"stable": first}
    news = [body for body in last if body not in first]
    routes = [body for body in news if body["kind"] == "HTTPRoute"]
    found = {"stable": first, "canary": [body for body in news if body not in routes], "split": routes}
    return {name: bodies for name, bodies in found.items() if bodies}


def without_canary(spec: ServiceSpec) -> ServiceSpec:
    """The same service with all traffic on stable."""
    return spec.model_copy(update={"canary": None, "canary_percent": 0})


def split_of(spec: ServiceSpec) -> Literal["pair", "native", "percent"]:
    """How traffic will be split; ``auto`` is resolved by the mode."""
    if spec.split == "auto":
        return "percent" if spec.mode == "knative" else "pair"
    return spec.split


def canary_name(spec: ServiceSpec) -> str:
    """Name of the canary's InferenceService in a pair."""
    return f"{spec.name}-canary"


def check(spec: ServiceSpec, split: str) -> None:
    """Refuse what KServe would ignore or get wrong.

    Raises:
        FlywheelError: With the reason and a way that works.
    """
    for problem, fix in _problems(spec, split):
        raise FlywheelError(problem, where=f"service {spec.name}", fix=fix, reason="unsplittable")


def _problems(spec: ServiceSpec, split: str) -> list[tuple[str, str]]:
    canary, found = spec.canary, []
    if spec.mode == "standard" and split == "percent":
        found.append(("KServe ignores canaryTrafficPercent in Standard mode", "set split: pair (or native)"))
    if spec.mode == "knative" and split != "percent":
        found.append((f"split {split!r} needs Standard mode; Knative splits by revision", "set split: percent"))
    if canary is None:
        return found
    if (canary.uri, canary.base_uri) == (spec.stable.uri, spec.stable.base_uri):
        found.append(("canary and stable are the same model; there is nothing to split", "deploy another version"))
    if split in ("pair", "native") and spec.gateway is None:
        found.append(
            ("a split in Standard mode needs a Gateway; without it KServe starts the canary but sends it nothing",
             "set gateway.name and gateway.namespace")
        )  # fmt: skip
    if split == "native":
        found += _native_problems(spec, canary)
    return found


def _native_problems(spec: ServiceSpec, canary: ModelVersion) -> list[tuple[str, str]]:
    found = []
    major, minor = (int(part) for part in spec.kserve_version.split(".")[:2])
    if (major, minor) < (0, 21):
        found.append((f"KServe {spec.kserve_version} has no weights for spec.canary[]", "set split: pair"))
    if canary.base_uri or spec.stable.base_uri:
        found.append(("KServe ignores storageUris, which adapters need, in spec.canary[]", "set split: pair"))
    if spec.logger_url:
        found.append(("KServe does not log a canary of spec.canary[]", "set split: pair, or no logger_url"))
    if not spec.canary_percent:
        found.append(("some gateways leak traffic to a weight of 0", "set split: pair, or start at 1 per cent"))
    return found


def serving_runtime(spec: ServiceSpec) -> Body:
    """The vLLM runtime of a service.

    Ours rather than the cluster's: KServe rewrites the image of a runtime that carries its server-type annotation.
    """
    runtime = spec.runtime
    device: Literal["cpu", "gpu"] = "gpu" if runtime.gpus else "cpu"
    container = {
        "name": "kserve-container",
        "image": runtime.image or (GPU_IMAGE if runtime.gpus else CPU_IMAGE),
        "command": ["vllm", "serve"],
        # KServe appends the model's own arguments, which begin with its path; the last flag of a kind wins.
        "args": [f"--port={PORT}", *runtime.vllm_args(device)],
        "env": [{"name": name, "value": value} for name, value in _environment(spec, device).items()],
        "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe(period_s=10, failures=max(3, runtime.startup_timeout_s // 10)),
        "readinessProbe": _probe(period_s=10, failures=3),
        # A long prefill must not look like death.
        "livenessProbe": _probe(period_s=30, failures=6),
        "resources": _resources(spec),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": runtime.run_as_user,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": _metadata(spec, f"{spec.name}-vllm"),
        "spec": {
            "supportedModelFormats": [{"name": "vLLM", "version": "1", "autoSelect": False}],
            "containers": [container],
            "volumes": [
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": runtime.shm_size}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
    }


def _probe(period_s: int, failures: int) -> Body:
    path = {"path": "/health", "port": PORT, "scheme": "HTTP"}
    return {"httpGet": path, "periodSeconds": period_s, "timeoutSeconds": 10, "failureThreshold": failures}


def _environment(spec: ServiceSpec, device: Literal["cpu", "gpu"]) -> dict[str, str]:
    """Every cache in the scratch volume, and a name for a UID that the image's passwd does not know."""
    values = {"HOME": "/tmp", "USER": "flywheel", "LOGNAME": "flywheel", "HF_HOME": "/tmp/hf"}  # noqa: S108
    values |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    values |= {"XDG_CACHE_HOME": "/tmp/cache", "VLLM_CACHE_ROOT": "/tmp/cache/vllm"}  # noqa: S108
    if device == "cpu":
        values["VLLM_CPU_KVCACHE_SPACE"] = "1"
    return values | spec.runtime.env


def _resources(spec: ServiceSpec) -> Body:
    runtime = spec.runtime
    amounts = {"cpu": runtime.cpu, "memory": runtime.memory}
    if runtime.gpus:
        amounts[runtime.gpu_resource] = str(runtime.gpus)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def inference_service(spec: ServiceSpec, model: ModelVersion, variant: str, name: str) -> Body:
    """One InferenceService that serves one model version."""
    annotations = {"serving.kserve.io/deploymentMode": "Knative" if spec.mode == "knative" else "Standard"}
    if spec.mode == "standard":
        annotations["serving.kserve.io/autoscalerClass"] = "none"
    metadata = _metadata(spec, name, {VARIANT_LABEL: variant, VERSION_LABEL: model.version})
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata | {"annotations": annotations},
        "spec": {"predictor": _predictor(spec, model)},
    }


def _predictor(spec: ServiceSpec, model: ModelVersion) -> Body:
    served: Body = {"modelFormat": {"name": "vLLM"}, "runtime": f"{spec.name}-vllm", "args": model_args(spec, model)}
    predictor: Body = {
        "minReplicas": spec.replicas,
        "annotations": {VERSION_LABEL: model.version},
        "labels": {VERSION_LABEL: model.version},
        "model": served,
    }
    if spec.mode == "standard":
        predictor["maxReplicas"] = spec.replicas
    if model.base_uri:
        predictor["storageUris"] = [
            {"uri": model.base_uri, "mountPath": BASE},
            {"uri": model.uri, "mountPath": ADAPTER},
        ]
    else:
        served["storageUri"] = model.uri
    if spec.service_account:
        predictor["serviceAccountName"] = spec.service_account
    if spec.logger_url:
        # KServe's events name neither pod nor variant: the version travels as an annotation.
        predictor["logger"] = {"url": spec.logger_url, "mode": "all", "metadataAnnotations": [VERSION_LABEL]}
    return predictor


def model_args(spec: ServiceSpec, model: ModelVersion) -> list[str]:
    """What vLLM is told about one model version; requests name the service's model, whatever the variant."""
    name, extra = spec.model_name or spec.name, spec.runtime.args
    if not model.base_uri:
        return [MODELS, f"--served-model-name={name}", *extra]
    rank = next(value for value in (8, 16, 32, 64, 128, 256, 320, 512) if value >= model.lora_rank)
    lora = ["--enable-lora", f"--max-lora-rank={rank}", "--max-loras=1", "--lora-modules", f"{name}={ADAPTER}"]
    return [BASE, f"--served-model-name={name}-base", *extra, *lora]


def _percent(spec: ServiceSpec) -> Body:
    """Knative: the new revision is the canary and gets its share, the one rolled out before keeps the rest."""
    if spec.canary is None:
        return inference_service(spec, spec.stable, "stable", spec.name)
    body = inference_service(spec, spec.canary, "canary", spec.name)
    body["spec"]["predictor"]["canaryTrafficPercent"] = spec.canary_percent
    return body


def _native(spec: ServiceSpec) -> Body:
    """Standard mode of KServe 0.21: the canary is an overlay of stable with its own Deployment."""
    body = inference_service(spec, spec.stable, "stable", spec.name)
    # The webhook refuses maxReplicas in a canary, and the overlay copies the rest from stable.
    if spec.canary is not None:
        overlay = _predictor(spec, spec.canary)
        kept = {key: overlay[key] for key in ("annotations", "labels", "model", "minReplicas")}
        # Required here and without the default that it has in the stable predictor; empty means the runtime's own.
        kept["model"]["name"] = ""
        body["spec"]["canary"] = [
            {"trafficPercent": spec.canary_percent, "predictor": {"name": _component_name(spec.canary), **kept}}
        ]
    return body


def _component_name(model: ModelVersion) -> str:
    return "v" + "".join(char if char.isalnum() else "-" for char in model.version.lower())[:20].rstrip("-")


def http_route(spec: ServiceSpec) -> Body:
    """The route that splits traffic between a pair; a weight of 0 is left out, as some gateways leak to it."""
    assert spec.gateway is not None
    shares = [(spec.name, 100 - spec.canary_percent), (canary_name(spec), spec.canary_percent)]
    backends = [{"name": f"{name}-predictor", "port": 80, "weight": weight} for name, weight in shares if weight]
    parent = {"name": spec.gateway.name, "namespace": spec.gateway.namespace or spec.namespace}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
        "backendRefs": backends,
        # A streamed answer may take minutes; 0s is "no limit" in Gateway API.
        "timeouts": {"request": "0s"},
    }
    body: Body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(spec, f"{spec.name}-split"),
        "spec": {"parentRefs": [parent], "rules": [rule]},
    }
    if spec.hostnames:
        body["spec"]["hostnames"] = spec.hostnames
    return body


def _metadata(spec: ServiceSpec, name: str, labels: dict[str, str] | None = None) -> Body:
    own = {"app.kubernetes.io/managed-by": "llm-flywheel", "app.kubernetes.io/part-of": spec.name}
    return {"name": name, "namespace": spec.namespace, "labels": own | (labels or {})}
