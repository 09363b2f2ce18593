"""Levels and access policies of datasets."""

import pytest

from llm_flywheel.components.common.access import AccessConfig, access_of, after_masking, refusal
from llm_flywheel.components.common.config import bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.policy import DEFAULT

CONFIDENTIAL = AccessConfig(level="confidential", owner="data@example.com")


def reason(access: AccessConfig, max_level: str = "", actor: str = "eva") -> str:
    refused = refusal(access, max_level, actor, "/data")
    return refused.reason if refused else ""


def test_data_without_a_level_may_be_trained_on_as_long_as_no_bound_is_set() -> None:
    assert reason(AccessConfig()) == ""
    assert reason(AccessConfig(), "confidential") == "access_no_level"


@pytest.mark.parametrize(
    ("level", "max_level", "expected"),
    [
        ("public", "", ""),
        ("internal", "", "access_level"),
        ("internal", "public", "access_level"),
        ("internal", "internal", ""),
        ("internal", "confidential", ""),
        ("confidential", "internal", "access_level"),
        ("public", "secret", "access_max_level"),
    ],
)
def test_a_level_is_enough_up_to_the_bound(level: str, max_level: str, expected: str) -> None:
    assert reason(AccessConfig(level=level), max_level) == expected


def test_a_refusal_says_what_is_wrong_where_and_what_to_do() -> None:
    assert str(refusal(CONFIDENTIAL, "internal", "eva", "/data")) == (
        "/data: the data is 'confidential', above 'internal' (finetune.max_level)\n"
        "  fix: mask it first with scan_pii.level: internal, or ask data@example.com and set finetune.max_level: "
        "confidential"
    )


def test_only_those_who_are_named_may_train() -> None:
    access = AccessConfig(may_train=["eva", "minjun"])
    assert reason(access, actor="eva") == ""
    assert reason(access, actor="root") == "access_actor"


def test_levels_of_an_own_policy_file_have_their_own_order() -> None:
    access = AccessConfig(level="red", levels=["green", "red"])
    assert reason(access, "green") == "access_level"
    assert reason(access, "red") == ""


@pytest.mark.parametrize(
    ("level", "earned", "expected"),
    [
        ("confidential", "internal", "internal"),
        ("confidential", "public", "public"),
        ("internal", "confidential", "internal"),
        ("confidential", "", "confidential"),
        ("confidential", "green", "confidential"),
        ("", "public", ""),
    ],
)
def test_masking_lowers_a_level_and_never_raises_or_invents_one(level: str, earned: str, expected: str) -> None:
    assert after_masking(AccessConfig(level=level), earned).level == expected


def test_masking_keeps_the_rest_of_the_policy() -> None:
    assert after_masking(CONFIDENTIAL, "public").owner == "data@example.com"


def test_a_manifest_without_access_is_not_classified() -> None:
    assert access_of({}) == access_of({"access": None}) == AccessConfig()


def test_a_manifest_with_a_broken_access_is_refused() -> None:
    with pytest.raises(FlywheelError, match="expected one of public, internal, confidential"):
        access_of({"access": {"level": "top"}})


def test_a_level_stands_once() -> None:
    with pytest.raises(FlywheelError, match="a name stands there twice"):
        bind(AccessConfig, {"levels": ["a", "b", "a"]})


def test_the_levels_are_those_of_the_policy_file_that_ships() -> None:
    assert AccessConfig().levels == list(load_yaml(DEFAULT)["levels"])
