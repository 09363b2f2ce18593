"""When masked data fulfils the policy of a level."""

from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.scan_pii.config import ScanPiiConfig
from llm_flywheel.components.scan_pii.level import earned_level


def earned(passed: bool = True, **section: Any) -> str:
    return earned_level(bind(ScanPiiConfig, section), passed)


@pytest.mark.parametrize("level", ["public", "internal", "confidential"])
def test_masking_as_the_policy_says_earns_its_level(level: str) -> None:
    assert earned(level=level) == level


def test_without_a_level_nothing_is_earned() -> None:
    assert earned() == ""


def test_a_failed_gate_earns_nothing() -> None:
    assert earned(level="public", passed=False) == ""


@pytest.mark.parametrize(
    "key",
    [
        {"operators": {"EMAIL": "keep"}},
        {"allowed_types": ["EMAIL"]},
        {"allow_list": ["*@example.com"]},
        {"min_score": 0.9},
        {"min_scores": {"PERSON": 0.9}},
        {"types": ["EMAIL"]},
        {"action": "report_only"},
        {"scan_meta": False},
    ],
)
def test_what_the_run_says_against_the_policy_earns_nothing(key: dict[str, Any]) -> None:
    assert earned(level="public", **key) == ""


def test_a_policy_file_that_is_not_here_earns_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("levels: {green: {min_score: 0.4}}\n")
    config = bind(ScanPiiConfig, {"level": "green", "policy": str(policy)})
    assert earned_level(config, True) == "green"
    policy.unlink()
    assert earned_level(config, True) == ""
