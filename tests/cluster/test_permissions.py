"""Least privilege as the API server sees it: each account may do what the code needs and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Body, Cluster, Refused, reference
from llm_flywheel.pipelines import checks_cluster
from llm_flywheel.pipelines.checks import run_checks

from .conftest import CACHE, ROOT

pytestmark = pytest.mark.cluster

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
# What every authenticated account may ask: about itself.
SELF = {"authentication.k8s.io", "authorization.k8s.io"}
# Not in discovery, or under verbs of their own.
SPECIAL = {
    ("rbac.authorization.k8s.io", "roles", "bind"),
    ("rbac.authorization.k8s.io", "roles", "escalate"),
    ("", "serviceaccounts", "impersonate"),
}
Right = tuple[str, str, str]


@pytest.fixture(scope="module")
def api(cluster_environment: dict[str, str]) -> Any:
    """The generated client, as admin."""
    from kubernetes import config

    return config.new_client_from_config(str(CACHE / "admin.kubeconfig"))


@pytest.fixture(scope="module")
def resources(admin: Cluster) -> set[tuple[str, str]]:
    """API group and name of everything the cluster knows, with subresources."""

    def groups() -> Iterator[tuple[str, str]]:
        yield "", "/api/v1"
        for group in admin.object_at("/apis")["groups"]:
            for version in group["versions"]:
                yield group["name"], f"/apis/{version['groupVersion']}"

    return {
        (group, resource["name"])
        for group, path in groups()
        if group not in SELF
        for resource in admin.object_at(path)["resources"]
    }


def rights(api: Any, account: str, asked: set[Right], namespace: str) -> set[Right]:
    """What an account may do of what is asked, one SubjectAccessReview each."""
    from kubernetes import client

    reviews = client.AuthorizationV1Api(api)
    groups = ["system:serviceaccounts", "system:serviceaccounts:flywheel", "system:authenticated"]

    def allowed(right: Right) -> bool:
        group, resource, verb = right
        plural, _, subresource = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            group=group, resource=plural, subresource=subresource, verb=verb, namespace=namespace
        )
        spec = client.V1SubjectAccessReviewSpec(
            user=f"system:serviceaccount:flywheel:{account}", groups=groups, resource_attributes=attributes
        )
        return bool(reviews.create_subject_access_review(client.V1SubjectAccessReview(spec=spec)).status.allowed)

    ordered = sorted(asked)
    with ThreadPoolExecutor(4) as threads:
        return {right for right, yes in zip(ordered, threads.map(allowed, ordered), strict=True) if yes}


def needed(rules: checks_cluster.Rules) -> set[Right]:
    return {(group, resource, verb) for (group, resource), verbs in rules.items() for verb in verbs}


@pytest.mark.parametrize("account", checks_cluster.ACCOUNTS)
@pytest.mark.parametrize(
    ("where", "rules"),
    [
        ("flywheel", checks_cluster.IN_NAMESPACE | checks_cluster.IN_CLUSTER),
        ("kserve", checks_cluster.AT_GATEWAY | checks_cluster.IN_CLUSTER),
        ("", checks_cluster.IN_CLUSTER),
    ],
    ids=["namespace", "gateway", "cluster"],
)
def test_an_account_may_do_what_is_needed_and_nothing_else(
    api: Any, resources: set[tuple[str, str]], account: str, where: str, rules: checks_cluster.Rules
) -> None:
    asked = {(group, resource, verb) for group, resource in resources for verb in VERBS} | SPECIAL
    expected = needed(rules) if account == "flywheel-pipeline" else set()

    assert expected <= asked
    assert {
        ("", "secrets", "get"), ("", "pods", "create"), ("", "pods/exec", "create"), ("", "pods/proxy", "create"),
        ("", "serviceaccounts/token", "create"), ("serving.kserve.io", "servingruntimes", "patch"),
        ("rbac.authorization.k8s.io", "rolebindings", "create"), ("apps", "deployments", "create"),
    } <= asked - expected  # fmt: skip
    assert rights(api, account, asked, where) == expected


def restricted_pod(**changes: Any) -> Body:
    container = {"name": "c", "image": "localhost/flywheel/core:test", "command": ["true"]}
    container["securityContext"] = dict(checks_cluster._RESTRICTED)
    body = reference("v1", "Pod", "flywheel", "permissions-test")
    return {**body, "spec": {"restartPolicy": "Never", "containers": [{**container, **changes}]}}


def secrets(cluster: Cluster, name: str = "") -> Body:
    return cluster.object_at(f"/api/v1/namespaces/flywheel/secrets/{name}".rstrip("/"))


def test_the_pipelines_token_is_held_to_it(pipeline: Cluster, admin: Cluster) -> None:
    pipeline.items("v1", "Pod", "flywheel")
    runtime = admin.get(reference("serving.kserve.io/v1alpha1", "ServingRuntime", "flywheel", "flywheel-vllm"))
    forbidden = [
        lambda: pipeline.create(restricted_pod()),
        lambda: secrets(pipeline),
        lambda: secrets(pipeline, "flywheel-storage"),
        lambda: pipeline.items("v1", "Pod", "kserve"),
        lambda: pipeline.patch(runtime, {"spec": {"disabled": True}}),
    ]

    for call in forbidden:
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.status == 403


@pytest.mark.parametrize("account", ["flywheel-training", "flywheel-serving"])
def test_the_token_of_other_accounts_opens_nothing(api: Any, account: str) -> None:
    from kubernetes import client

    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
    token = client.CoreV1Api(api).create_namespaced_service_account_token(account, "flywheel", request).status.token
    configuration = client.Configuration(host=api.configuration.host)
    configuration.ssl_ca_cert = api.configuration.ssl_ca_cert
    configuration.api_key["authorization"] = f"Bearer {token}"
    cluster = Cluster(client.ApiClient(configuration))

    assert cluster.version()
    with pytest.raises(Refused) as refused:
        cluster.items("v1", "Pod", "flywheel")
    assert refused.value.status == 403


def test_the_namespace_takes_restricted_pods_alone(admin: Cluster) -> None:
    with pytest.raises(Refused, match="violates PodSecurity") as refused:
        admin.create(restricted_pod(securityContext={"runAsNonRoot": True}))
    assert refused.value.status == 403

    made = admin.create(restricted_pod())
    assert admin.delete(made)


def kubectl(*argv: str, text: str | None = None) -> str:
    environment = {**os.environ, "KUBECONFIG": str(CACHE / "admin.kubeconfig")}
    done = subprocess.run(["kubectl", *argv], input=text, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_base_applies_cleanly_twice(admin: Cluster) -> None:
    """For real but for the runtime, which on this node is the local overlay's; that is tried without being kept."""
    apply = ("apply", "--server-side", "--force-conflicts")
    kubectl(*apply, "--dry-run=server", "-k", str(ROOT / "manifests" / "base"))
    bodies = kubectl("kustomize", str(ROOT / "manifests" / "base")).split("\n---\n")
    kept = "\n---\n".join(body for body in bodies if "kind: ServingRuntime" not in body)
    versions = "jsonpath={.items[*].metadata.resourceVersion}"
    kinds = "namespaces,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,configmaps"

    def states() -> str:
        chosen = ("-l", "app.kubernetes.io/part-of=llm-flywheel", "-A", "-o", versions)
        return kubectl("get", kinds, *chosen)

    kubectl(*apply, "-f", "-", text=kept)
    first = states()
    kubectl(*apply, "-f", "-", text=kept)

    assert first and states() == first


@pytest.mark.parametrize("as_whom", ["admin", "pipeline"])
def test_the_doctor_finds_nothing_missing(as_whom: str, request: pytest.FixtureRequest) -> None:
    cluster = request.getfixturevalue(as_whom)

    checks = run_checks(checks_cluster.cluster_checks(lambda: cluster), deadline_s=60)

    assert [check for check in checks if not check.ok and check.required] == []
    notes = {check.name for check in checks if not check.ok}
    unseen = {"KServe settings", "storage initializer", "storage credentials", "service accounts"}
    assert notes == (unseen if as_whom == "pipeline" else set())
