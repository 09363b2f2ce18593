import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.dataset import QUARANTINE_SCHEMA, read_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import S3Store
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.files import find_files
from llm_flywheel.components.ingest.ingest import run


def names(paths: list[str], holdout: list[str], scratch: Path) -> list[tuple[str, str]]:
    return [(file.path.name, file.split) for file in find_files(paths, holdout, scratch).files]


def test_folders_globs_and_files_are_expanded_in_order_and_read_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl", "sub/c.PARQUET", ".hidden.csv", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    sources = find_files([f"{tmp_path}/*.csv", str(tmp_path)], [], tmp_path / "scratch")
    assert [file.path.name for file in sources.files] == ["b.csv", "a.jsonl", "c.PARQUET"]
    assert sources.ignored == [str(tmp_path / ".hidden.csv"), str(tmp_path / "notes.md")]


def test_a_file_that_both_lists_name_is_held_out(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("x")
    found = names([str(tmp_path)], [str(tmp_path / "test.csv")], tmp_path / "scratch")
    assert found == [("train.csv", ""), ("test.csv", "test")]
    with pytest.raises(FlywheelError, match="every file is held out"):
        find_files([str(tmp_path)], [str(tmp_path)], tmp_path / "scratch")


def test_everything_that_is_wrong_with_the_paths_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "notes.docx").write_text("x")
    (tmp_path / "empty").mkdir()
    paths = [
        f"{tmp_path}/none.csv",
        f"{tmp_path}/*.jsonl",
        f"{tmp_path}/notes.docx: unknown kind of file",
        f"{tmp_path}/empty: holds no file of a known kind",
        "s3://bucket/a.csv: no S3 credentials in the environment",
        "hf://datasets/a: write hf://datasets/OWNER/NAME",
        "http://example.org/a.csv: leads to http://example.org; only https:// is fetched",
        "ftp://example.org/a.csv: this kind of address is not supported",
        "file:///not/here.csv: no such file or folder",
        "file://relative/a.csv: write file:///absolute/path",
        "sample://poems",
        "sample://support-tickets?rows=many",
    ]
    with pytest.raises(FlywheelError) as caught:
        find_files([path.partition(": ")[0] for path in paths], [f"{tmp_path}/gone.csv"], tmp_path / "scratch")
    assert caught.value.reason == "missing"
    for part in [*paths, f"{tmp_path}/gone.csv"]:
        assert part in caught.value.what


def test_texts_are_data_where_no_table_is_beside_them_and_by_their_own_name(tmp_path: Path) -> None:
    for name in ("texts/README.md", "texts/b.txt", "texts/a.md.gz", "mixed/a.csv.zst", "mixed/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    sources = find_files([f"{tmp_path}/texts", f"{tmp_path}/mixed"], [], tmp_path / "scratch")
    assert [(file.path.name, file.kind) for file in sources.files] == [
        ("a.md.gz", "text"),
        ("b.txt", "text"),
        ("a.csv.zst", "csv"),
    ]
    assert [Path(name).name for name in sources.ignored] == ["notes.txt", "README.md"]
    assert names([f"{tmp_path}/mixed/notes.txt"], [], tmp_path / "scratch") == [("notes.txt", "")]


def test_a_sample_is_written_and_named_by_its_address(tmp_path: Path) -> None:
    sources = find_files(["sample://support-tickets?rows=50&seed=3"], [], tmp_path)
    assert sources.files
    assert all(file.name.startswith("sample://support-tickets/tickets_") for file in sources.files)


def test_a_file_address_is_read_in_place_and_known_by_its_path_too(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.csv", "sub/b.jsonl", "notes.md"):
        (folder / name).write_text("x")
    sources = find_files([folder.as_uri()], [str(folder / "a.csv")], tmp_path / "scratch")
    assert [(file.name, file.split) for file in sources.files] == [
        (f"{folder.as_uri()}/sub/b.jsonl", ""),
        (f"{folder}/a.csv", "test"),
    ]
    assert sources.ignored == [f"{folder.as_uri()}/notes.md"]
    one = (folder / "a.csv").as_uri()
    assert [(file.name, file.path) for file in find_files([one], [], tmp_path).files] == [(one, folder / "a.csv")]


@pytest.fixture
def bucket(minio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with two data files and a note below data/, and the environment that reaches it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", minio.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", minio.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", minio.secret_key)
    folder = tmp_path / "upload"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.csv").write_text("question,answer\nWhere is it?,Here\nbroken\n")
    (folder / "sub" / "more.jsonl").write_text('{"question": "Who?", "answer": "Me"}\n')
    (folder / "notes.md").write_text("x")
    (folder / "notes.docx").write_text("x")
    S3Store(Settings.from_env()).upload(folder, "s3://ingest-test/data")
    return "s3://ingest-test"


def test_object_storage_is_read_by_prefix_and_by_key(bucket: str, tmp_path: Path) -> None:
    sources = find_files([f"{bucket}/data/"], [f"{bucket}/data/train.csv"], tmp_path / "scratch")
    assert [(file.name, file.split) for file in sources.files] == [
        (f"{bucket}/data/sub/more.jsonl", ""),
        (f"{bucket}/data/train.csv", "test"),
    ]
    assert sources.ignored == [f"{bucket}/data/notes.docx", f"{bucket}/data/notes.md"]
    assert sources.files[1].path.read_text().startswith("question,answer")


def test_missing_objects_are_said_with_the_other_missing_paths(bucket: str, tmp_path: Path) -> None:
    paths = [f"{bucket}/data/typo.csv", "s3://no-such-bucket/a", f"{bucket}/data/notes.docx", "/not/here.csv"]
    with pytest.raises(FlywheelError) as caught:
        find_files(paths, [], tmp_path / "scratch")
    for part in [
        f"{bucket}/data/typo.csv: nothing is stored there",
        "s3://no-such-bucket/a: ",
        f"{bucket}/data/notes.docx: unknown kind of file",
        "/not/here.csv: no such file or folder",
    ]:
        assert part in caught.value.what


def test_rows_and_quarantine_name_the_object(bucket: str, tmp_path: Path) -> None:
    result = run(IngestConfig(paths=[f"{bucket}/data"]), tmp_path / "out", tmp_path / "quarantine")
    assert result.rows_out == 2
    rows = read_table(tmp_path / "out" / "data.parquet").to_pylist()
    assert {row["source"] for row in rows} == {f"{bucket}/data/train.csv", f"{bucket}/data/sub/more.jsonl"}
    broken = read_table(tmp_path / "quarantine" / "quarantine.parquet", QUARANTINE_SCHEMA).to_pylist()
    assert [row["file"] for row in broken] == [f"{bucket}/data/train.csv"]


def test_hidden_files_that_may_be_data_are_named_and_what_is_noise_is_not(tmp_path: Path) -> None:
    for name in ("a.csv", ".b.csv", "._a.csv", ".DS_Store", ".git/c.json", "_SUCCESS"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    sources = find_files([str(tmp_path)], [], tmp_path / "scratch")
    assert [file.path.name for file in sources.files] == ["a.csv"]
    assert sources.ignored == [str(tmp_path / ".b.csv")]
    named = find_files([str(tmp_path / ".b.csv"), str(tmp_path)], [], tmp_path / "scratch")
    assert [file.path.name for file in named.files] == [".b.csv", "a.csv"]
    assert named.ignored == []


def test_hidden_files_alone_are_no_data(tmp_path: Path) -> None:
    (tmp_path / ".b.csv").write_text("x")
    with pytest.raises(FlywheelError, match="holds no file of a known kind"):
        find_files([str(tmp_path)], [], tmp_path / "scratch")


def test_links_to_folders_are_followed_and_end(tmp_path: Path) -> None:
    for name in ("data/a.csv", "elsewhere/b.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    found = find_files([str(tmp_path / "data")], [], tmp_path / "scratch").files
    assert [file.name for file in found] == [f"{tmp_path}/data/a.csv", f"{tmp_path}/data/more/b.csv"]


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder of a user that is not root, who may read everything."""
    user, root = 65534, os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        if root:
            os.chown(name, user, user)
            os.seteuid(user)
        yield Path(name)
        if root:
            os.seteuid(0)


def test_a_folder_below_that_cannot_be_listed_is_told(nobody: Path) -> None:
    for name in ("a.csv", "private/b.csv"):
        (nobody / name).parent.mkdir(exist_ok=True)
        (nobody / name).write_text("x")
    (nobody / "private").chmod(0)
    with pytest.raises(FlywheelError, match=r"cannot be listed: .*/private \(Permission denied\)"):
        find_files([str(nobody)], [], nobody / "scratch")
    (nobody / "private").chmod(0o700)


def test_an_unknown_address_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="give a path, s3://, file://, sample://, https:// or hf://"):
        find_files(["ftp://example.org/a.csv"], [], tmp_path)
    with pytest.raises(FlywheelError, match="give a path, s3://, file://, sample://, https:// or hf://"):
        bind(IngestConfig, {"paths": ["ftp://example.org/a.csv"]})


def test_a_link_to_a_data_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nhi,yo\n")
    (tmp_path / "b.csv").symlink_to(tmp_path / "annexed")
    (tmp_path / "latest").symlink_to(tmp_path / "gone")
    with pytest.raises(FlywheelError, match="links to files that are not there: .*b.csv"):
        find_files([str(tmp_path)], [], tmp_path / "scratch")
    (tmp_path / "b.csv").unlink()
    assert [file.path.name for file in find_files([str(tmp_path)], [], tmp_path / "scratch").files] == ["a.csv"]


def test_the_root_of_a_volume_can_be_read_without_its_lost_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nhi,yo\n")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "b.csv").write_text("question,answer\nhi,yo\n")
    assert [file.path.name for file in find_files([str(tmp_path)], [], tmp_path / "scratch").files] == ["a.csv"]
