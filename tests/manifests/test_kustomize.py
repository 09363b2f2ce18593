"""What the overlays are made of, as the cluster will see it."""

import pytest

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.finetune.config import ClusterJob
from llm_flywheel.pipelines import checks_cluster

FOLDERS = ["base", "overlays/gpu", "overlays/trainjob", "overlays/local"]
DEPLOY = DeployConfig()


def granted(role):
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(rules):
    return {(group, resource, verb) for (group, resource), verbs in rules.items() for verb in verbs}


def test_roles_grant_what_the_code_needs_and_nothing_else(built):
    base = built("base")
    roles = {name: body for (kind, name), body in base.items() if kind in ("Role", "ClusterRole")}

    assert {name: granted(role) for name, role in roles.items()} == {
        "flywheel-pipeline": needed(checks_cluster.IN_NAMESPACE),
        "flywheel-gateway-reader": needed(checks_cluster.AT_GATEWAY),
        "flywheel-training-runtime-reader": needed(checks_cluster.IN_CLUSTER),
    }
    assert roles["flywheel-pipeline"]["metadata"]["namespace"] == DEPLOY.namespace
    assert roles["flywheel-gateway-reader"]["metadata"]["namespace"] == DEPLOY.gateway.namespace


def test_the_pipelines_account_alone_has_rights(built):
    subjects = [
        (subject["kind"], subject["namespace"], subject["name"])
        for (kind, _), body in built("base").items()
        if kind in ("RoleBinding", "ClusterRoleBinding")
        for subject in body["subjects"]
    ]

    assert subjects == [("ServiceAccount", "flywheel", "flywheel-pipeline")] * 3


def test_accounts_that_configs_name_are_there_and_carry_no_token(built):
    accounts = {name: body for (kind, name), body in built("base").items() if kind == "ServiceAccount"}

    assert sorted(accounts) == sorted(checks_cluster.ACCOUNTS)
    for name in (ClusterJob().service_account, DEPLOY.service_account):
        assert accounts[name]["automountServiceAccountToken"] is False
    assert accounts[DEPLOY.service_account]["secrets"] == [{"name": "flywheel-storage"}]


def test_the_namespace_enforces_restricted_pods(built):
    labels = built("base")["Namespace", DEPLOY.namespace]["metadata"]["labels"]

    modes = {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")}
    assert set(modes.values()) == {"restricted"}


def runtimes(objects):
    return [body for (kind, _), body in objects.items() if kind == "ServingRuntime"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_runtimes_match_their_crd_and_pod_security(built, folder):
    found = runtimes(built(folder))

    assert DEPLOY.serving_runtime in [body["metadata"]["name"] for body in found]
    for body in found:
        assert validate(body) == []
        # With it KServe rewrites the image of a pod without a GPU.
        assert "serving.kserve.io/server-type" not in body["metadata"].get("annotations", {})
        (container,) = body["spec"]["containers"]
        context = container["securityContext"]
        assert {key: context[key] for key in checks_cluster._RESTRICTED} == checks_cluster._RESTRICTED
        assert context["readOnlyRootFilesystem"] is True
        # KServe's webhook refuses it.
        assert "PYTHONPATH" not in [item["name"] for item in container["env"]]
        # Pod Security "restricted" refuses any other kind of volume.
        kinds = {key for volume in body["spec"]["volumes"] for key in volume if key != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim"}


def test_the_middleware_is_where_vllm_looks_for_it(built):
    base = built("base")
    spec = base["ServingRuntime", DEPLOY.serving_runtime]["spec"]
    (container,) = spec["containers"]

    assert "--middleware=flywheel_variant.Variant" in container["args"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["workingDir"] == mounts["middleware"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "middleware"]
    assert "class Variant" in base["ConfigMap", volume["configMap"]["name"]]["data"]["flywheel_variant.py"]


def test_the_gpu_overlay_changes_image_resources_and_tolerations_alone(built):
    base, gpu = (built(folder)["ServingRuntime", DEPLOY.serving_runtime] for folder in ("base", "overlays/gpu"))
    ours, theirs = base["spec"]["containers"][0], gpu["spec"]["containers"][0]

    assert theirs["image"] == "docker.io/vllm/vllm-openai:v0.32.0"
    assert theirs["resources"]["limits"] == {**ours["resources"]["limits"], "nvidia.com/gpu": "1"}
    assert [item["key"] for item in gpu["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    assert {key for key in theirs if theirs[key] != ours[key]} == {"image", "resources"}


def test_only_the_local_overlay_mounts_an_environment_of_the_node(built):
    for folder in ("base", "overlays/gpu"):
        assert not [key for key in built(folder) if key[0].startswith("PersistentVolume")]
    local = built("overlays/local")
    assert local["PersistentVolumeClaim", "python-env"]["spec"]["accessModes"] == ["ReadOnlyMany"]
    (container,) = local["ServingRuntime", DEPLOY.serving_runtime]["spec"]["containers"]
    assert {"name": "python-env", "mountPath": "/workspace", "readOnly": True} in container["volumeMounts"]
