"""The PyTorchJob body against the real CRD schema."""

import json
from typing import Any

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.pytorchjob import job_name, pytorchjob_body

OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "step-1", "uid": "0f5b0d9e-7b1c-4f0e-8d3f-2f8d6a6f0001"}


def body_of(config: FinetuneConfig, **more: Any) -> dict[str, Any]:
    return pytorchjob_body(
        config,
        name="ft-1",
        base="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="/workspace/data",
        output="/workspace/model",
        image="registry.local/trainer@sha256:00",
        **more,
    )


def test_smallest_job_is_valid_and_runs_torchrun_as_a_plain_user() -> None:
    body = body_of(FinetuneConfig())
    assert validate(body) == []
    replicas = body["spec"]["pytorchReplicaSpecs"]
    assert list(replicas) == ["Master"]
    pod = replicas["Master"]["template"]["spec"]
    container = pod["containers"][0]
    assert (container["name"], container["command"]) == ("pytorch", ["torchrun"])
    assert container["args"][:4] == ["--max-restarts=0", "-m", "llm_flywheel.components.finetune.train", "--config"]
    assert json.loads(container["args"][4])["config"]["lora_r"] == 16
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_everything_that_can_be_asked_for_is_in_a_valid_body() -> None:
    config = FinetuneConfig.model_validate(
        {
            "nproc_per_node": 2,
            "cluster": {
                "namespace": "team-a",
                "workers": 3,
                "gpus": 2,
                "gpu_resource": "amd.com/gpu",
                "volume_claim": "shared",
                "service_account": "trainer",
                "priority_class": "batch",
                "queue": "research",
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "env_from_secrets": [{"name": "AWS_SECRET_ACCESS_KEY", "secret": "s3", "key": "secret"}],
                "deadline_seconds": 7200,
            },
        }
    )
    body = body_of(config, run_id="run-1", env={"AWS_ENDPOINT_URL": "http://minio:9000"}, owners=[OWNER])
    assert validate(body) == []
    spec = body["spec"]
    assert spec["nprocPerNode"] == "2"
    assert spec["pytorchReplicaSpecs"]["Worker"]["replicas"] == 2
    assert spec["runPolicy"]["activeDeadlineSeconds"] == 7200
    assert spec["runPolicy"]["ttlSecondsAfterFinished"] == 86400
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert body["metadata"]["ownerReferences"] == [OWNER]
    pod = spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["resources"]["limits"]["amd.com/gpu"] == "2"
    assert container["env"][-1] == {
        "name": "AWS_SECRET_ACCESS_KEY",
        "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secret"}},
    }
    assert {"name": "workspace", "persistentVolumeClaim": {"claimName": "shared"}} in pod["volumes"]


def test_retry_of_a_task_finds_the_same_job() -> None:
    assert job_name("run-1", "finetune") == job_name("run-1", "finetune")
    assert job_name("run-1", "finetune") != job_name("run-2", "finetune")
    assert len(job_name("run-1", "finetune")) == 19


def test_typo_in_the_body_would_be_noticed() -> None:
    body = body_of(FinetuneConfig())
    body["spec"]["runPolicy"]["ttlSecondsAfterFinish"] = 1
    assert validate(body) != []
