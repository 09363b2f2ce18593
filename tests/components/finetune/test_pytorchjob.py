"""The PyTorchJob body against the real CRD schema."""

import json
from typing import Any

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.pod import Training
from llm_flywheel.components.finetune.pytorchjob import pytorchjob_body


def body_of(**config: Any) -> dict[str, Any]:
    return pytorchjob_body(
        Training(
            FinetuneConfig.model_validate(config),
            name="ft-1",
            run_id="run-1",
            image="registry.local/trainer@sha256:00",
            base="Qwen/Qwen2.5-0.5B-Instruct",
            dataset="s3://flywheel/data",
            output="s3://flywheel/model",
        )
    )


def test_smallest_job_is_valid_and_fits_pod_security_restricted() -> None:
    body = body_of()
    assert validate(body) == []
    replicas = body["spec"]["pytorchReplicaSpecs"]
    assert list(replicas) == ["Master"]
    pod = replicas["Master"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["name"] == "pytorch"
    assert container["command"] == ["python3", "-m", "llm_flywheel.components.finetune.node"]
    job = json.loads(container["args"][1])
    assert (job["config"]["lora_r"], job["output"]) == (16, "s3://flywheel/model")
    assert "cluster" not in job["config"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("flywheel-training", False)
    assert body["spec"]["runPolicy"] == {"cleanPodPolicy": "Running", "ttlSecondsAfterFinished": 86400}


def test_everything_that_can_be_asked_for_is_in_a_valid_body() -> None:
    body = body_of(
        nproc_per_node=2,
        cluster={
            "namespace": "team-a",
            "workers": 3,
            "cpu": "100m",
            "cpu_limit": "2",
            "gpus": 2,
            "gpu_resource": "amd.com/gpu",
            "volume_claim": "shared",
            "service_account": "trainer",
            "priority_class": "batch",
            "queue": "research",
            "node_selector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "env_from_secrets": [{"name": "HF_TOKEN", "secret": "hub", "key": "token"}],
            "queue_timeout_seconds": 3600,
            "run_timeout_seconds": 7200,
        },
    )
    assert validate(body) == []
    spec = body["spec"]
    assert spec["nprocPerNode"] == "2"
    assert spec["pytorchReplicaSpecs"]["Worker"]["replicas"] == 2
    assert spec["runPolicy"]["activeDeadlineSeconds"] == 10800
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    pod = spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "16Gi", "amd.com/gpu": "2"}
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "16Gi", "amd.com/gpu": "2"}
    assert (pod["priorityClassName"], pod["nodeSelector"]) == ("batch", {"pool": "gpu"})
    claim = {"name": "workspace", "persistentVolumeClaim": {"claimName": "shared", "readOnly": True}}
    assert claim in pod["volumes"]


def test_credentials_are_references_to_secrets() -> None:
    body = body_of(cluster={"env_from_secrets": [{"name": "HF_TOKEN", "secret": "hub", "key": "token"}]})
    pod = body["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    sources = {item["name"]: item.get("valueFrom") for item in pod["containers"][0]["env"]}
    assert sources["AWS_SECRET_ACCESS_KEY"] == {
        "secretKeyRef": {"name": "flywheel-storage", "key": "AWS_SECRET_ACCESS_KEY"}
    }
    assert sources["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert sources["AWS_ENDPOINT_URL"]["configMapKeyRef"]["name"] == "flywheel-settings"


def test_typo_in_the_body_would_be_noticed() -> None:
    body = body_of()
    body["spec"]["runPolicy"]["ttlSecondsAfterFinish"] = 1
    assert validate(body) != []
