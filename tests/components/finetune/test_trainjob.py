"""The TrainJob body in the shapes that its v1alpha1 has had; Trainer 2.3's is checked against its CRD schema."""

from typing import Any

import pytest

from llm_flywheel.components.common.crd import validate
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.pod import Training
from llm_flywheel.components.finetune.trainjob import trainjob_body

COMMON = {"runtimeRef", "initializer", "trainer", "suspend", "managedBy"}
V20, V21 = COMMON | {"podSpecOverrides"}, COMMON | {"podTemplateOverrides"}
V23 = COMMON | {"runtimePatches", "activeDeadlineSeconds"}


def body_of(fields: set[str], **cluster: Any) -> dict[str, Any]:
    config = FinetuneConfig.model_validate({"nproc_per_node": 2, "cluster": {"workers": 2, **cluster}})
    job = Training(config, "ft-1", "run-1", "trainer:1", "s3://f/base", "s3://f/data", "s3://f/model")
    return trainjob_body(job, fields, "TrainingRuntime")


def test_trainer_2_3_gets_a_valid_patch_with_the_security_of_the_pods() -> None:
    body = body_of(V23, volume_claim="shared", queue_timeout_seconds=60, run_timeout_seconds=60)
    assert validate(body) == []
    assert body["spec"]["activeDeadlineSeconds"] == 120
    [job] = body["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_trainer_2_1_gets_pod_template_overrides() -> None:
    spec = body_of(V21, queue_timeout_seconds=60, run_timeout_seconds=60)["spec"]
    assert set(spec) == {"runtimeRef", "trainer", "podTemplateOverrides"}
    [override] = spec["podTemplateOverrides"]
    assert override["targetJobs"] == [{"name": "node"}]
    assert override["metadata"]["labels"]["flywheel.dev/run-id"] == "run-1"
    assert override["spec"]["serviceAccountName"] == "flywheel-training"
    mounts = override["spec"]["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/dev/shm", "/tmp"]


def test_trainer_2_0_gets_pod_spec_overrides() -> None:
    [override] = body_of(V20)["spec"]["podSpecOverrides"]
    assert set(override) == {"targetJobs", "serviceAccountName", "volumes", "containers"}


def test_program_image_and_size_are_the_trainers() -> None:
    spec = body_of(V21, cpu="1", memory="2Gi")["spec"]
    assert spec["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": "flywheel-torch",
    }
    trainer = spec["trainer"]
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == ("trainer:1", 2, 2)
    assert trainer["command"] == ["python3", "-m", "llm_flywheel.components.finetune.node"]
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "1", "memory": "2Gi"}


def test_unknown_shape_is_refused_with_what_was_found() -> None:
    with pytest.raises(FlywheelError, match="unknown shape: spec has initializer, managedBy, runtimeRef") as caught:
        body_of(COMMON)
    assert caught.value.reason == "launcher"


def test_priority_class_is_refused_rather_than_ignored() -> None:
    with pytest.raises(FlywheelError, match="set priorityClassName in the runtime flywheel-torch"):
        body_of(V21, priority_class="batch")
