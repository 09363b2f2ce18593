"""The page "Run it on Kubernetes" of the README, typed as it stands there: training, storage, serving, canary."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import make_url

from llm_flywheel.components.common.cluster import Cluster, reference
from llm_flywheel.components.common.step import read_steps
from llm_flywheel.serving.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]
MODEL = "support-assistant"
SERVING, ROUTES = "serving.kserve.io/v1beta1", "gateway.networking.k8s.io/v1"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def commands(page: str) -> str:
    """All shell commands of a section of the README, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {page}\n", 1)[1].split("\n## ", 1)[0]
    return "\n".join(re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL))


def clean_up(admin: Cluster, namespace: str) -> None:
    """Take away what an earlier run deployed."""
    selector = f"app.kubernetes.io/part-of={MODEL}"
    for version, kind in ((SERVING, "InferenceService"), (ROUTES, "HTTPRoute")):
        for found in admin.items(version, kind, namespace, labelSelector=selector):
            admin.delete(reference(version, kind, namespace, found["metadata"]["name"]))


def test_the_readme_page_runs_the_flywheel_on_kubernetes(
    admin: Cluster, namespace: str, tmp_path: Path, cluster_environment: dict[str, str]
) -> None:
    clean_up(admin, namespace)
    home = tmp_path / "home"
    home.mkdir()
    # The base model of the quick start takes two minutes to train; it is the same every time.
    cache = ROOT / ".cache" / "cluster" / "flywheel-cache"
    cache.mkdir(parents=True, exist_ok=True)
    (home / "cache").symlink_to(cache)
    script = commands("Run it on Kubernetes")
    for expected in ("make cluster", "flywheel doctor", "flywheel run pipelines/configs/cluster.yaml", "OpenAI("):
        assert expected in script
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**environment, "FLYWHEEL_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    print(done.stdout[-20_000:])
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]

    (run,) = (home / "runs").iterdir()
    steps = {record.name: record for record in read_steps(run)}
    assert {record.status for record in steps.values()} == {"ok"}, steps
    assert steps["rollout"].summary["decision"] == "promote"
    # Trained in two pods, not here.
    jobs = admin.items("kubeflow.org/v1", "PyTorchJob", namespace, labelSelector=f"flywheel.dev/run-id={run.name}")
    assert [sorted(job["spec"]["pytorchReplicaSpecs"]) for job in jobs] == [["Master", "Worker"]]
    assert jobs[0]["status"]["conditions"][-1]["type"] == "Succeeded"
    # The new version has all of the traffic, and the old one is gone.
    route = admin.get(reference(ROUTES, "HTTPRoute", namespace, MODEL))
    assert [ref["name"] for ref in route["spec"]["rules"][-1]["backendRefs"]] == [f"{MODEL}-v1-predictor"]
    services = admin.items(SERVING, "InferenceService", namespace, labelSelector=f"app.kubernetes.io/part-of={MODEL}")
    assert [item["metadata"]["name"] for item in services] == [f"{MODEL}-v1"]
    # Every request of the rollout was answered, and each names the version that answered.
    with Ledger.open(cluster_environment["FLYWHEEL_LEDGER_URL"], read_only=True) as ledger:
        rows = [row for row in ledger.usage_between(0, 1e12, model=MODEL) if row.run_id == run.name]
        actions = [event.action for event in ledger.audit_events() if event.details.get("run_id") == run.name]
    assert {row.outcome for row in rows} == {"ok"}
    assert {row.version for row in rows} == {"base", "1"}
    assert len(rows) > 100
    assert {"deploy.done", "rollout.decision", "rollout.aliases"} <= set(actions)
    # Nothing that was written, for people or machines, holds a credential.
    written = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    written += [json.dumps([route, services, jobs]).encode(), done.stdout.encode()]
    password = make_url(cluster_environment["FLYWHEEL_LEDGER_URL"]).password
    for secret in (cluster_environment["AWS_SECRET_ACCESS_KEY"], str(password)):
        assert not any(secret.encode() in text for text in written)
