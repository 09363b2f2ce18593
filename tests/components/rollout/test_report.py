"""What the page says of pods, of interruptions and of requests that reached nobody."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_flywheel.components.rollout.report import build
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.rollout.evidence import PodFacts, VariantPods
from llm_flywheel.serving.rollout.record import Record
from tests.serving.rollout.conftest import World


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield World(ledger, ledger).roll_out()


def with_looks(record: Record, **changes: object) -> Record:
    first, second, *rest = record.looks
    return replace(record, looks=[first, replace(second, seen=replace(second.seen, **changes)), *rest])


def test_a_rollout_on_one_machine_has_no_pods_and_no_interruptions(record):
    page = build(record, {}).render()
    assert "Pods" not in page and "Interruptions" not in page and "failed by itself" not in page


def test_pods_are_shown_with_their_own_counts(record):
    stable = VariantPods(1, (PodFacts("s-1", True, served=30, errors=0, ttft_s=0.2),))
    canary = VariantPods(1, (PodFacts("c-1", False, 2, "CrashLoopBackOff (OOMKilled)", served=7, errors=3),))
    silent = VariantPods(1, (PodFacts("c-1", False, 2),))
    page = build(with_looks(record, pods={"stable": stable, "canary": canary}), {}).render()
    cells = ("s-1", "200 ms", "c-1", "not ready", "CrashLoopBackOff (OOMKilled)", "recorded by the gateway")
    assert all(cell in page for cell in cells)
    page = build(with_looks(record, pods={"stable": stable, "canary": silent}), {}).render()
    assert page.count("no data") >= 2


def test_interruptions_and_lost_requests_are_shown(record):
    page = build(with_looks(record, unwatched=12.5, unattributed=3), {}).render()
    assert "12.5 s" in page and "no variant is known: 3" in page
