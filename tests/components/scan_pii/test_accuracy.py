"""Accuracy on labelled texts; the rules were tuned while looking at both sets, so this guards against regressions."""

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PII_TYPES

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_generator = pytest.mark.skipif(not (SHARED / "pii").is_dir(), reason=f"no labelled generator in {SHARED / 'pii'}")
needs_presidio = pytest.mark.skipif(
    not (SHARED / "presidio_generated_large.json").is_file(), reason=f"no presidio_generated_large.json in {SHARED}"
)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    monkeypatch.syspath_prepend(SHARED / "pii")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("pii_generate", SHARED / "pii" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import common  # type: ignore[import-not-found]

    yield module, common
    del sys.modules["common"]


def f1(documents: list[dict[str, Any]]) -> dict[str, float]:
    scanner, hits, wrong, gold = Scanner(), Counter[str](), Counter[str](), Counter[str]()
    for document in documents:
        spans = scanner.scan(document["text"])
        labels = [label for label in document["spans"] if label["type"] in PII_TYPES]
        gold.update(label["type"] for label in labels)
        for label in labels:
            hits[label["type"]] += any(
                span.type == label["type"] and span.start < label["end"] and label["start"] < span.end for span in spans
            )
        for span in spans:
            touched = [*labels, *({"start": s, "end": e, "type": span.type} for s, e in document["ignore"])]
            wrong[span.type] += not any(
                label["type"] == span.type and span.start < label["end"] and label["start"] < span.end
                for label in touched
            )
    scores = {kind: 2 * hits[kind] / (hits[kind] + wrong[kind] + gold[kind]) for kind in PII_TYPES if gold[kind]}
    return {**scores, "ALL": 2 * hits.total() / (hits.total() + wrong.total() + gold.total())}


@needs_generator
def test_every_type_is_told_from_its_hard_negatives(generator: tuple[ModuleType, ModuleType]) -> None:
    templates, common = generator
    scores = f1([common.build("dev", 5, number, templates.T) for number in range(600)])
    assert scores["ALL"] >= 0.99
    # A dashed SSN without any label is masked on purpose; the generator has such numbers among its negatives.
    assert {kind: score for kind, score in scores.items() if score < (0.94 if kind == "US_SSN" else 0.98)} == {}


@needs_presidio
def test_recall_on_sentences_of_another_project() -> None:
    names = {
        "CREDIT_CARD": "CREDIT_CARD", "EMAIL_ADDRESS": "EMAIL", "US_SSN": "US_SSN", "IBAN_CODE": "IBAN",
        "IP_ADDRESS": "IP_ADDRESS", "PHONE_NUMBER": "PHONE",
    }  # fmt: skip
    scanner, hits, gold = Scanner(), Counter[str](), Counter[str]()
    for document in json.loads((SHARED / "presidio_generated_large.json").read_text()):
        spans = scanner.scan(document["full_text"])
        for label in document["spans"]:
            kind = names.get(label["entity_type"])
            if kind:
                gold[kind] += 1
                hits[kind] += any(
                    span.type == kind and span.start < label["end_position"] and label["start_position"] < span.end
                    for span in spans
                )
    missed = {kind: gold[kind] - hits[kind] for kind in gold if hits[kind] < gold[kind]}
    assert set(missed) <= {"PHONE"}
    assert missed.get("PHONE", 0) <= 5
