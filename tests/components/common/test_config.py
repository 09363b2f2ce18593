from pathlib import Path

import pytest
from pydantic import Field

from llm_flywheel.components.common.config import InputPath, Section, apply_overrides, bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError


class Inner(Section):
    steps: int = Field(default=1, ge=1)
    learning_rate: float = 0.1


class Outer(Section):
    name: str
    paths: list[InputPath] = []
    inner: Inner = Inner()


def test_defaults_fill_what_is_not_given() -> None:
    assert bind(Outer, {"name": "x"}).model_dump() == {
        "name": "x",
        "paths": [],
        "inner": {"steps": 1, "learning_rate": 0.1},
    }


def test_integers_that_kfp_turned_into_floats_come_back() -> None:
    assert bind(Outer, {"name": "x", "inner": {"steps": 3.0}}).inner.steps == 3


def test_all_errors_are_reported_at_once_with_the_keys_as_typed(tmp_path: Path) -> None:
    values = {
        "paths": [str(tmp_path / "gone.csv")],
        "inner": {"steps": "many", "learning_rat": 1.0},
    }
    with pytest.raises(FlywheelError) as caught:
        bind(Outer, values, where="run.yaml", check_files=True)
    assert str(caught.value).splitlines() == [
        "run.yaml: 4 errors in the configuration",
        "  name: required, but not given",
        f"  paths.0: no such file or folder: {tmp_path / 'gone.csv'}",
        "  inner.steps: got 'many' (str); expected a valid integer, unable to parse string as an integer",
        "  inner.learning_rat: unknown key; did you mean 'learning_rate'?",
    ]


def test_an_unknown_key_without_a_near_one_lists_what_is_known() -> None:
    with pytest.raises(FlywheelError, match="inner.xyz: unknown key; known keys: learning_rate, steps"):
        bind(Outer, {"name": "x", "inner": {"xyz": 1}})


def test_files_are_not_checked_for_another_machine() -> None:
    assert bind(Outer, {"name": "x", "paths": ["/not/here.csv", "s3://bucket/key"]}).paths[0] == "/not/here.csv"


def test_uris_are_not_looked_up_on_this_machine() -> None:
    assert bind(Outer, {"name": "x", "paths": ["s3://bucket/key"]}, check_files=True).paths == ["s3://bucket/key"]


def test_overrides_are_yaml_and_make_sections_when_needed() -> None:
    before = {"gate": {"min_gain": 0.1}}
    after = apply_overrides(before, ["gate.min_gain=2.0", "ingest.paths=[a, b]", "name=x=y"])
    assert after == {"gate": {"min_gain": 2.0}, "ingest": {"paths": ["a", "b"]}, "name": "x=y"}
    assert before == {"gate": {"min_gain": 0.1}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gate.min_gain", "expected section.key=value"),
        ("gate..x=1", "expected section.key=value"),
        ("name.first=1", "name is not a section"),
        ("a=[1", "the value is not YAML"),
    ],
)
def test_a_bad_override_is_named(override: str, message: str) -> None:
    with pytest.raises(FlywheelError, match=message) as caught:
        apply_overrides({"name": "x"}, [override])
    assert override in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such config file"),
        (b"- a\n- b\n", "must hold a mapping"),
        (b"a: [", "not a readable YAML file"),
        (b"\xff\xfe\x00", "not a readable YAML file"),
    ],
)
def test_an_unusable_file_is_one_message(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FlywheelError, match=message):
        load_yaml(path)


@pytest.mark.parametrize("address", ["hf://datasets/squad", "https://example.org/a.csv", "gs://bucket/a"])
def test_an_address_of_an_unsupported_kind_is_reported_at_once(address: str) -> None:
    with pytest.raises(FlywheelError, match=f"paths.0: {address}: this kind of address is not supported"):
        bind(Outer, {"name": "x", "paths": [address]})


def test_addresses_of_supported_kinds_are_taken() -> None:
    paths = ["sample://support-tickets?rows=9", "s3://bucket/key", "file:///data/a.csv"]
    assert bind(Outer, {"name": "x", "paths": paths}, check_files=True).paths == paths
