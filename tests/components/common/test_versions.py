"""Dataset versions by run, folder and digits."""

import logging
from pathlib import Path

import pytest

from llm_flywheel.components.common.dataset import write_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.versions import (
    all_versions,
    find_version,
    of_run,
    read_version,
    tables_of,
    with_parents,
)
from tests.components.common.conftest import row, write_dataset

OLD, NEW = "demo-20261121-090000-aaaa", "demo-20261121-100000-bbbb"
ROWS = [row("one", 1), row("two", 2), row("two", 3)]


def folder_of(home: Path, run_id: str, step: str) -> Path:
    return home / "runs" / run_id / "artifacts" / "llm-flywheel-1" / step / "dataset"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two runs: in the new one, scan_pii changed nothing and curate dropped one row."""
    for hour, run_id in (("09", OLD), ("10", NEW)):
        parent = None
        for step, tables in (
            ("ingest", {"data": ROWS}),
            ("scan_pii", {"data": ROWS}),
            ("curate", {"train": ROWS[:1], "test": ROWS[1:2]}),
        ):
            if (run_id, step) == (OLD, "curate"):
                continue
            parent = write_dataset(
                folder_of(tmp_path, run_id, step),
                tables,
                step,
                parent=parent,
                run_id=run_id,
                created=f"2026-11-21T{hour}:00:00+00:00",
                dropped={"exact_duplicate": 1} if step == "curate" else {},
            )
    return tmp_path


def test_versions_are_listed_from_new_to_old(home: Path) -> None:
    found = [(item.run_id[-4:], item.step) for item in all_versions(home)]
    assert found == [
        ("bbbb", "curate"),
        ("bbbb", "scan_pii"),
        ("bbbb", "ingest"),
        ("aaaa", "scan_pii"),
        ("aaaa", "ingest"),
    ]


def test_a_broken_manifest_is_told_and_hides_no_other(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of(home, OLD, "broken")
    write_manifest(folder, {"step": "ingest", "version": "1", "rows_out": "many"})
    with caplog.at_level(logging.WARNING):
        assert len(all_versions(home)) == 5
    assert str(folder) in caplog.text


def test_a_version_says_what_its_manifest_says(tmp_path: Path) -> None:
    version = write_dataset(
        tmp_path,
        {"data": ROWS},
        "ingest",
        quarantined={"json": 2, "ragged": 1},
        access={"level": "internal"},
        pii={"found": {"EMAIL": 2, "PHONE": 1}, "masked": {"EMAIL": 2}, "remaining": {"PHONE": 1}},
    )
    found = read_version(tmp_path)
    assert (found.version, found.level, found.rows_in, found.rows_out) == (version, "internal", 6, 3)
    assert found.dropped == {"json": 2, "ragged": 1}
    assert found.pii == {"found": 3, "masked": 2, "remaining": 1}


@pytest.mark.parametrize(
    ("name", "run_id", "step"),
    [("demo", NEW, "curate"), (OLD, OLD, "scan_pii"), ("demo:ingest", NEW, "ingest"), (f"{OLD}:ingest", OLD, "ingest")],
)
def test_a_run_is_found_by_id_and_by_name(home: Path, name: str, run_id: str, step: str) -> None:
    found = find_version(name, all_versions(home))
    assert (found.run_id, found.step) == (run_id, step)


def test_a_dataset_is_found_by_folder_and_by_folder_of_its_run(home: Path) -> None:
    versions = all_versions(home)
    assert find_version(str(folder_of(home, OLD, "ingest")), versions).step == "ingest"
    assert find_version(str(home / "runs" / OLD), versions).step == "scan_pii"


def test_a_version_is_found_by_its_first_digits_and_the_newest_folder_counts(home: Path) -> None:
    versions = all_versions(home)
    found = find_version(versions[-1].version[:6], versions)
    assert (found.run_id, found.step) == (NEW, "scan_pii")


def test_a_name_that_nothing_has_is_refused(home: Path) -> None:
    for name in ("dem", "demo:publish", "0000", "demo/../demo", "~nobodyx", "x" * 300):
        with pytest.raises(FlywheelError, match="no dataset folder, run or dataset version of that name"):
            find_version(name, all_versions(home))


def test_digits_that_two_versions_begin_with_are_refused(tmp_path: Path) -> None:
    for number, version in enumerate(("abcd000000000000", "abcd111111111111")):
        write_dataset(folder_of(tmp_path, OLD, str(number)), {"data": ROWS}, version=version)
    with pytest.raises(FlywheelError, match="2 versions begin with it: abcd000000000000, abcd111111111111"):
        find_version("abcd", all_versions(tmp_path))


def test_parents_are_followed_also_where_a_step_changed_nothing(home: Path) -> None:
    versions = all_versions(home)
    chain = with_parents(find_version("demo", versions), versions)
    assert [(item.run_id, item.step) for item in chain] == [(NEW, "curate"), (NEW, "scan_pii"), (NEW, "ingest")]


def test_versions_of_a_run_and_of_all_runs_of_a_name(home: Path) -> None:
    versions = all_versions(home)
    assert len(of_run(OLD, versions)) == 2
    assert len(of_run("demo", versions)) == 5
    assert of_run("de", versions) == []


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"no data.parquet and no train.parquet there"):
        tables_of(tmp_path)


def test_a_manifest_that_is_no_dataset_s_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"name": "model"})
    with pytest.raises(FlywheelError, match="does not describe a dataset version"):
        read_version(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        '"rows_out": 1e999',
        '"rows_out": 1, "splits": ["train"]',
        '"rows_out": 1, "splits": {"train": "many"}',
        '"rows_out": 1, "dropped": {"json": 1e999}',
        '"rows_out": 1, "pii": {"found": 3}',
        '"rows_out": 1, "pii": {"found": {"EMAIL": 1e999}}',
        '"rows_out": 1, "pii": 3',
    ],
)
def test_a_manifest_with_wrong_numbers_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "manifest.json").write_text(f'{{"step": "curate", "version": "1", {wrong}}}')
    with pytest.raises(FlywheelError, match="does not describe a dataset version"):
        read_version(tmp_path)
