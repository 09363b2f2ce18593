from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.deploy.versions import Registered, fetch, read_versions
from llm_flywheel.components.publish.content import content_hash, upload_once

Register = Callable[..., str]


def test_without_a_champion_stable_is_the_base_model(local_settings: Settings, register: Register) -> None:
    version = register("s3://models/a", kind="adapter", lora_rank="16")
    assert read_versions(local_settings, "support", version) == (
        Registered("base", "s3://models/_base/1"),
        Registered("1", "s3://models/a", "s3://models/_base/1", 16),
    )


def test_with_a_champion_stable_is_the_champion(local_settings: Settings, register: Register) -> None:
    register("s3://models/a", kind="adapter", alias="champion")
    register("s3://models/b")
    version = register("s3://models/c")
    assert read_versions(local_settings, "support", version) == (
        Registered("1", "s3://models/a", "s3://models/_base/1", 0),
        Registered("3", "s3://models/c"),
    )


def test_the_champion_itself_is_nothing_to_roll_out(local_settings: Settings, register: Register) -> None:
    version = register("s3://models/a", alias="champion")
    with pytest.raises(FlywheelError, match="the champion already") as caught:
        read_versions(local_settings, "support", version)
    assert caught.value.reason == "same"


def test_a_version_that_is_not_there_is_explained(local_settings: Settings, register: Register) -> None:
    with pytest.raises(FlywheelError, match="Model Version .*not found") as caught:
        read_versions(local_settings, "support", "7")
    assert caught.value.reason == "registry"


def test_a_version_without_a_base_is_explained(local_settings: Settings, register: Register) -> None:
    version = register("s3://models/a", base_uri="")
    with pytest.raises(FlywheelError, match="names no base model"):
        read_versions(local_settings, "support", version)


def test_a_folder_is_used_where_it_is_and_a_hub_model_by_its_name(local_settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    assert fetch(folder.as_uri(), local_settings) == str(folder)
    assert fetch("hf://Qwen/Qwen3-0.6B", local_settings) == "Qwen/Qwen3-0.6B"
    with pytest.raises(FlywheelError, match="nothing is stored there"):
        fetch((tmp_path / "typo").as_uri(), local_settings)


def test_a_model_in_s3_is_fetched_once(local_settings: Settings, minio: Any, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "adapter_config.json").write_text('{"r": 16}')
    remote = minio.settings()
    settings = replace(
        local_settings,
        s3_endpoint=remote.s3_endpoint,
        s3_access_key=remote.s3_access_key,
        s3_secret_key=remote.s3_secret_key,
    )
    uri = f"s3://fetch-test/models/{content_hash(model)[:32]}"
    upload_once(model, uri, settings)
    folder = Path(fetch(uri, settings))
    assert (folder / "adapter_config.json").read_text() == '{"r": 16}'
    # The second time nothing is asked of the server: one that is not there does not matter.
    assert fetch(uri, replace(settings, s3_endpoint="http://127.0.0.1:9")) == str(folder)
    assert not list(folder.parent.glob("*.partial"))


def test_a_download_that_fails_leaves_nothing_behind(local_settings: Settings, minio: Any) -> None:
    remote = minio.settings()
    settings = replace(
        local_settings,
        s3_endpoint=remote.s3_endpoint,
        s3_access_key=remote.s3_access_key,
        s3_secret_key=remote.s3_secret_key,
    )
    upload_uri = "s3://fetch-test-2/models/never"
    with pytest.raises(FlywheelError):
        fetch(upload_uri, settings)
    assert list((settings.cache_dir / "models").iterdir()) == []
