"""Brings a service into a cluster: server-side apply, stage by stage, each object when the one before is in force."""

import contextlib
import time
from collections.abc import Collection

from llm_flywheel.components.common.cluster import Body, Cluster, reference
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.address import Address, who_answers
from llm_flywheel.serving.inference_service.build import service_name, split_of, stages
from llm_flywheel.serving.inference_service.config import ServiceSpec
from llm_flywheel.serving.inference_service.ready import POLL_S, being_deleted, wait_ready, weights_of
from llm_flywheel.serving.inference_service.route import canary_taken_back, retire

NATIVE_TIMEOUT_S = 30.0
_REACH_TIMEOUT_S = 60.0


def apply_service(spec: ServiceSpec, cluster: Cluster, *, timeout_s: float) -> None:
    """Bring a service into the cluster and wait until every object of every stage is in force.

    What is there already and equal is left as it is. Versions of the service that are neither stable nor canary
    (an interrupted rollout left them) are removed as soon as stable has the traffic, and so is a canary that does not
    get ready.

    Args:
        spec: The service.
        cluster: Where to.
        timeout_s: Longest wait for one InferenceService, seconds.

    Raises:
        FlywheelError: The cluster refuses, an object does not come into force, or a native split is not one.
    """
    split = split_of(spec)
    for stage, bodies in stages(spec).items():
        with contextlib.nullcontext() if stage == "stable" else canary_taken_back(spec, cluster):
            for body in bodies:
                _apply(cluster, body, timeout_s)
                wait_ready(cluster, body, timeout_s)
            if split == "native" and stage == "canary":
                _require_native_weights(cluster, spec)
        if stage == "stable" and split == "pair" and spec.gateway is not None:
            retire(cluster, spec, keep=[spec.stable, *([spec.canary] if spec.canary else [])])


def _apply(cluster: Cluster, body: Body, timeout_s: float) -> None:
    """Apply; what an earlier deployment left, and is being deleted, is waited out first."""
    deadline = time.monotonic() + timeout_s
    while being_deleted(cluster.apply(body)):
        if time.monotonic() >= deadline:
            raise FlywheelError(
                f"an earlier one is still being deleted after {timeout_s:.0f} s",
                where=f"{body['kind']}/{body['metadata']['name']}",
                reason="timeout",
            )
        time.sleep(POLL_S)


def _require_native_weights(cluster: Cluster, spec: ServiceSpec) -> None:
    """See the canary's weight in the route that KServe made.

    KServe 0.20.0 accepts ``spec.canary``, reports it ready with its per cent, and writes no weights.
    """
    name, component = service_name(spec, spec.stable), spec.canary.slug if spec.canary else ""
    wanted = {f"{name}-predictor": 100 - spec.canary_percent, f"{name}-{component}-predictor": spec.canary_percent}
    wanted = {service: weight for service, weight in wanted.items() if weight}
    route = reference("gateway.networking.k8s.io/v1", "HTTPRoute", spec.namespace, name)
    deadline = time.monotonic() + NATIVE_TIMEOUT_S
    found: dict[str, int] = {}
    while time.monotonic() < deadline:
        found = weights_of(cluster.find(route) or _NO_ROUTE)
        if found == wanted:
            return
        time.sleep(1.0)
    raise FlywheelError(
        f"KServe reports the canary ready at {spec.canary_percent} %, but its HTTPRoute carries {found} instead of "
        f"{wanted}: the canary would get no traffic, and was taken back",
        where=f"InferenceService/{name} in {spec.namespace}",
        fix="set deploy.split: pair, which works on every version (KServe before 0.21 writes no weights)",
        reason="unsplittable",
    )


_NO_ROUTE: Body = {"spec": {"rules": []}}


def wait_reached(
    where: Address, versions: Collection[str], variant: str = "", timeout_s: float = _REACH_TIMEOUT_S
) -> None:
    """Wait until the Gateway's proxy brings a request, pinned to a variant or not, to one of the versions.

    Raises:
        FlywheelError: It does not, in time; with what answered instead.
    """
    deadline = time.monotonic() + timeout_s
    while (answered := who_answers(where, variant)).version not in versions:
        if time.monotonic() >= deadline:
            nameless = answered.status == 200 and not answered.version
            raise FlywheelError(
                f"a request for {variant or 'the model'} does not reach version {' or '.join(sorted(versions))}: "
                f"status {answered.status}, version {answered.version or 'not named'}",
                where=f"{where.url}, host {where.host}",
                fix="the ServingRuntime must run vLLM with the middleware of manifests/base" if nameless else "",
                reason="unreached",
            )
        time.sleep(0.5)
