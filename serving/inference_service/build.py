"""From a `ServiceSpec` to KServe objects, with the knowledge of what each deployment mode can split.

KServe ignores the wrong field silently (kserve/kserve#5335); here what cannot be honoured is an error. Every body
is checked against its CRD schema before it leaves this module. How vLLM is started (image, port, probes, volumes) is
the platform's ServingRuntime, which the InferenceServices name; they bring the model, its arguments and resources.
"""

import hashlib
import json
from typing import Literal

from llm_flywheel.components.common.cluster import Body, reference
from llm_flywheel.components.common.crd import require_valid
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.config import ModelVersion, ServiceSpec

MODELS = "/mnt/models"  # where KServe's storage initializer puts storageUri
BASE, ADAPTER = f"{MODELS}/base", f"{MODELS}/adapter"
PORT = 8080
VERSION_LABEL = "flywheel.dev/model-version"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
SPEC_ANNOTATION = "flywheel.dev/spec"
VARIANT_HEADER = "x-flywheel-variant"
VERSION_HEADER = "x-flywheel-version"
# KServe labels pods "app: isvc.NAME-predictor", and a label's value has 63 characters.
_LONGEST_NAME = 63 - len("isvc.") - len("-predictor")


def build(spec: ServiceSpec) -> list[Body]:
    """The objects of a service as they are to be in the end; `stages` says in which order to get there.

    Raises:
        FlywheelError: The mode cannot split traffic as asked, or a body does not match its CRD.
    """
    split = split_of(spec)
    check(spec, split)
    if split == "pair":
        models = [spec.stable] if spec.canary is None else [spec.stable, spec.canary]
        bodies = [inference_service(spec, model, service_name(spec, model)) for model in models]
        if spec.gateway is not None:
            bodies.append(http_route(spec))
    else:
        bodies = [_percent(spec) if split == "percent" else _native(spec)]
    for body in bodies:
        require_valid(body)
    return bodies


def stages(spec: ServiceSpec) -> dict[str, list[Body]]:
    """The same objects in steps to apply one after the other, each body when the one before is ready.

    Knative gives a revision a share only when another one has been rolled out, and a Gateway sends a share to a
    backend whether it is ready or not: so first stable, then the canary, which in a pair answers pinned requests
    alone, then the split.
    """
    steps = {"stable": without_canary(spec)}
    if spec.canary is not None:
        if split_of(spec) == "pair":
            steps["canary"] = spec.model_copy(update={"canary_percent": 0})
        steps["split" if "canary" in steps else "canary"] = spec
    found: dict[str, list[Body]] = {}
    before: list[Body] = []
    for name, step in steps.items():
        bodies = build(step)
        found[name] = [body for body in bodies if body not in before]
        before = bodies
    return {name: bodies for name, bodies in found.items() if bodies}


def without_canary(spec: ServiceSpec) -> ServiceSpec:
    """The same service with all traffic on stable."""
    return spec.model_copy(update={"canary": None, "canary_percent": 0})


def split_of(spec: ServiceSpec) -> Literal["pair", "native", "percent"]:
    """How traffic will be split; ``auto`` is resolved by the mode."""
    if spec.split == "auto":
        return "percent" if spec.mode == "knative" else "pair"
    return spec.split


def service_name(spec: ServiceSpec, model: ModelVersion) -> str:
    """Name of the InferenceService that serves one version: which variant it is, is a matter of the route alone."""
    split = split_of(spec)
    if split == "pair":
        return f"{spec.name}-{model.slug}"
    # KServe calls its own HTTPRoute after a native InferenceService: it must not be the name of ours.
    return spec.name if split == "percent" else f"{spec.name}-native"


def predictor_service(spec: ServiceSpec, model: ModelVersion) -> str:
    """Name of the Service (and the Deployment) that KServe makes for one version of a pair."""
    return f"{service_name(spec, model)}-predictor"


def route_reference(spec: ServiceSpec) -> Body:
    """Names our HTTPRoute."""
    return reference("gateway.networking.k8s.io/v1", "HTTPRoute", spec.namespace, spec.name)


