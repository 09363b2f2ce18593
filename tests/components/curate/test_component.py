"""The steps of KFP that curate in groups of pods."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from llm_flywheel.components.common.dataset import row_id, write_manifest, write_table
from llm_flywheel.components.curate import component

FILES = ("train.parquet", "validation.parquet", "test.parquet", "dropped.parquet")


def row(number: int) -> dict[str, Any]:
    user = " ".join(f"{word}{number}" for word in ("how", "long", "does", "delivery", "take"))
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": "yes"}]
    return {"id": row_id(messages), "messages": messages, "source": "a.csv", "lang": "en", "meta": "{}"}


def test_the_last_steps_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYWHEEL_RUN_ID", "run-1")
    write_table([row(number) for number in range(60)], tmp_path / "in" / "data.parquet")
    write_manifest(tmp_path / "in", {"rows_in": 60, "quarantined": {}})
    dataset, work = dsl.Dataset(uri=str(tmp_path / "in")), str(tmp_path / "work")
    component.begin_curation.python_func({"workers": 1}, dataset, work, 20.0)
    (tmp_path / "in").rename(tmp_path / "kept")  # the pods of groups do not have the artifact
    component.curate_group.python_func(work, "clean", 0, 1)
    component.decide_fates.python_func(work)
    component.curate_group.python_func(work, "count", 0, 1)
    (tmp_path / "kept").rename(tmp_path / "in")

    def finished(name: str) -> list[bytes]:
        curated, report = dsl.Dataset(uri=str(tmp_path / name)), dsl.HTML(uri=str(tmp_path / f"{name}.html"))
        component.finish_curation.python_func(work, dataset, curated, report)
        return [(tmp_path / name / file).read_bytes() for file in FILES]

    assert finished("one") == finished("two")
    component.end_curation.python_func(work)
    component.end_curation.python_func(work)
    assert list(Path(work).iterdir()) == []


def test_without_a_run_id_no_folder_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYWHEEL_RUN_ID", raising=False)
    with pytest.raises(SystemExit):
        component.end_curation.python_func(str(tmp_path))
    assert tmp_path.exists()
