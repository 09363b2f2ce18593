"""The HTTPRoute of a pair as the rollout's traffic back end: weights go in, are read back, and end on one version."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.outage import ride_out
from llm_flywheel.serving.inference_service.build import (
    MANAGED_BY,
    PART_OF,
    VERSION_LABEL,
    http_route,
    predictor_service,
    route_reference,
    service_name,
    service_reference,
    split_of,
    without_canary,
)
from llm_flywheel.serving.inference_service.config import ModelVersion, ServiceSpec
from llm_flywheel.serving.inference_service.ready import being_deleted, conditions_of, wait_route, weights_of
from llm_flywheel.serving.rollout.pods import metrics_of, samples

logger = logging.getLogger(__name__)

# A Gateway reports a route accepted before its proxies have it; Traefik collects changes for 2 s.
PROXY_LAG_S = 5.0
LONGEST_DRAIN_S = 120.0


class RouteBackend:
    """Splits traffic between the two InferenceServices of a pair by the weights of their HTTPRoute.

    Args:
        spec: The service, with its canary.
        cluster: Where it runs.

    Raises:
        FlywheelError: The service is no pair: nothing of ours splits its traffic.
    """

    def __init__(self, spec: ServiceSpec, cluster: Cluster) -> None:
        if split_of(spec) != "pair" or spec.canary is None or spec.gateway is None:
            raise FlywheelError(
                f"a rollout cannot steer a service whose split is {split_of(spec)!r}: it needs a canary, a Gateway and "
                "an HTTPRoute of ours",
                where=f"service {spec.name}",
                fix="set deploy.split: pair",
                reason="unsplittable",
            )
        self._spec, self._cluster = spec, cluster
        self._stable, self._canary, self._gateway = spec.stable, spec.canary, spec.gateway

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Write the weights (percent per variant) and wait until the Gateway has accepted them.

        Raises:
            FlywheelError: They do not name both variants or sum to 100, a version that is to get traffic is not
                there, or the Gateway does not accept them.
        """
        if set(weights) != {"stable", "canary"} or sum(weights.values()) != 100 or min(weights.values()) < 0:
            raise FlywheelError(f"not weights of a pair: {dict(weights)}", where=self._where, reason="router")
        self._put(self._spec.model_copy(update={"canary_percent": weights["canary"]}))

    def weights(self) -> dict[str, int]:
        """Weights as the HTTPRoute has them and the Gateway has accepted them.

        Raises:
            FlywheelError: There is no such route, it is not accepted, or it sends traffic elsewhere.
        """
        found = self._cluster.get(route_reference(self._spec))
        parent = {"name": self._gateway.name, "namespace": self._gateway.namespace or self._spec.namespace}
        problem = conditions_of(found, parent)
        services = {
            predictor_service(self._spec, model): variant
            for variant, model in (("stable", self._stable), ("canary", self._canary))
        }
        weights = weights_of(found)
        if not problem and not set(weights) <= set(services):
            problem = f"traffic goes to {', '.join(sorted(weights))}"
        if problem:
            raise FlywheelError(f"the route is not in force: {problem}", where=self._where, reason="router")
        return {variant: weights.get(service, 0) for service, variant in services.items()}

    def settle(self, decision: Literal["promote", "rollback"]) -> None:
        """Leave all traffic on the version that won and remove the other, once its requests have ended.

        May be repeated from any point: every step looks at what is there.

        Raises:
            FlywheelError: The cluster refuses, the winner is not there, or the Gateway does not accept the route.
        """
        winner, loser = (self._canary, self._stable) if decision == "promote" else (self._stable, self._canary)
        self._put(without_canary(self._spec.model_copy(update={"stable": winner})))
        retire(self._cluster, self._spec, keep=[winner])
        logger.info("%s: all traffic on version %s, version %s removed", self._where, winner.version, loser.version)

    @property
    def _where(self) -> str:
        return f"HTTPRoute/{self._spec.name} in {self._spec.namespace}"

    def _put(self, spec: ServiceSpec) -> None:
        for model, share in ((spec.stable, 100 - spec.canary_percent), (spec.canary, spec.canary_percent)):
            if model is not None and share:
                self._require_there(model)
        body = http_route(spec)
        self._cluster.apply(body)
        wait_route(self._cluster, body)

    def _require_there(self, model: ModelVersion) -> None:
        found = self._cluster.find(service_reference(self._spec, model))
        if found is None or being_deleted(found):
            raise FlywheelError(
                f"version {model.version} is not there any more; the route stays as it is",
                where=f"InferenceService/{service_name(self._spec, model)} in {self._spec.namespace}",
                fix="run the pipeline again",
                reason="gone",
            )


@contextmanager
def canary_taken_back(spec: ServiceSpec, cluster: Cluster) -> Iterator[None]:
    """On a failure, also for Ctrl-C, put all traffic on stable and remove the canary; the failure goes on."""
    try:
        yield
    except BaseException:
        try:
            if split_of(spec) == "pair" and spec.canary is not None:
                RouteBackend(spec, cluster).settle("rollback")
            elif split_of(spec) == "native":
                # Null rather than a body without it: what KServe's webhook filled in would stay.
                cluster.patch(service_reference(spec, spec.stable), {"spec": {"canary": None}})
        except FlywheelError as error:
            logger.warning("the canary could not be taken back: %s", error)
        raise


def retire(cluster: Cluster, spec: ServiceSpec, keep: list[ModelVersion]) -> None:
    """Remove the InferenceServices of all other versions, which the route must not name any more."""
    kept = {service_name(spec, model) for model in keep}
    selector = f"{PART_OF}={spec.name},{MANAGED_BY}=llm-flywheel"
    found = cluster.items("serving.kserve.io/v1beta1", "InferenceService", spec.namespace, labelSelector=selector)
    others = [item for item in found if item["metadata"]["name"] not in kept]
    if others:
        time.sleep(PROXY_LAG_S)
        _drain(cluster, spec, [item["metadata"]["labels"].get(VERSION_LABEL, "") for item in others])
    for item in others:
        # The items of a list come without their kind.
        cluster.delete({**item, "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService"})


def _drain(cluster: Cluster, spec: ServiceSpec, versions: list[str]) -> None:
    """Wait until the pods of versions without traffic have answered what they were asked."""
    selector = f"{PART_OF}={spec.name},{VERSION_LABEL} in ({','.join(versions)})"
    deadline = time.monotonic() + LONGEST_DRAIN_S
    while time.monotonic() < deadline:
        pods = ride_out(lambda: cluster.items("v1", "Pod", spec.namespace, labelSelector=selector))
        if not any(_in_flight(cluster, spec.namespace, pod["metadata"]["name"]) for pod in pods):
            return
        time.sleep(1.0)


def _in_flight(cluster: Cluster, namespace: str, pod: str) -> float:
    """Requests that a vLLM is working on, by its own count; 0 for one that does not say."""
    try:
        text = metrics_of(cluster, namespace, pod)
    except FlywheelError:
        return 0.0
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    return sum(value for name, _, value in samples(text) if name in names)
