"""The gate: numbers decide, and numbers that are not there never pass."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.gate.config import GateConfig
from llm_flywheel.components.gate.decide import decide, markdown, run


def results(value: Any, n: Any = 100, version: str = "v1", **settings: Any) -> dict[str, Any]:
    metrics = {"exact_match": value, "exact_match_n": n, "exact_match_stderr": 0.01}
    return {"metrics": metrics, "dataset_version": version, "settings": settings}


def test_enough_gain_passes() -> None:
    decision = decide(GateConfig(min_gain=0.1), results(0.1), results(0.9))
    assert (decision.passed, decision.reason) == (True, "ok")
    assert decision.numbers["gain"] == pytest.approx(0.8)


def test_gain_equal_to_the_margin_passes_in_spite_of_binary_fractions() -> None:
    assert decide(GateConfig(min_gain=0.1), results(0.8), results(0.9)).passed


@pytest.mark.parametrize(
    ("config", "base", "tuned", "reason"),
    [
        (GateConfig(min_gain=0.1), results(0.5), results(0.55), "gain too small: 0.0500 < min_gain 0.1"),
        (GateConfig(min_gain=2.0), results(0.0), results(1.0), "gain too small: 1.0000 < min_gain 2"),
        (GateConfig(min_value=0.8), results(0.1), results(0.7), "value too small: 0.7000 < min_value 0.8"),
        (GateConfig(), results(None), results(0.7), "no data: the base model has no finite exact_match"),
        (GateConfig(), results(0.1), results(float("nan")), "no data: the tuned model has no finite exact_match"),
        (GateConfig(), results(0.1), results("0.9"), "no data: the tuned model has no finite exact_match"),
        (GateConfig(), results(0.1), results(True), "no data: the tuned model has no finite exact_match"),
        (GateConfig(), {}, results(0.7), "no data: the base model has no finite exact_match"),
        (GateConfig(), results(0.1), results(0.9, n=0), "no data: the tuned model was asked no question"),
        (GateConfig(), results(0.1, n=None), results(0.9), "no data: the base model was asked no question"),
        (GateConfig(metric="bleu"), results(0.1), results(0.9), "no data: the base model has no finite bleu"),
        (GateConfig(), results(0.1, n=99), results(0.9), "not comparable: base was asked 99 questions, tuned 100"),
        (GateConfig(), results(0.1), results(0.9, version="v2"), "not comparable: dataset v1 and v2"),
        (
            GateConfig(),
            results(0.1, choices=4),
            results(0.9, choices=2),
            "not comparable: other settings (choices)",
        ),
    ],
)
def test_refusals(config: GateConfig, base: dict[str, Any], tuned: dict[str, Any], reason: str) -> None:
    decision = decide(config, base, tuned)
    assert (decision.passed, decision.reason) == (False, reason)


def test_batch_size_does_not_make_results_incomparable() -> None:
    assert decide(GateConfig(), results(0.1, batch_size=8), results(0.9, batch_size=64)).passed


def test_decision_and_table_are_written_even_without_results(tmp_path: Path) -> None:
    (tmp_path / "tuned.json").write_text("not json")
    run(GateConfig(), tmp_path / "none.json", tmp_path / "tuned.json", tmp_path / "d.json", tmp_path / "r.md")
    written = json.loads((tmp_path / "d.json").read_text())
    assert written["passed"] is False
    assert written["reason"].startswith("no data")
    assert "| base | no data | |" in (tmp_path / "r.md").read_text()


def test_table_shows_both_models_and_the_margin() -> None:
    text = markdown(decide(GateConfig(min_gain=0.05, min_value=0.8), results(0.0), results(0.98)))
    assert text == (
        "# Gate: passed\n\nok\n\n| exact_match (100 questions) | value | required |\n|---|---:|---:|\n"
        "| base | 0.0000 ± 0.0100 | |\n| tuned | 0.9800 ± 0.0100 | ≥ 0.8 |\n| gain | 0.9800 | ≥ 0.05 |\n"
    )
