"""Every shipped configuration binds, and the compiled pipeline is what a KFP backend accepts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.config import bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.pipelines.bind import merge, plain, problems_in_cluster, sections
from llm_flywheel.pipelines.compile import COMPILED, check, compile_text
from llm_flywheel.pipelines.config import SECTIONS, RunConfig
from llm_flywheel.pipelines.tasks import Profile

CONFIGS = sorted((Path(__file__).parents[2] / "pipelines" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_binds_and_survives_kfp(path: Path) -> None:
    config = bind(RunConfig, load_yaml(path), where=str(path))
    as_kfp_sends_it = yaml.safe_load(
        re.sub(r"(: |- )(\d+)$", r"\1\2.0", yaml.safe_dump(plain(config)), flags=re.MULTILINE)
    )
    assert bind(RunConfig, as_kfp_sends_it) == config


def test_scalars_replace_what_the_file_says_and_empty_ones_do_not() -> None:
    config = {"ingest": {"paths": ["a.csv"], "format": "qa"}}
    assert merge(config, data=["b.csv"], base_model="hf-internal/x") == {
        "ingest": {"paths": ["b.csv"], "format": "qa"},
        "finetune": {"base_model": "hf-internal/x"},
    }
    assert merge(config) == config


def test_a_configuration_for_this_machine_is_refused_for_a_cluster_with_every_reason() -> None:
    values = {
        "name": "x",
        "ingest": {"paths": ["/data/a.csv", "s3://bucket/a.csv"], "holdout_paths": ["b.csv"]},
        "finetune": {"base_model": "./llama"},
        "publish": {"model_name": "x"},
    }
    assert problems_in_cluster(bind(RunConfig, values)) == [
        "ingest.paths: '/data/a.csv' is a path of this machine; a pod needs s3:// or sample://",
        "ingest.holdout_paths: 'b.csv' is a path of this machine; a pod needs s3:// or sample://",
        "finetune.base_model: './llama' is a folder of this machine; give s3:// or a Hub id",
        "deploy.target: local starts a gateway that does not outlive the step's pod; use none",
    ]


def test_the_quick_start_can_be_submitted_with_manifests_only() -> None:
    values = load_yaml(Path(__file__).parents[2] / "pipelines" / "configs" / "quickstart.yaml")
    assert problems_in_cluster(bind(RunConfig, {**values, "deploy": {"target": "none"}})) == []


def test_sections_come_in_the_order_the_pipeline_hands_them_out() -> None:
    values = sections(load_yaml(CONFIGS[-1]))
    assert "paths" in values[SECTIONS.index("ingest")]
    assert "min_gain" in values[SECTIONS.index("gate")]


@pytest.fixture(scope="module")
def compiled() -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.safe_load_all(compile_text(Profile(core_image="r/core@sha256:1", secret="mine")))
    return pipeline, platform


def executors(pipeline: dict[str, Any]) -> dict[str, Any]:
    return {name: value["container"] for name, value in pipeline["deploymentSpec"]["executors"].items()}


def test_curating_in_groups_mounts_the_claim_and_caches_nothing() -> None:
    profile = Profile(curate_groups=30, curate_claim="shared")
    pipeline, platform = yaml.safe_load_all(compile_text(profile))
    mounts = {
        name: [(mount["constant"], mount["mountPath"]) for mount in own.get("pvcMount", [])]
        for name, own in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items()
    }
    steps = ("begin-curation", "curate-group", "curate-group-2", "decide-fates", "finish-curation", "end-curation")
    assert {name for name, mount in mounts.items() if mount} == {f"exec-{step}" for step in steps}
    assert all(mounts[f"exec-{step}"] == [("shared", "/work")] for step in steps)
    tasks = {
        name: task
        for component in pipeline["components"].values()
        for name, task in component.get("dag", {}).get("tasks", {}).items()
    }
    assert not any(tasks[step]["cachingOptions"].get("enableCache") for step in steps)
    assert {"scan-pii", "stop-unless"} < set(tasks["begin-curation"]["dependentTasks"])
    loops = [
        json.loads(task["parameterIterator"]["items"]["raw"]) for task in tasks.values() if "parameterIterator" in task
    ]
    assert loops == [list(range(30))] * 2


def test_groups_without_a_shared_volume_are_refused() -> None:
    with pytest.raises(FlywheelError, match="curate_groups needs curate_claim"):
        bind(Profile, {"curate_groups": 3}, where="profile")


def test_the_committed_pipeline_is_up_to_date() -> None:
    check(COMPILED, Profile())


def test_a_stale_pipeline_is_told_with_what_differs(tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text(COMPILED.read_text().replace("curate", "courate"))
    with pytest.raises(FlywheelError, match="out of date"):
        check(tmp_path / "flywheel.yaml", Profile())


def test_nothing_is_installed_at_run_time_and_no_path_of_this_machine_is_in_it(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    for container in executors(compiled[0]).values():
        assert "pip" not in " ".join(container["command"]).split()
    assert str(Path(__file__).parents[2]) not in yaml.safe_dump(compiled[0])


def test_images_and_resources_are_what_the_profile_says(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    containers = executors(compiled[0])
    assert containers["exec-curate"]["image"] == "r/core@sha256:1"
    assert containers["exec-finetune"]["image"].startswith("ghcr.io/llm-flywheel/python-trainer")
    assert all(container["resources"] for container in containers.values())


def test_every_step_runs_as_a_user_that_is_not_root_with_credentials_from_a_secret(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    pipeline, platform = compiled
    steps = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(steps) == set(executors(pipeline))
    for step in steps.values():
        assert step["securityContext"] == {"runAsNonRoot": True, "runAsUser": "1000"}
        assert step["secretAsEnv"][0]["secretName"] == "mine"
        assert step["fieldPathAsEnv"] == [{"fieldPath": "metadata.labels['pipeline/runid']", "name": "FLYWHEEL_RUN_ID"}]
    for container in executors(pipeline).values():
        assert {item["name"]: item["value"] for item in container["env"]}["HOME"] == "/tmp"


def tasks(node: Any) -> dict[str, Any]:
    """All tasks of all DAGs of a compiled pipeline."""
    found: dict[str, Any] = {}
    if isinstance(node, dict):
        for key, value in node.items():
            found |= value if key == "tasks" else tasks(value)
    return found


def test_caching_and_retries_are_decided_per_task(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    pipeline, _ = compiled
    found = tasks(pipeline["root"]) | tasks(pipeline["components"])
    leaves = {
        name: task for name, task in found.items() if f"exec-{task['componentRef']['name'][5:]}" in executors(pipeline)
    }
    cached = {name for name, task in leaves.items() if task["cachingOptions"].get("enableCache")}
    retried = {name for name, task in leaves.items() if "retryPolicy" in task}
    assert cached == {"scan-pii", "curate", "base-model", "finetune", "evaluate", "evaluate-2"}
    assert retried == {"ingest", "publish", "deploy", "rollout"}


def test_the_exit_handler_runs_whatever_happens(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    finish = compiled[0]["root"]["dag"]["tasks"]["finish"]
    assert finish["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


@pytest.mark.parametrize(
    ("ingest", "others", "message"),
    [
        (
            {"level": "internal"},
            {"finetune": {"max_level": "intern"}},
            "finetune.max_level: got 'intern'; expected",
        ),
        (
            {"level": "red", "levels": ["green", "red"]},
            {"scan_pii": {"level": "internal"}},
            "scan_pii.level: got 'internal'; expected one of ingest.access.levels, green, red",
        ),
        ({"levels": ["green", "red"]}, {"scan_pii": {"level": "internal"}}, ""),
        ({"level": "confidential"}, {"scan_pii": {"level": "public"}, "finetune": {"max_level": "internal"}}, ""),
    ],
)
def test_a_level_that_the_data_does_not_know_is_told_at_once(
    ingest: dict[str, Any], others: dict[str, Any], message: str
) -> None:
    values = {"name": "x", "ingest": {"paths": ["a.csv"], "access": ingest}, "publish": {"model_name": "x"}, **others}
    if message:
        with pytest.raises(FlywheelError, match=re.escape(message)):
            bind(RunConfig, values)
    else:
        bind(RunConfig, values)
