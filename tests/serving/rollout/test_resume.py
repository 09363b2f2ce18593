"""A controller that is killed between any two of its steps, and another that goes on from the journal."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.records import JournalEntry
from llm_flywheel.serving.rollout.controller import Controller
from llm_flywheel.serving.rollout.journal import (
    ABANDONED,
    DECIDED,
    LOOK,
    SETTLED,
    START,
    Journal,
    TakenOver,
    abandon_orphans,
)
from llm_flywheel.serving.rollout.plan import Metric, RolloutPlan, Warmup, weights_for
from llm_flywheel.serving.rollout.record import Record, to_json
from llm_flywheel.serving.rollout.replay import replay
from tests.serving.rollout.conftest import World

# Few looks, so that every one of some hundred points can be the last of a process.
PLAN = RolloutPlan(
    steps=[30, 50],
    min_requests=5,
    min_seconds=3,
    max_seconds=12,
    metrics=[Metric(kind="errors", margin=5, max_rate=0.2), Metric(kind="ttft", margin=5, floor_seconds=0.3)],
    warmup=Warmup(requests=40, discard=2, max_seconds=10),
)


class Killed(BaseException):
    """What `kill -9` is to a process: it does nothing more."""


class Mortal:
    """One process of a rollout: everything that it does to the world passes here, and stops for good at one call."""

    def __init__(self, world: World, dies_at: int | None) -> None:
        self.world, self._dies_at = world, dies_at
        self.calls: list[str] = []

    def _step(self, name: str) -> None:
        if self._dies_at is not None and len(self.calls) >= self._dies_at:
            raise Killed(name)
        self.calls.append(name)

    def _do(self, name: str, act: Callable[[], Any]) -> Any:
        self._step(name)
        done = act()
        self._step(f"after {name}")
        return done

    def set_weights(self, weights: Any) -> None:
        self._do("set_weights", lambda: self.world.set_weights(weights))

    def weights(self) -> Any:
        return self._do("weights", self.world.weights)

    def settle(self, decision: str) -> None:
        self._do("settle", lambda: self.world.settle(decision))

    def usage_between(self, *arguments: Any, **named: Any) -> Any:
        return self._do("usage", lambda: self.world.ledger.usage_between(*arguments, **named))

    def append_journal(self, entry: JournalEntry) -> bool:
        return bool(self._do(f"journal {entry.phase}", lambda: self.world.journals.append_journal(entry)))

    def journal(self, *key: str) -> Any:
        return self.world.journals.journal(*key)

    def journal_heads(self, model: str) -> Any:
        return self.world.journals.journal_heads(model)

    def audit(self, action: str, details: Any) -> None:
        self._do("audit", lambda: self.world.audit.append((action, dict(details))))

    def sleep(self, seconds: float) -> None:
        self._do("sleep", lambda: self.world.sleep(seconds))

    def run(self) -> Record:
        return Controller(
            PLAN,
            self,
            self,
            Journal(self, "run-1", "support", "2", self.world.clock),
            versions={"stable": "1", "canary": "2"},
            audit=self.audit,
            clock=self.world.clock,
            sleep=self.sleep,
        ).run()


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Callable[[], World]]:
    opened: list[Ledger] = []

    def make() -> World:
        ledger = Ledger.open(f"sqlite:///{tmp_path / f'{len(opened)}.db'}")
        opened.append(ledger)
        return World(ledger, ledger)

    yield make
    for ledger in opened:
        ledger.close()


def behave(world: World, canary: str) -> World:
    world.canary = replace(world.canary, error_rate=0.5 if canary == "failing" else 0.0)
    return world


def decisions(record: Record) -> list[tuple[str, str]]:
    return [(look.decision.action, look.decision.rule) for look in record.looks]


def assert_consistent(world: World, record: Record) -> None:
    """Every request is counted once, and every decision can be recomputed."""
    assert replay(to_json(record)).mismatches == []
    counted = [key for entry in world.journals.journal("run-1", "support", "2") if entry.phase == LOOK
               for key in entry.body["requests"]]  # fmt: skip
    assert len(counted) == len(set(counted)) == world.sent
    assert sum(look.seen.stable.requests + look.seen.canary.requests for look in record.looks) == world.sent


@pytest.mark.parametrize("canary", ["healthy", "failing"])
def test_killed_between_any_two_steps_it_ends_in_the_same_place(worlds, canary):
    whole_world = behave(worlds(), canary)
    whole = Mortal(whole_world, None)
    expected = whole.run()
    assert expected.outcome.decision == ("promote" if canary == "healthy" else "rollback")
    for dies_at in range(len(whole.calls)):
        world = behave(worlds(), canary)
        with pytest.raises(Killed):
            Mortal(world, dies_at).run()
        entries = world.journals.journal("run-1", "support", "2")
        lost = bool(entries) and world.now > entries[-1].time
        record = Mortal(world, None).run()

        assert record.outcome.decision == expected.outcome.decision, whole.calls[dies_at]
        assert world.in_force == whole_world.in_force
        assert_consistent(world, record)
        if not lost:  # not even the digest shows that there were two processes
            assert to_json(record) == to_json(expected), whole.calls[dies_at]
        else:
            assert abs(len(record.looks) - len(expected.looks)) <= 2


@pytest.mark.parametrize("every", [22, 23, 29, 35])
def test_killed_again_and_again_it_still_ends(worlds, every):
    """As long as a process gets past one look; a shorter life sees nothing."""
    world, processes = worlds(), 0
    while True:
        processes += 1
        try:
            record = Mortal(world, every).run()
            break
        except Killed:
            assert processes < 200
    assert (record.outcome.decision, world.in_force) == ("promote", weights_for(100))
    assert processes > 1
    assert_consistent(world, record)


@pytest.mark.parametrize("dies_at", [12, 40, 70])
def test_time_that_nobody_watched_is_no_evidence_and_counts_for_no_limit(worlds, dies_at):
    world = worlds()
    with pytest.raises(Killed):
        Mortal(world, dies_at).run()
    before = dict(world.in_force)
    stable_errors, world.stable.error_rate = world.stable.error_rate, 1.0
    world.canary.error_rate = 1.0
    gap = 10 * PLAN.max_seconds
    world.sleep(gap)
    world.stable.error_rate = world.canary.error_rate = stable_errors
    assert world.in_force == before
    record = Mortal(world, None).run()
    assert record.outcome.decision == "promote"
    [resumed] = [look for look in record.looks if look.seen.unwatched]
    assert gap <= resumed.seen.unwatched <= gap + 1
    excluded = sum(resumed.seen.of(variant).excluded["unwatched"] for variant in ("stable", "canary")
                   if "unwatched" in resumed.seen.of(variant).excluded)  # fmt: skip
    assert excluded >= gap * world.rps
    assert record.summary["stable"].errors == record.summary["canary"].errors == 0
    assert_consistent(world, record)


def test_the_first_thing_is_to_confirm_the_weights(worlds):
    world = worlds()
    with pytest.raises(Killed):
        Mortal(world, 40).run()
    in_step = dict(world.in_force)
    world.in_force = weights_for(80)
    resumed = len(world.audit)
    assert Mortal(world, None).run().outcome.decision == "promote"
    assert [(action, details.get("weights")) for action, details in world.audit[resumed : resumed + 2]] == [
        ("rollout.resumed", None),
        ("rollout.weights", in_step),
    ]


def test_an_error_gives_traffic_back_to_stable_and_the_next_process_goes_on(worlds):
    class Breaks(Mortal):
        def audit(self, action: str, details: Any) -> None:
            if details.get("rule") == "baseline_frozen":
                raise FlywheelError("database is locked", reason="ledger")
            super().audit(action, details)

    world = worlds()
    with pytest.raises(FlywheelError, match="database is locked"):
        Breaks(world, None).run()
    assert world.in_force == weights_for(0)
    assert Mortal(world, None).run().outcome.decision == "promote"


def test_a_made_decision_is_put_in_force_again_and_not_made_again(worlds):
    world = worlds()
    first = Mortal(world, None)
    expected = to_json(first.run())
    world.in_force = weights_for(0)
    world.canary.error_rate = 1.0
    world.sleep(30)
    assert to_json(Mortal(world, None).run()) == expected
    assert world.in_force == weights_for(100)


def test_a_promotion_that_cannot_be_put_in_force_again_is_an_error(worlds):
    world = worlds()
    Mortal(world, None).run()
    world.router_dead_from = world.now
    with pytest.raises(FlywheelError, match="promotion made earlier"):
        Mortal(world, None).run()


def test_a_process_that_was_overtaken_touches_nothing(worlds):
    world = worlds()

    class Slow(Mortal):
        """In the middle of its sleep, another process goes on with its rollout, to the end."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.calls.count("sleep") == 6:
                Mortal(world, None).run()

    with pytest.raises(TakenOver):
        Slow(world, None).run()
    assert world.in_force == weights_for(100)


