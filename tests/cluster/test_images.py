"""The image of the data steps as pods run it: restricted, read-only, as a user id that it does not know."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.cluster import Body, Cluster, reference
from llm_flywheel.pipelines import checks_cluster

from .conftest import ROOT

pytestmark = pytest.mark.cluster

IMAGE = "localhost/flywheel/core:test"
ROWS = [
    {"prompt": "Where is my parcel?", "completion": "On its way to mina.park@example.com."},
    {"prompt": "May I return a kettle?", "completion": "Within thirty days, unused."},
]
NOT_THERE = """
import importlib.util
for name in ("torch", "transformers", "mlflow", "vllm"):
    assert importlib.util.find_spec(name) is None, name
for path in ("dataset", "masked"):
    import polars
    rows = polars.read_parquet(f"/tmp/{path}/data.parquet")
    print(rows["messages"].to_list())
"""


def kfp_step(name: str, config: Body) -> list[str]:
    """The command by which KFP runs a step of the compiled pipeline; artifact ``x`` is at ``/tmp/x``."""
    compiled = next(yaml.safe_load_all((ROOT / "pipelines" / "compiled" / "flywheel.yaml").read_text()))
    step = compiled["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
    interface = compiled["components"][f"comp-{name}"]

    def artifacts(side: str) -> Body:
        declared = interface[side].get("artifacts", {})
        return {
            key: {"artifacts": [{"name": key, "type": value["artifactType"], "uri": f"/tmp/{key}"}]}
            for key, value in declared.items()
        }

    executor_input = {
        "inputs": {"parameterValues": {"config": config}, "artifacts": artifacts("inputDefinitions")},
        "outputs": {"artifacts": artifacts("outputDefinitions"), "outputFile": f"/tmp/{name}.json"},
    }
    words = [*step["command"], *step["args"]]
    return [json.dumps(executor_input) if word == "{{$}}" else word for word in words]


def container(name: str, command: list[str], **environment: str) -> Body:
    env = {"FLYWHEEL_RUN_DIR": "/tmp/run", **environment}
    return {
        "name": name,
        "image": IMAGE,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {**checks_cluster._RESTRICTED, "readOnlyRootFilesystem": True, "runAsUser": 23456},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


@pytest.fixture(scope="module")
def pod(admin: Cluster) -> Iterator[Body]:
    """A pod that ran `flywheel --help`, ingest, scan_pii and a look at the result, one after the other."""
    rows = "\n".join(map(json.dumps, ROWS))
    body = reference("v1", "Pod", "flywheel", "core-image-test")
    body["spec"] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "initContainers": [
            container("help", ["sh", "-ec", 'flywheel --help; printf "%s" "$ROWS" > /tmp/rows.jsonl'], ROWS=rows),
            container("ingest", kfp_step("ingest", {"paths": ["/tmp/rows.jsonl"]})),
            container("scan-pii", kfp_step("scan-pii", {})),
        ],
        "containers": [container("look", ["python3", "-c", NOT_THERE])],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    admin.delete(body)
    while admin.find(body):
        time.sleep(0.5)
    admin.create(body)
    deadline = time.monotonic() + 180
    while (found := admin.get(body))["status"].get("phase") not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, found["status"]
        time.sleep(1)
    yield found
    admin.delete(body)


def log(admin: Cluster, name: str) -> str:
    return admin.text("/api/v1/namespaces/flywheel/pods/core-image-test/log", {"container": name})


def test_every_step_ran(pod: Body, admin: Cluster) -> None:
    states: list[Any] = [*pod["status"]["initContainerStatuses"], *pod["status"]["containerStatuses"]]

    ended = {item["name"]: (item["state"].get("terminated") or {}).get("exitCode") for item in states}
    assert ended == {"help": 0, "ingest": 0, "scan-pii": 0, "look": 0}, log(admin, "ingest")[-2000:]


def test_the_command_line_is_there(pod: Body, admin: Cluster) -> None:
    assert "usage: flywheel" in log(admin, "help")


def test_what_was_ingested_comes_out_masked(pod: Body, admin: Cluster) -> None:
    before, after = log(admin, "look").splitlines()

    assert "mina.park@example.com" in before
    assert "mina.park@example.com" not in after
    assert "On its way to [EMAIL]." in after
