import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.common.storage import FileStore, S3Store, store_for

FILES = {"adapter_config.json": "{}", "nested/weights.bin": "w" * 100_000, "ümlaut 한국.txt": "text"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Settings]:
    """A fresh URI of each kind of storage, and the settings that reach it."""
    if request.param == "file":
        return (tmp_path / "store with space").as_uri() + "/models/support", Settings.from_env()
    server = request.getfixturevalue("minio")
    return f"s3://bucket-{abs(hash(tmp_path)) % 10**9}/models/support", server.settings()


def test_a_folder_comes_back_as_it_went(place: tuple[str, Settings], tmp_path: Path) -> None:
    uri, settings = place
    store = store_for(uri, settings)
    assert store.exists(uri) is False
    store.upload(write(tmp_path / "in", FILES), uri)
    assert store.exists(uri) is True
    store.download(uri, tmp_path / "out")
    assert read(tmp_path / "out") == FILES


def test_what_is_stored_again_replaces_what_was_there(place: tuple[str, Settings], tmp_path: Path) -> None:
    uri, settings = place
    store = store_for(uri, settings)
    store.upload(write(tmp_path / "old", {"a": "1", "b": "2"}), uri)
    store.upload(write(tmp_path / "new", {"b": "3"}), uri)
    store.download(uri, tmp_path / "out")
    assert read(tmp_path / "out") == {"b": "3"}


def test_a_prefix_is_no_other_name_that_begins_like_it(place: tuple[str, Settings], tmp_path: Path) -> None:
    uri, settings = place
    store = store_for(uri, settings)
    store.upload(write(tmp_path / "long", {"a": "long"}), f"{uri}-2")
    assert store.exists(uri) is False
    store.upload(write(tmp_path / "short", {"a": "short"}), uri)
    store.download(f"{uri}-2", tmp_path / "out")
    assert read(tmp_path / "out") == {"a": "long"}


def test_nothing_stored_is_an_error(place: tuple[str, Settings], tmp_path: Path) -> None:
    uri, settings = place
    store_for(uri, settings).upload(write(tmp_path / "in", {"a": "1"}), f"{uri}/elsewhere")
    with pytest.raises(FlywheelError, match="nothing is stored there") as caught:
        store_for(uri, settings).download(f"{uri}/typo", tmp_path / "out")
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("key", ["s3_access_key", "s3_secret_key"])
def test_wrong_credentials_are_explained_without_showing_them(minio: Any, tmp_path: Path, key: str) -> None:
    settings = minio.settings(**{key: "wrong-credential"})
    with pytest.raises(FlywheelError) as caught:
        store_for("s3://bucket/a", settings).upload(write(tmp_path / "in", {"a": "1"}), "s3://bucket/a")
    assert caught.value.reason == "storage"
    assert minio.endpoint in str(caught.value)
    assert "wrong-credential" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_explained(minio: Any, tmp_path: Path) -> None:
    store = store_for("s3://nobody-made-this/a", minio.settings())
    with pytest.raises(FlywheelError, match="bucket does not exist"):
        store.download("s3://nobody-made-this/a", tmp_path / "out")
    assert store.exists("s3://nobody-made-this/a") is False


def test_an_impossible_bucket_name_is_explained(minio: Any, tmp_path: Path) -> None:
    with pytest.raises(FlywheelError) as caught:
        store_for("s3://Not_A_Bucket/a", minio.settings()).upload(tmp_path, "s3://Not_A_Bucket/a")
    assert caught.value.reason == "storage"


def test_a_server_that_does_not_answer_is_explained_soon(tmp_path: Path) -> None:
    settings = _reaching("http://127.0.0.1:9")
    with pytest.raises(FlywheelError, match=r"object storage at http://127.0.0.1:9") as caught:
        store_for("s3://bucket/a", settings).exists("s3://bucket/a")
    assert caught.value.reason == "storage"


def test_missing_credentials_are_named() -> None:
    with pytest.raises(FlywheelError, match="AWS_ACCESS_KEY_ID") as caught:
        store_for("s3://bucket/a", _reaching("", key=""))
    assert caught.value.reason == "credentials"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(FlywheelError, match="unsupported storage scheme 'gs'"):
        store_for("gs://bucket/a", Settings.from_env())


def test_one_file_is_fetched_by_its_own_address(place: tuple[str, Settings], tmp_path: Path) -> None:
    uri, settings = place
    store = store_for(uri, settings)
    store.upload(write(tmp_path / "in", {"data/train.csv": "a,b", "data/train.csv.bak": "old"}), uri)
    assert store.exists(f"{uri}/data/train.csv") is True
    assert store.exists(f"{uri}/data/train") is False
    store.download(f"{uri}/data/train.csv", tmp_path / "out")
    assert read(tmp_path / "out") == {"train.csv": "a,b"}


def test_a_folder_marker_of_a_console_is_no_file(minio: Any, tmp_path: Path) -> None:
    store = S3Store(minio.settings())
    store.upload(write(tmp_path / "in", {"a": "1"}), "s3://console/data")
    store._client.put_object("console", "data/", io.BytesIO(b""), 0)
    store.download("s3://console/data", tmp_path / "out")
    assert read(tmp_path / "out") == {"a": "1"}


def test_writers_of_one_target_do_not_disturb_each_other(tmp_path: Path) -> None:
    uri = (tmp_path / "store" / "model").as_uri()
    folders = [write(tmp_path / str(n), {f"{n}-{part}": "w" * 1000 for part in range(20)}) for n in range(4)]
    start = threading.Barrier(4)

    def upload(folder: Path) -> None:
        start.wait(30)
        for _ in range(20):
            FileStore().upload(folder, uri)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upload, folders))
    assert read(tmp_path / "store" / "model") in [read(folder) for folder in folders]
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["model"]


@pytest.mark.parametrize("endpoint", ["minio:9000", "minio", "ftp://minio:9000", "http:///bucket"])
def test_an_endpoint_without_http_names_its_variable(endpoint: str) -> None:
    with pytest.raises(FlywheelError, match="AWS_ENDPOINT_URL is no http:// or https:// address") as caught:
        store_for("s3://bucket/a", _reaching(endpoint))
    assert endpoint in caught.value.what
    assert caught.value.reason == "endpoint"


def _reaching(endpoint: str, key: str = "a") -> Settings:
    from dataclasses import replace

    return replace(Settings.from_env(), s3_endpoint=endpoint, s3_access_key=key, s3_secret_key=key)