@pytest.mark.parametrize("loss", ["row", "look"])
def test_a_journal_that_does_not_reproduce_ends_on_stable(worlds, loss):
    world = worlds()
    with pytest.raises(Killed):
        Mortal(world, 60).run()

    class Damaged(Mortal):
        def usage_between(self, *arguments: Any, **named: Any) -> Any:
            rows = super().usage_between(*arguments, **named)
            return rows[1:] if loss == "row" else [replace(row, outcome="upstream_error") for row in rows]

    message = "which the ledger does not have" if loss == "row" else "does not reproduce"
    with pytest.raises(FlywheelError, match=message):
        Damaged(world, None).run()
    assert world.in_force == weights_for(0)


def journal(world: World, run_id: str, version: str = "2") -> Journal:
    return Journal(world.journals, run_id, "support", version, world.clock)


def begin(world: World, run_id: str, version: str = "2") -> Journal:
    made = journal(world, run_id, version)
    made.append(START, {"plan": PLAN.model_dump(), "versions": {"stable": "1", "canary": version}})
    return made


def test_an_orphan_is_closed_and_cannot_write_any_more(world):
    orphan = begin(world, "run-0", "7")
    world.now += 61
    abandon_orphans(world.journals, journal(world, "run-1"), lambda *event: world.audit.append(event))
    assert world.audit == [("rollout.abandoned", {"version": "7", "of_run": "run-0", "phase": START})]
    assert journal(world, "run-0", "7").phase == ABANDONED
    with pytest.raises(TakenOver):
        orphan.append(LOOK, {})
    abandon_orphans(world.journals, journal(world, "run-1"), lambda *_: pytest.fail("closed twice"))


def test_a_rollout_that_somebody_watches_is_left_alone(world):
    begin(world, "run-0")
    world.now += 59
    with pytest.raises(FlywheelError, match="version 2, run run-0, last heard of 59 s ago"):
        abandon_orphans(world.journals, journal(world, "run-1"), lambda *_: None)


def test_ended_rollouts_and_the_own_one_are_no_orphans(world):
    begin(world, "run-0").append(SETTLED, {})
    begin(world, "run-1")
    world.now += 1000
    abandon_orphans(world.journals, journal(world, "run-1"), lambda *_: pytest.fail("there is none"))


@pytest.mark.parametrize(("run_id", "again"), [("run-1", SETTLED), ("", "")])
def test_without_a_run_id_a_finished_rollout_is_followed_by_a_new_one(world, run_id, again):
    begin(world, run_id).append(SETTLED, {})
    assert journal(world, run_id).phase == again
    begin(world, run_id).append(DECIDED, {})
    assert journal(world, run_id).body(START) is not None
    assert journal(world, run_id).phase == DECIDED
