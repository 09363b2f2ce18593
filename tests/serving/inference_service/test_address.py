from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.address import Address, address, who_answers
from llm_flywheel.serving.inference_service.config import ServiceSpec

GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"
NATIVE = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/support-native"
HTTPS = [{"protocol": "TCP", "port": 9000}, {"protocol": "HTTPS", "port": 8443}]


@pytest.mark.parametrize(
    ("listeners", "value", "changes", "found"),
    [
        ([{"protocol": "HTTP", "port": 8000}], "10.0.0.7", {},
         Address("http://10.0.0.7:8000", "support.models.internal")),
        ([*HTTPS, {"protocol": "HTTP", "port": 80}], "lb.example", {"hostnames": ["chat.example"]},
         Address("http://lb.example:80", "chat.example")),
        (HTTPS, "10.0.0.7", {}, Address("https://10.0.0.7:8443", "support.models.internal")),
        (HTTPS, "10.0.0.7", {"hostnames": ["chat.example"]}, Address("https://chat.example:8443")),
        ([{"protocol": "HTTP", "port": 80}], "fd00::1", {}, Address("http://[fd00::1]:80", "support.models.internal")),
    ],
)  # fmt: skip
def test_a_pair_is_reached_at_the_gateways_listener(
    api_server: Any, cluster: Cluster, spec: ServiceSpec, listeners: Any, value: str, changes: Any, found: Address
) -> None:
    api_server.objects[GATEWAY] = {"spec": {"listeners": listeners}, "status": {"addresses": [{"value": value}]}}
    assert address(cluster, spec.model_copy(update=changes)) == found


@pytest.mark.parametrize(
    "gateway",
    [
        {"spec": {"listeners": [{"protocol": "HTTP", "port": 80}]}, "status": {}},
        {"spec": {"listeners": HTTPS[:1]}, "status": {"addresses": [{"value": "10.0.0.7"}]}},
    ],
)
def test_a_gateway_that_nobody_can_reach_is_an_error(
    api_server: Any, cluster: Cluster, spec: ServiceSpec, gateway: Any
) -> None:
    api_server.objects[GATEWAY] = gateway
    with pytest.raises(FlywheelError, match="no address") as caught:
        address(cluster, spec)
    assert (caught.value.reason, caught.value.where) == ("no_address", "Gateway/gw in models")


def test_native_is_reached_by_the_host_name_that_kserve_gave_it(
    api_server: Any, cluster: Cluster, native: ServiceSpec
) -> None:
    api_server.objects[NATIVE] = {"status": {"url": "http://support-native-models.example.com"}}
    assert address(cluster, native) == Address("http://10.0.0.7:8000", "support-native-models.example.com")
    api_server.objects[NATIVE] = {"status": {}}
    with pytest.raises(FlywheelError, match="no address"):
        address(cluster, native)


def test_knative_has_an_address_of_its_own(api_server: Any, cluster: Cluster, spec: ServiceSpec) -> None:
    api_server.objects[NATIVE.removesuffix("-native")] = {"status": {"url": "http://support.models.example.com"}}
    assert address(cluster, spec.model_copy(update={"mode": "knative"})) == Address("http://support.models.example.com")


def test_nobody_answers_at_a_dead_address() -> None:
    assert who_answers(Address("http://127.0.0.1:9", "x")).status == 0
