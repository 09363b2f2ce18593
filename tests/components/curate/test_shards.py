import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kfp import dsl, local

from llm_flywheel.components.common.dataset import read_manifest, row_id, write_manifest, write_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.component import curate_in_groups
from llm_flywheel.components.curate.config import CurateConfig, Sampling
from llm_flywheel.components.curate.curate import run, run_group
from llm_flywheel.components.curate.executors import Executor, Inline, Pool, Ray, Task, perform
from llm_flywheel.components.curate.shards import Plan, begin

CONFIG = CurateConfig(sampling=Sampling(max_rows=130))
FILES = ("train.parquet", "validation.parquet", "test.parquet", "dropped.parquet")


def row(user: str, answer: str = "yes", **meta: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    source = f"{len(answer) % 2}.csv"
    return {"id": row_id(messages), "messages": messages, "source": source, "lang": "en", "meta": json.dumps(meta)}


def messy(count: int = 300) -> list[dict[str, Any]]:
    """Rows of which many are alike, far apart from each other; every fate occurs."""
    rows = [
        row(f"does product{n} of{n} yours{n} support{n} feature{n} on{n} all{n} days{n}", "no" if n % 3 else "yes")
        for n in range(count)
    ]
    again = [row(rows[n]["messages"][0]["content"] + " please", rows[n]["messages"][1]["content"]) for n in range(20)]
    template = [row(f"where is my order {n} and when will it be here at last", f"answer{n}") for n in range(200)]
    tests = [row(f"{rows[40 + n]['messages'][0]['content']} now", split="test") for n in range(5)]
    return [*rows, *tests, *rows[:10], row("hi", ""), *again, *template]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = messy()
    write_table(rows, tmp_path / "in" / "data.parquet")
    write_manifest(tmp_path / "in", {"rows_in": len(rows) + 3, "quarantined": {"not_json": 2, "empty": 1}})
    return tmp_path / "in"


class Counting:
    """Does the tasks in this process and remembers them."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int]] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[int]:
        self.tasks += [(task.phase, task.key) for task in tasks]
        return Inline().run(tasks)


def files_of(dataset: Path, folder: Path, executor: Executor | None = None, shard_rows: int = 20_000) -> list[bytes]:
    result = run(CONFIG, dataset, folder, executor=executor, work=folder / "work", shard_rows=shard_rows)
    assert result.version == read_manifest(folder)["version"]
    return [(folder / name).read_bytes() for name in FILES]


def test_every_fate_occurs_and_rows_add_up(dataset: Path, tmp_path: Path) -> None:
    result = run(CONFIG, dataset, tmp_path / "out")
    reasons = {"exact_duplicate", "no_answer", "near_duplicate", "leaks_into_test", "sampled_out"}
    assert set(result.dropped) == reasons
    assert result.rows_in == len(messy()) == result.rows_out + sum(result.dropped.values())
    manifest = read_manifest(tmp_path / "out")
    assert manifest["quarantined"] == {"not_json": 2, "empty": 1}
    assert manifest["uncompared"] == {"leaks": 0, "near_duplicates": 0, "split": 0}


def test_a_table_that_its_manifest_does_not_count_is_refused(dataset: Path, tmp_path: Path) -> None:
    write_manifest(dataset, {"rows_in": 1_000, "quarantined": {}})
    with pytest.raises(FlywheelError, match="536 rows, but its manifest says 1,000 read") as caught:
        run(CONFIG, dataset, tmp_path / "out")
    assert caught.value.reason == "manifest"


@pytest.mark.parametrize("shard_rows", [37, 100])
def test_the_number_of_shards_changes_nothing(dataset: Path, tmp_path: Path, shard_rows: int) -> None:
    one = files_of(dataset, tmp_path / "one")
    assert files_of(dataset, tmp_path / "many", Inline(), shard_rows) == one


def test_processes_change_nothing(dataset: Path, tmp_path: Path) -> None:
    one = files_of(dataset, tmp_path / "one")
    with Pool(2) as pool:
        assert files_of(dataset, tmp_path / "pool", pool, 100) == one


def test_ray_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    one = files_of(dataset, tmp_path / "one")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert files_of(dataset, tmp_path / "ray", Ray(), 100) == one
    finally:
        ray.shutdown()


def test_groups_of_kfp_change_nothing(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_RUN_ID", "run-1")
    one = files_of(dataset, tmp_path / "one")

    @dsl.pipeline(name="groups")
    def whole(config: dict, data: str, work: str) -> dsl.Dataset:  # type: ignore[type-arg]
        given = dsl.importer(artifact_uri=data, artifact_class=dsl.Dataset)
        return curate_in_groups(config, given.output, work, 3, shard_rows=60).outputs["curated"]  # type: ignore[no-any-return]

    root, workspace = str(tmp_path / "root"), tempfile.mkdtemp(dir=tmp_path)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root, workspace_root=workspace)
    done = whole(config=CONFIG.model_dump(mode="json"), data=str(dataset), work=str(tmp_path / "work"))
    assert [(Path(done.output.path) / name).read_bytes() for name in FILES] == one
    assert list((tmp_path / "work").iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from llm_flywheel.components.curate import shards
from llm_flywheel.components.curate.curate import run, run_group
from llm_flywheel.components.curate.executors import Inline
from tests_shards import CONFIG

class Slow:
    def run(self, tasks):
        for key in Inline().run(tasks):
            print(tasks[0].phase, key, flush=True)
            time.sleep(0.05)
            yield key

folder = Path(sys.argv[1])
run(CONFIG, folder / "in", folder / "out", executor=Slow(), work=folder / "work", shard_rows=50)
"""


@pytest.mark.parametrize("until", ["cleaned 4", "near/bands 0", "counted 2", "written 1"])
def test_a_killed_run_goes_on_where_it_stopped(dataset: Path, tmp_path: Path, until: str) -> None:
    whole = Counting()
    expected = files_of(dataset, tmp_path / "whole", whole, 50)
    code = KILLED.replace("tests_shards", Path(__file__).stem)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        done += " " in line and not line.startswith("curate:")
        if line.startswith(until):
            break
    time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    rest = Counting()
    result = run(CONFIG, dataset, tmp_path / "out", executor=rest, work=tmp_path / "work", shard_rows=50)
    assert len(rest.tasks) in (len(whole.tasks) - done, len(whole.tasks) - done - 1)
    assert 0 < len(rest.tasks) < len(whole.tasks)
    assert [(tmp_path / "out" / name).read_bytes() for name in FILES] == expected
    assert result.version == read_manifest(tmp_path / "whole")["version"]
    assert [path.name for path in (tmp_path / "work").iterdir() if path.is_dir()] == []


def count(folder: Path, phase: str, key: int) -> dict[str, Any]:
    Task(count, folder, phase, key).stem.with_suffix(".txt").write_text("counted")
    return {"key": key}


def test_a_task_with_half_a_result_is_done_again_and_others_are_not(tmp_path: Path) -> None:
    tasks = [Task(count, tmp_path, "counted", key) for key in range(3)]
    assert perform(Inline(), tasks)[1]["key"] == 1
    tasks[0].stem.with_suffix(".txt").write_text("coun")
    tasks[1].marker.unlink()
    again = Counting()
    perform(again, tasks)
    assert again.tasks == [("counted", 0), ("counted", 1)]


def test_a_worker_that_dies_is_told_without_a_traceback(tmp_path: Path) -> None:
    with Pool(2) as pool, pytest.raises(FlywheelError, match="a worker process died") as caught:
        perform(pool, [Task(die, tmp_path, "dying", key) for key in range(2)])
    assert caught.value.reason == "worker_died"


def die(folder: Path, phase: str, key: int) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_shards_follow_row_groups_and_a_large_one_is_cut(tmp_path: Path) -> None:
    rows = messy()[:500]
    with pq.ParquetWriter(tmp_path / "data.parquet", pq.ParquetFile(_table(tmp_path, rows)).schema_arrow) as file:
        for begin, end in ((0, 30), (30, 60), (60, 400), (400, 450), (450, 500)):
            file.write_table(pq.read_table(tmp_path / "all.parquet").slice(begin, end - begin))
    plan = Plan.of(CONFIG, tmp_path, 100)
    assert plan.ranges == [(0, 60), (60, 145), (145, 230), (230, 315), (315, 400), (400, 500)]


def _table(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_table(rows, folder / "all.parquet")
    return folder / "all.parquet"


def test_a_shard_without_any_good_row_is_none_the_worse(tmp_path: Path) -> None:
    bad = [row(f"question{n}", "") for n in range(100)]
    write_table([*bad, *messy()[:200]], tmp_path / "in" / "data.parquet")
    write_manifest(tmp_path / "in", {})
    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out", work=tmp_path / "work", shard_rows=50)
    assert result.dropped == {"no_answer": 100}
    assert result.rows_out == 200


def test_a_folder_with_work_on_other_data_is_not_gone_on_with(dataset: Path, tmp_path: Path) -> None:
    begin(Plan.of(CONFIG, dataset, 100), tmp_path / "work")
    run_group(tmp_path / "work", "clean", 0, 2, Inline())
    assert len(list((tmp_path / "work" / "cleaned").glob("*.json"))) == 3
    write_table(messy()[::-1], dataset / "data.parquet")
    begin(Plan.of(CONFIG, dataset, 100), tmp_path / "work")
    assert not (tmp_path / "work" / "cleaned").exists()


def test_a_table_with_a_broken_page_is_an_error_of_the_user(dataset: Path, tmp_path: Path) -> None:
    broken = bytearray((dataset / "data.parquet").read_bytes())
    broken[2_000:4_000] = bytes(2_000)
    (dataset / "data.parquet").write_bytes(broken)
    with pytest.raises(FlywheelError, match="cannot be read") as caught:
        run(CONFIG, dataset, tmp_path / "out")
    assert caught.value.reason == "unreadable"


def test_sampling_everything_away_is_an_error(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="is left to train on") as caught:
        run(CurateConfig(sampling=Sampling(weights={"elsewhere": 1, "*": 0})), dataset, tmp_path / "out")
    assert caught.value.where == "curate.sampling"


def test_another_evaluation_set_is_other_work(dataset: Path, tmp_path: Path) -> None:
    items = tmp_path / "eval.jsonl"
    config = CurateConfig.model_validate({"decontamination": {"eval_sets": [str(items)]}})
    items.write_text('{"question": "one"}\n')
    before = Plan.of(config, dataset).key
    assert Plan.of(config.model_copy(update={"workers": 2}), dataset).key == before
    items.write_text('{"question": "one"}\n{"question": "two"}\n')
    assert Plan.of(config, dataset).key != before


def test_a_second_run_in_the_same_process_reads_its_own_evaluation_set(dataset: Path, tmp_path: Path) -> None:
    items = tmp_path / "eval.jsonl"
    config = CurateConfig.model_validate({"decontamination": {"eval_sets": [str(items)]}, "workers": 1})
    found = []
    for product in (3, 4):
        items.write_text(json.dumps({"question": messy()[product]["messages"][0]["content"]}) + "\n")
        run(config, dataset, tmp_path / f"out{product}", work=tmp_path / "work", shard_rows=100)
        dropped = pq.read_table(tmp_path / f"out{product}" / "dropped.parquet").to_pylist()
        found.append([item["id"] for item in dropped if item["reason"] == "contaminated"])
    assert found[0] != found[1]
    assert all(found)