def service_reference(spec: ServiceSpec, model: ModelVersion) -> Body:
    """Names the InferenceService of one version."""
    return reference("serving.kserve.io/v1beta1", "InferenceService", spec.namespace, service_name(spec, model))


def check(spec: ServiceSpec, split: str) -> None:
    """Refuse what KServe would ignore or get wrong.

    Raises:
        FlywheelError: With the reason and a way that works.
    """
    for problem, fix in _problems(spec, split):
        raise FlywheelError(problem, where=f"service {spec.name}", fix=fix, reason="unsplittable")


def _problems(spec: ServiceSpec, split: str) -> list[tuple[str, str]]:
    canary, found = spec.canary, []
    for model in filter(None, (spec.stable, canary)):
        name = service_name(spec, model) + (f"-{model.slug}" if split == "native" else "")
        if len(name) > _LONGEST_NAME:
            found.append((f"{name} is longer than KServe's {_LONGEST_NAME} characters", "take a shorter model name"))
    if spec.mode == "standard" and split == "percent":
        found.append(("KServe ignores canaryTrafficPercent in Standard mode", "set split: pair (or native)"))
    if spec.mode == "knative" and split != "percent":
        found.append((f"split {split!r} needs Standard mode; Knative splits by revision", "set split: percent"))
    if canary is None:
        return found
    same = (canary.uri, canary.base_uri) == (spec.stable.uri, spec.stable.base_uri)
    if same or canary.version == spec.stable.version:
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


def inference_service(spec: ServiceSpec, model: ModelVersion, name: str) -> Body:
    """One InferenceService that serves one model version."""
    annotations = {"serving.kserve.io/deploymentMode": "Knative" if spec.mode == "knative" else "Standard"}
    if spec.mode == "standard":
        annotations["serving.kserve.io/autoscalerClass"] = "none"
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": _metadata(spec, name, {VERSION_LABEL: model.version}) | {"annotations": annotations},
        "spec": {"predictor": _predictor(spec, model)},
    }


def _predictor(spec: ServiceSpec, model: ModelVersion) -> Body:
    environment = spec.runtime.env | {"FLYWHEEL_MODEL_VERSION": model.version}
    served: Body = {
        "modelFormat": {"name": "vLLM"},
        "runtime": spec.serving_runtime,
        "args": model_args(spec, model),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": _resources(spec),
        # A Gateway sends requests to a pod for a moment after it has been told to end.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    predictor: Body = {
        "annotations": {VERSION_LABEL: model.version},
        "labels": {PART_OF: spec.name, VERSION_LABEL: model.version},
        # A ServingRuntime has no field for these. Its container, and the storage initializer's in KServe's
        # ClusterStorageContainer, bring what Pod Security "restricted" asks of a container.
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "model": served,
    }
    if spec.service_account:
        predictor["serviceAccountName"] = spec.service_account
    if model.base_uri:
        predictor["storageUris"] = [
            {"uri": model.base_uri, "mountPath": BASE},
            {"uri": model.uri, "mountPath": ADAPTER},
        ]
    else:
        served["storageUri"] = model.uri
    if spec.logger_url:
        # KServe's events name neither pod nor variant: the version travels as an annotation.
        predictor["logger"] = {"url": spec.logger_url, "mode": "all", "metadataAnnotations": [VERSION_LABEL]}
    # KServe copies it to the Deployment: there it says that this spec, and no earlier one, is being rolled out.
    digest = hashlib.sha256(json.dumps(predictor, sort_keys=True).encode()).hexdigest()
    predictor["annotations"][SPEC_ANNOTATION] = digest[:12]
    predictor["minReplicas"] = spec.replicas
    if spec.mode == "standard":
        # KServe's own routes end an answer after 60 s; 0 is "no limit" in Gateway API.
        predictor |= {"maxReplicas": spec.replicas, "timeout": 0}
    return predictor


