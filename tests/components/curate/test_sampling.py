import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.rows import Row
from llm_flywheel.components.curate.sampling import balance, group_of

GROUPS = ["a.csv"] * 60 + ["b.csv"] * 30 + ["c.csv"] * 10
KEYS = np.arange(100, dtype=np.uint64)


def config(**sampling: Any) -> CurateConfig:
    return CurateConfig.model_validate({"sampling": sampling})


def kept(groups: list[str], keys: "np.typing.NDArray[np.uint64]", settings: CurateConfig) -> dict[str, int]:
    mask = balance(groups, keys, settings)
    return dict(Counter(group for group, stays in zip(groups, mask, strict=True) if stays))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, {"a.csv": 60, "b.csv": 30, "c.csv": 10}),
        ({"max_rows": 20}, {"a.csv": 20, "b.csv": 20, "c.csv": 10}),
        ({"weights": {"*": 1}}, {"a.csv": 10, "b.csv": 10, "c.csv": 10}),
        ({"weights": {"a.csv": 1, "b.csv": 1}}, {"a.csv": 30, "b.csv": 30, "c.csv": 10}),
        ({"weights": {"a.csv": 3, "*": 1}}, {"a.csv": 30, "b.csv": 10, "c.csv": 10}),
        ({"weights": {"a.csv": 0}}, {"b.csv": 30, "c.csv": 10}),
        ({"weights": {"a.csv": 1, "b.csv": 1}, "max_rows": 25}, {"a.csv": 25, "b.csv": 25, "c.csv": 10}),
        ({"weights": {"not there": 1}}, {"a.csv": 60, "b.csv": 30, "c.csv": 10}),
    ],
)
def test_caps_and_weights(sampling: dict[str, Any], expected: dict[str, int]) -> None:
    assert kept(GROUPS, KEYS, config(**sampling)) == expected


def test_the_choice_depends_on_the_key_and_the_seed_not_on_the_order() -> None:
    settings = config(max_rows=20)
    chosen = set(KEYS[balance(GROUPS, KEYS, settings)].tolist())
    assert set(KEYS[::-1][balance(GROUPS[::-1], KEYS[::-1], settings)].tolist()) == chosen
    other = settings.model_copy(update={"seed": 1})
    assert set(KEYS[balance(GROUPS, KEYS, other)].tolist()) != chosen


def test_no_rows_at_all() -> None:
    assert balance([], np.empty(0, np.uint64), config(weights={"*": 1})).tolist() == []


@pytest.mark.parametrize(
    ("by", "expected"),
    [("source", "a.csv"), ("lang", "ko"), ("meta.team", "billing"), ("meta.level", "3"), ("meta.none", "(none)")],
)
def test_the_group_of_a_row(by: str, expected: str) -> None:
    row = Row("1", "1", [], "a.csv", "ko", json.dumps({"team": "billing", "level": 3}))
    assert group_of(row, config(by=by)) == expected


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"by": "colour"}, r"sampling\.by: got 'colour'"),
        ({"weights": {"a": -1}}, r"sampling\.weights\.a: got -1"),
    ],
)
def test_wrong_settings_are_named(sampling: dict[str, Any], message: str) -> None:
    with pytest.raises(FlywheelError, match=message):
        bind(CurateConfig, {"sampling": sampling})
