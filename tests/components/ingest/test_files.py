from pathlib import Path

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.ingest.files import find_files


def names(paths: list[str], holdout: list[str], scratch: Path) -> list[tuple[str, str]]:
    return [(file.path.name, file.split) for file in find_files(paths, holdout, scratch).files]


def test_folders_globs_and_files_are_expanded_in_order_and_read_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "sub/c.PARQUET", ".hidden.csv", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    sources = find_files([f"{tmp_path}/*.csv", str(tmp_path)], [], tmp_path / "scratch")
    assert [file.path.name for file in sources.files] == ["b.csv", "a.jsonl", "c.PARQUET"]
    assert sources.ignored == [str(tmp_path / "notes.md")]


def test_a_file_that_both_lists_name_is_held_out(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("x")
    found = names([str(tmp_path)], [str(tmp_path / "test.csv")], tmp_path / "scratch")
    assert found == [("train.csv", ""), ("test.csv", "test")]
    with pytest.raises(FlywheelError, match="every file is held out"):
        find_files([str(tmp_path)], [str(tmp_path)], tmp_path / "scratch")


def test_everything_that_is_wrong_with_the_paths_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "empty").mkdir()
    paths = [
        f"{tmp_path}/none.csv",
        f"{tmp_path}/*.jsonl",
        f"{tmp_path}/notes.md",
        f"{tmp_path}/empty",
        "s3://bucket/a.csv",
        "sample://poems",
        "sample://support-tickets?rows=many",
    ]
    with pytest.raises(FlywheelError) as caught:
        find_files(paths, [f"{tmp_path}/gone.csv"], tmp_path / "scratch")
    assert caught.value.reason == "missing"
    for part in [*paths, f"{tmp_path}/gone.csv"]:
        assert part in caught.value.what


def test_a_sample_is_written_and_named_by_its_address(tmp_path: Path) -> None:
    sources = find_files(["sample://support-tickets?rows=50&seed=3"], [], tmp_path)
    assert sources.files
    assert all(file.name.startswith("sample://support-tickets/tickets_") for file in sources.files)
