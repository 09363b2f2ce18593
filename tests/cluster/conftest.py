"""A cluster that `make cluster` brought up, as admin and as the pipeline's service account."""

import json
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.base_model.resolve import make_base
from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.dataset import row_id, version_of, write_manifest, write_table
from llm_flywheel.components.common.settings import Settings

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "cluster"
FAILURES = CACHE / "failures"


def _cluster(kubeconfig: Path) -> Cluster:
    from kubernetes import config

    return Cluster(config.new_client_from_config(str(kubeconfig)))


@pytest.fixture(scope="session")
def cluster_environment() -> dict[str, str]:
    """Variables of ``.cache/cluster/env.sh``."""
    script = CACHE / "env.sh"
    if not script.exists():
        pytest.fail("no cluster: run `make cluster` first", pytrace=False)
    words = shlex.split(script.read_text(encoding="utf-8"))
    return dict(word.split("=", 1) for word in words if word != "export")


@pytest.fixture(scope="session")
def admin(cluster_environment: dict[str, str]) -> Cluster:
    """The cluster with an admin's rights: to look, and to break things."""
    return _cluster(CACHE / "admin.kubeconfig")


@pytest.fixture(scope="session")
def pipeline(cluster_environment: dict[str, str]) -> Cluster:
    """The cluster as ``flywheel-pipeline``: what our own code gets."""
    return _cluster(Path(cluster_environment["KUBECONFIG"]))


@pytest.fixture(scope="session")
def namespace() -> str:
    return "flywheel"


@pytest.fixture
def settings(cluster_environment: dict[str, str], tmp_path: Path) -> Settings:
    """Settings of a run of its own on this cluster: object storage, ledger and run folder are real."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    return replace(
        Settings.from_env(),
        home=tmp_path / "home",
        run_id=f"test-{uuid.uuid4().hex[:8]}",
        run_dir=run_dir,
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        object_store=cluster_environment["FLYWHEEL_OBJECT_STORE"],
        ledger_url=cluster_environment["FLYWHEEL_LEDGER_URL"],
        s3_endpoint=cluster_environment["AWS_ENDPOINT_URL"],
        s3_access_key=cluster_environment["AWS_ACCESS_KEY_ID"],
        s3_secret_key=cluster_environment["AWS_SECRET_ACCESS_KEY"],
        s3_region=cluster_environment["AWS_REGION"],
        actor="cluster-test",
    )


@pytest.fixture(scope="session")
def trainer_image() -> str:
    """Image with our code; the heavy environment comes from the claim ``python-env``."""
    return "localhost/flywheel/trainer:test"


@pytest.fixture(scope="session")
def standin() -> str:
    """ServingRuntime of a model server that needs no model and breaks on demand (env FAULT)."""
    return "flywheel-standin"


@pytest.fixture(scope="session")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated dataset of a few facts."""
    folder = tmp_path_factory.mktemp("dataset")
    forms = ("What is the {}?", "Tell me the {}.", "Do you know the {}?", "The {}, please?")
    facts = {"colour": "Blue.", "weight": "Two kilograms.", "price": "Ten euros.", "warranty": "Three years."}
    ids = []
    for split, taken in {"train": forms[:3], "validation": forms[2:3], "test": forms[3:]}.items():
        rows = []
        for form in taken:
            for fact, answer in facts.items():
                messages = [{"role": "user", "content": form.format(fact)}, {"role": "assistant", "content": answer}]
                row = {"id": row_id(messages), "messages": messages, "source": "t.csv", "lang": "en", "meta": "{}"}
                rows.append(row)
        ids += [row["id"] for row in rows]
        write_table(rows, folder / f"{split}.parquet")
    write_manifest(folder, {"version": version_of(ids)})
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, curated: Path) -> Path:
    """A base model that is made in seconds."""
    home = tmp_path_factory.mktemp("home")
    recipe = TinyRecipe(rows=200, steps=20, layers=2, hidden_size=64, heads=2, intermediate_size=128, vocab_size=400)
    make_base("tiny", recipe, home / "base", replace(Settings.from_env(), home=home, run_dir=None), curated)
    return home / "base"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    report = yield
    if report.when in ("setup", "call") and report.failed and (CACHE / "admin.kubeconfig").exists():
        folder = FAILURES / item.name.replace("/", "_")
        _explain(folder)
        report.sections.append(("cluster", f"events, pods and logs: {folder}"))
    return report


def _explain(folder: Path) -> None:
    """Leave what a person needs to understand a failure: events, pods, routes and logs."""
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = ["kubectl", f"--kubeconfig={CACHE / 'admin.kubeconfig'}"]

    def keep(name: str, *argv: str) -> str:
        done = subprocess.run([*kubectl, *argv], capture_output=True, text=True, timeout=60)
        (folder / name).write_text(done.stdout + done.stderr, encoding="utf-8")
        return done.stdout

    keep("events.txt", "get", "events", "-n", "flywheel", "--sort-by=.lastTimestamp")
    keep("pods.txt", "describe", "pods", "-n", "flywheel")
    kinds = "inferenceservices,httproutes,pytorchjobs,trainjobs,deployments"
    keep("objects.yaml", "get", kinds, "-n", "flywheel", "-o", "yaml")
    pods = json.loads(keep("pods.json", "get", "pods", "-n", "flywheel", "-o", "json") or "{}")
    for pod in pods.get("items", []):
        name = pod["metadata"]["name"]
        keep(f"{name}.log", "logs", "-n", "flywheel", name, "--all-containers", "--tail=500")
        keep(f"{name}.previous.log", "logs", "-n", "flywheel", name, "--all-containers", "--previous", "--tail=500")
