"""Policy files by security level, and the names of types in a configuration."""

from pathlib import Path

import pytest
import yaml

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.policy import DEFAULT, Policy
from llm_flywheel.components.scan_pii.scanner import Scanner

TEXT = "kim@example.com pays with 4111 1111 1111 1111, password=Winter2019!x"


@pytest.fixture
def policy(tmp_path: Path) -> str:
    level = {"operator": "redact", "operators": {"PHONE": "keep", "EMAIL": "mask"}, "allow_list": ["a@b.com"]}
    path = tmp_path / "policies.yaml"
    path.write_text(yaml.safe_dump({"levels": {"open": {"min_score": 0.9}, "secret": level}}))
    return str(path)


def test_three_levels_ship() -> None:
    assert list(yaml.safe_load(DEFAULT.read_text())["levels"]) == ["public", "internal", "confidential"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("public", "[EMAIL] pays with [CREDIT_CARD], password=[SECRET]"),
        ("internal", "[EMAIL:brdfeefsjt] pays with [CREDIT_CARD:1111], password=[SECRET]"),
        ("confidential", "kim@example.com pays with [CREDIT_CARD:1111], password=[SECRET]"),
    ],
)
def test_a_level_decides_what_is_left_of_a_text(level: str, expected: str) -> None:
    config = bind(ScanPiiConfig, {"level": level})
    scanner = Scanner(config.types, config.allow_list, config.min_score, min_scores=config.min_scores)
    assert Masker(scanner, config.operator, config.operators, key="k" * 16).mask(TEXT).text == expected


@pytest.mark.parametrize("level", ["public", "internal", "confidential"])
def test_what_a_shipped_level_keeps_does_not_fail_the_gate(level: str) -> None:
    config = bind(ScanPiiConfig, {"level": level})
    kept = {kind for kind in config.types if config.operators.get(kind, config.operator) == "keep"}
    assert set(config.allowed_types) == kept


def test_a_file_of_ones_own_holds_instead(policy: str) -> None:
    config = bind(ScanPiiConfig, {"policy": policy, "level": "secret"})
    assert (config.operator, config.operators) == ("redact", {"PHONE": "keep", "EMAIL": "mask"})
    assert config.allow_list == ["a@b.com"]
    assert config.min_score == 0.5


def test_what_the_configuration_says_wins_key_by_key_and_type_by_type(policy: str) -> None:
    given = {"policy": policy, "level": "secret", "operator": "mask", "operators": {"EMAIL": "keep"}, "allow_list": []}
    config = bind(ScanPiiConfig, given)
    assert (config.operator, config.operators) == ("mask", {"PHONE": "keep", "EMAIL": "keep"})
    assert config.allow_list == []


def test_a_bound_configuration_needs_the_file_no_more(policy: str) -> None:
    config = bind(ScanPiiConfig, {"policy": policy, "level": "secret"})
    Path(policy).unlink()
    assert bind(ScanPiiConfig, config.model_dump(mode="json", exclude_none=True)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": "top"}, "level: got 'top'; levels there are: public, internal, confidential"),
        ({"policy": "POLICY"}, "level: policy needs one; levels there are: open, secret"),
        ({"policy": "/nowhere.yaml", "level": "open"}, "/nowhere.yaml: no such config file"),
        ({"level": "public", "operater": "mask"}, "operater: unknown key; did you mean 'operator'?"),
    ],
)
def test_wrong_level_or_file_is_told(values: dict[str, str], message: str, policy: str) -> None:
    given = {key: policy if value == "POLICY" else value for key, value in values.items()}
    with pytest.raises(FlywheelError) as error:
        bind(ScanPiiConfig, given)
    assert message in str(error.value)


def test_wrong_key_in_a_policy_file_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("levels: {open: {operatr: mask, operator: hide}}")
    with pytest.raises(FlywheelError) as error:
        bind(ScanPiiConfig, {"policy": str(path), "level": "open"})
    assert f"{path}: 2 errors" in str(error.value)
    assert "levels.open.operatr: unknown key; did you mean 'operator'?" in str(error.value)


def test_a_policy_has_levels() -> None:
    with pytest.raises(FlywheelError):
        bind(Policy, {"levels": {}})


def test_names_of_presidio_and_of_own_recognisers_stand_for_types() -> None:
    badge = {"name": "badge", "supported_entity": "BADGE", "patterns": [{"regex": "B-[0-9]{6}"}]}
    config = bind(
        ScanPiiConfig,
        {
            "custom": [badge],
            "types": ["PHONE_NUMBER", "EMAIL_ADDRESS", "PERSON"],
            "operators": {"EMAIL_ADDRESS": "redact", "EMAIL": "keep", "BADGE": "keep"},
            "allowed_types": ["BADGE", "IBAN_CODE"],
            "min_scores": {"LOCATION": 0.8},
        },
    )
    assert set(config.types) == {"PHONE", "EMAIL", "EMAIL_OBFUSCATED", "PERSON"}
    assert config.operators == {"EMAIL": "keep", "EMAIL_OBFUSCATED": "redact", "BADGE": "keep"}
    assert set(config.allowed_types) == {"BADGE", "IBAN"}
    assert config.min_scores == {"ADDRESS": 0.8}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"types": ["MAIL"]}, "types: got 'MAIL'; did you mean 'EMAIL'?"),
        ({"operators": {"phone": "keep"}}, "operators: got 'phone'; did you mean 'PHONE'?"),
        ({"allowed_types": ["XYZZY"]}, "allowed_types: got 'XYZZY'; expected one of EMAIL, EMAIL_OBFUSCATED, PHONE"),
        ({"min_scores": {"PERSON": 1.5}}, "min_scores: PERSON: got 1.5; expected 0 to 1"),
    ],
)
def test_unknown_name_is_told_with_a_near_one(values: dict[str, object], message: str) -> None:
    with pytest.raises(FlywheelError) as error:
        bind(ScanPiiConfig, values)
    assert message in str(error.value)