def _resources(spec: ServiceSpec) -> Body:
    runtime = spec.runtime
    amounts = {"cpu": runtime.cpu, "memory": runtime.memory}
    if runtime.gpus:
        amounts[runtime.gpu_resource] = str(runtime.gpus)
    return {"requests": amounts, "limits": amounts | {"cpu": runtime.cpu_limit or runtime.cpu}}


def model_args(spec: ServiceSpec, model: ModelVersion) -> list[str]:
    """What vLLM is told about one model version, after the runtime's own arguments; the last of a kind wins.

    Requests name the service's model, whatever the variant.
    """
    name, runtime = spec.model_name or spec.name, spec.runtime
    shared = [*runtime.vllm_args("gpu" if runtime.gpus else "cpu"), *runtime.args]
    if not model.base_uri:
        return [f"--model={MODELS}", f"--served-model-name={name}", *shared]
    rank = next(value for value in (8, 16, 32, 64, 128, 256, 320, 512) if value >= model.lora_rank)
    lora = ["--enable-lora", f"--max-lora-rank={rank}", "--max-loras=1", "--lora-modules", f"{name}={ADAPTER}"]
    return [f"--model={BASE}", f"--served-model-name={name}-base", *shared, *lora]


def _percent(spec: ServiceSpec) -> Body:
    """Knative: the new revision is the canary and gets its share, the one rolled out before keeps the rest."""
    if spec.canary is None:
        return inference_service(spec, spec.stable, service_name(spec, spec.stable))
    body = inference_service(spec, spec.canary, service_name(spec, spec.canary))
    body["spec"]["predictor"]["canaryTrafficPercent"] = spec.canary_percent
    return body


def _native(spec: ServiceSpec) -> Body:
    """Standard mode of KServe 0.21: the canary is an overlay of stable with its own Deployment."""
    body = inference_service(spec, spec.stable, service_name(spec, spec.stable))
    # The webhook refuses maxReplicas in a canary, and the overlay copies the rest from stable.
    if spec.canary is not None:
        overlay = _predictor(spec, spec.canary)
        kept = {key: overlay[key] for key in ("annotations", "labels", "model", "minReplicas")}
        # Required here and without the default that it has in the stable predictor; empty means the runtime's own.
        kept["model"]["name"] = ""
        body["spec"]["canary"] = [
            {"trafficPercent": spec.canary_percent, "predictor": {"name": spec.canary.slug, **kept}}
        ]
    return body


def http_route(spec: ServiceSpec) -> Body:
    """The route that splits traffic between a pair; a pinned request reaches its variant whatever the weights."""
    assert spec.gateway is not None
    shares, rules = [(spec.stable, 100 - spec.canary_percent)], []
    if spec.canary is not None:
        shares.append((spec.canary, spec.canary_percent))
        rules = [_rule(spec, [(spec.canary, 100)], "canary"), _rule(spec, [(spec.stable, 100)], "stable")]
    return {
        **route_reference(spec),
        "metadata": _metadata(spec, spec.name),
        "spec": {
            "parentRefs": [{"name": spec.gateway.name, "namespace": spec.gateway.namespace or spec.namespace}],
            "hostnames": spec.hostnames or [spec.host],
            "rules": [*rules, _rule(spec, shares)],
        },
    }


def _rule(spec: ServiceSpec, shares: list[tuple[ModelVersion, int]], pinned: str = "") -> Body:
    match: Body = {"path": {"type": "PathPrefix", "value": "/v1"}}
    if pinned:
        match["headers"] = [{"type": "Exact", "name": VARIANT_HEADER, "value": pinned}]
    return {
        "matches": [match],
        # A weight of 0 is left out, as some gateways leak to it.
        "backendRefs": [
            {"name": predictor_service(spec, model), "port": 80, "weight": weight} for model, weight in shares if weight
        ],
        # A streamed answer may take minutes; 0s is "no limit" in Gateway API.
        "timeouts": {"request": "0s"},
    }


def _metadata(spec: ServiceSpec, name: str, labels: dict[str, str] | None = None) -> Body:
    own = {MANAGED_BY: "llm-flywheel", PART_OF: spec.name}
    return {"name": name, "namespace": spec.namespace, "labels": own | (labels or {})}
