"""Where a service is reached, and what answers there."""

from dataclasses import dataclass

from llm_flywheel.components.common.cluster import Cluster, reference
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.build import (
    VARIANT_HEADER,
    VERSION_HEADER,
    service_reference,
    split_of,
    without_canary,
)
from llm_flywheel.serving.inference_service.config import GatewayRef, ServiceSpec

_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Address:
    """Where a service answers.

    Attributes:
        url: ``http://host:port`` of the Gateway.
        host: What a request must say as ``Host``; empty where the URL says it.
    """

    url: str
    host: str = ""


def address(cluster: Cluster, spec: ServiceSpec) -> Address:
    """Where a service is reached: the Gateway's address and the route's host name, or KServe's URL.

    Raises:
        FlywheelError: Neither the Gateway nor KServe names an address.
    """
    split = split_of(spec)
    if split == "pair" and spec.gateway is not None:
        return _of_gateway(cluster, spec, spec.gateway, spec.host)
    where = service_reference(without_canary(spec), spec.stable)
    url = str((cluster.get(where).get("status") or {}).get("url", ""))
    if not url:
        raise _no_address(f"InferenceService/{where['metadata']['name']} in {spec.namespace}")
    if split == "native" and spec.gateway is not None:
        return _of_gateway(cluster, spec, spec.gateway, url.partition("://")[2])
    return Address(url)


def _of_gateway(cluster: Cluster, spec: ServiceSpec, gateway: GatewayRef, host: str) -> Address:
    namespace = gateway.namespace or spec.namespace
    found = cluster.get(reference("gateway.networking.k8s.io/v1", "Gateway", namespace, gateway.name))
    addresses = (found.get("status") or {}).get("addresses") or []
    listeners = sorted(
        (item for item in found["spec"]["listeners"] if item["protocol"] in ("HTTP", "HTTPS")),
        key=lambda item: str(item["protocol"]),
    )
    if not addresses or not listeners:
        raise _no_address(f"Gateway/{gateway.name} in {namespace}")
    scheme, port = str(listeners[0]["protocol"]).lower(), listeners[0]["port"]
    if scheme == "https" and spec.hostnames:
        # The certificate is for the name.
        return Address(f"https://{host}:{port}")
    value = str(addresses[0]["value"])
    return Address(f"{scheme}://{f'[{value}]' if ':' in value else value}:{port}", host)


def _no_address(where: str) -> FlywheelError:
    return FlywheelError(
        "the service runs, but has no address that clients can reach",
        where=where,
        fix=f"kubectl describe {where.replace(' in ', ' -n ')}: a Gateway needs an HTTP listener and status.addresses",
        reason="no_address",
    )


@dataclass(frozen=True)
class Answered:
    """What answered a look at the model list.

    Attributes:
        status: HTTP status; 0 for no answer.
        version: The model version that answered; empty when the answer came from no model server of ours.
    """

    status: int
    version: str = ""


def who_answers(where: Address, variant: str = "") -> Answered:
    """Ask for the model list, which costs no tokens, pinned to a variant or not; never raises."""
    from urllib3 import PoolManager
    from urllib3.exceptions import HTTPError

    headers = {"Host": where.host} if where.host else {}
    if variant:
        headers[VARIANT_HEADER] = variant
    try:
        with PoolManager(retries=False, timeout=_TIMEOUT_S) as pool:
            answer = pool.request("GET", f"{where.url}/v1/models", headers=headers)
    except HTTPError:
        return Answered(0)
    return Answered(answer.status, answer.headers.get(VERSION_HEADER, ""))
