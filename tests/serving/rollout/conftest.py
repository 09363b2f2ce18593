"""A small world on a fake clock: a router, two variants, and a client, writing real usage rows to a real ledger."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.records import Outcome, UsageRow
from llm_flywheel.serving.rollout.controller import Controller
from llm_flywheel.serving.rollout.journal import Journal
from llm_flywheel.serving.rollout.plan import RolloutPlan
from llm_flywheel.serving.rollout.record import Record


@dataclass
class Behaviour:
    """How one variant answers."""

    error_rate: float = 0.0
    ttft_s: float = 0.12
    dead_from: float = float("inf")
    version: str = "1"


@dataclass
class World:
    """Time passes only in `sleep`; every second of it brings ``rps`` requests."""

    ledger: Ledger
    journals: Ledger
    run_id: str = "run-1"
    stable: Behaviour = field(default_factory=lambda: Behaviour(version="1"))
    canary: Behaviour = field(default_factory=lambda: Behaviour(version="2"))
    rps: int = 20
    now: float = 1_800_000_000.0
    in_force: dict[str, int] = field(default_factory=lambda: {"stable": 100, "canary": 0})
    history: list[dict[str, int]] = field(default_factory=list)
    router_dead_from: float = float("inf")
    ignores_changes_after: int = 10**9
    canary_gets_requests: bool = True
    pins: bool = True
    settled: list[str] = field(default_factory=list)
    audit: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    sent: int = 0

    # The router.

    def set_weights(self, weights: Mapping[str, int]) -> None:
        self._answer()
        self.history.append(dict(weights))
        if len(self.history) <= self.ignores_changes_after:
            self.in_force = dict(weights)

    def weights(self) -> dict[str, int]:
        self._answer()
        return dict(self.in_force)

    def settle(self, decision: str) -> None:
        self.settled.append(decision)

    @property
    def _alive(self) -> bool:
        return self.now < self.router_dead_from

    def _answer(self) -> None:
        if not self._alive:
            raise FlywheelError("connection refused", reason="router")

    # Time and traffic.

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        start, self.now = self.now, self.now + seconds
        if self._alive:
            count = round(self.rps * seconds)
            self.ledger.record_usage([self._request(start + i * seconds / count) for i in range(count)])

    def _request(self, at: float) -> UsageRow:
        self.sent += 1
        pinned = self.pins and self.in_force["canary"] == 0 and self.sent % 4 == 0
        chosen = pinned or self.rng.random() * 100 < self.in_force["canary"]
        name = "canary" if chosen and self.canary_gets_requests else "stable"
        behaviour = self.canary if name == "canary" else self.stable
        outcome: Outcome = "ok"
        if at >= behaviour.dead_from:
            outcome = "unavailable"
        elif self.rng.random() < behaviour.error_rate:
            outcome = "upstream_error"
        ttft = behaviour.ttft_s * self.rng.lognormvariate(0, 0.2)
        return UsageRow(
            time=at,
            request_id=f"r{self.sent}",
            model="support",
            version="" if outcome == "unavailable" else behaviour.version,
            variant=name,
            completion_tokens=12,
            ttft_s=ttft if outcome == "ok" else None,
            latency_s=ttft + 0.2 if outcome == "ok" else 0.01,
            outcome=outcome,
            status=200 if outcome == "ok" else 502,
        )

    def roll_out(self, plan: RolloutPlan | None = None) -> Record:
        return Controller(
            plan or RolloutPlan(),
            self,
            self.ledger,
            Journal(self.journals, self.run_id, "support", "2", self.clock),
            versions={"stable": "1", "canary": "2"},
            audit=lambda action, details: self.audit.append((action, dict(details))),
            clock=self.clock,
            sleep=self.sleep,
        ).run()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield World(ledger, ledger)
