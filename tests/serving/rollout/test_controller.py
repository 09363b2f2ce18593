"""Whole rollouts against a real ledger, on a fake clock."""

from dataclasses import replace

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.plan import Metric, RolloutPlan
from llm_flywheel.serving.rollout.record import Record, to_json
from llm_flywheel.serving.rollout.replay import replay

STABLE_ONLY = {"stable": 100, "canary": 0}
CANARY_ONLY = {"stable": 0, "canary": 100}


def rules(record: Record) -> list[str]:
    return [look.decision.rule for look in record.looks if look.decision.action != "hold"]


def test_a_healthy_canary_is_promoted_step_by_step(world):
    record = world.roll_out()
    assert record.outcome.decision == "promote"
    assert rules(record) == ["baseline_frozen", "step_complete", "non_inferior"]
    assert world.history == [STABLE_ONLY, {"stable": 90, "canary": 10}, {"stable": 50, "canary": 50}, CANARY_ONLY]
    assert record.ended - record.started < 60


def test_every_change_of_weights_is_audited_with_its_rule(world):
    world.roll_out()
    assert [(action, details["rule"], details["applied"]) for action, details in world.audit] == [
        ("rollout.weights", "start", True),
        ("rollout.weights", "baseline_frozen", True),
        ("rollout.weights", "step_complete", True),
        ("rollout.weights", "non_inferior", True),
    ]


def test_a_canary_that_fails_every_fifth_request_is_rolled_back(world):
    world.canary.error_rate = 0.2
    record = world.roll_out()
    assert record.outcome.decision == "rollback"
    assert record.outcome.rule in ("error_share", "harm:errors")
    assert world.in_force == STABLE_ONLY


def test_a_slow_canary_is_rolled_back(world):
    world.canary.ttft_s = 0.4
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "harm:ttft")
    assert world.in_force == STABLE_ONLY


def test_a_shared_incident_rolls_nothing_back_and_promotes_nothing_unproven(world):
    world.stable.error_rate = world.canary.error_rate = 0.04
    record = world.roll_out(RolloutPlan(max_seconds=20))
    assert record.outcome.decision == "hold"
    assert record.outcome.rule == "not_proven:errors"


def test_a_canary_without_traffic_holds_and_gives_its_weight_back(world):
    world.canary_gets_requests = False
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("hold", "no_canary_traffic")
    assert world.in_force == STABLE_ONLY


def test_no_traffic_at_all_holds_at_the_end_of_the_warm_up(world):
    world.rps = 0
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("hold", "no_baseline")
    assert record.outcome.reason.startswith("no data")


def test_a_metric_that_is_never_measured_holds(world):
    plan = RolloutPlan(metrics=[Metric(kind="errors", max_rate=0.05), Metric(kind="tpot")])
    world.ledger = NoTokens(world.ledger)
    record = world.roll_out(plan)
    assert (record.outcome.decision, record.outcome.rule) == ("hold", "no_baseline")
    assert "tpot 0" in record.outcome.reason


class NoTokens:
    """A ledger whose upstreams report no tokens."""

    def __init__(self, ledger):
        self._ledger = ledger

    def record_usage(self, rows):
        from dataclasses import replace

        return self._ledger.record_usage([replace(row, completion_tokens=None) for row in rows])

    def usage_between(self, *arguments, **named):
        return self._ledger.usage_between(*arguments, **named)


def test_when_both_variants_die_the_rollout_ends_within_a_few_looks(world):
    world.stable.dead_from = world.canary.dead_from = world.now + 12
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "canary_unavailable")
    assert record.ended - record.started <= 12 + 6
    assert world.in_force == STABLE_ONLY


def test_a_canary_that_is_dead_from_the_start_is_rolled_back_in_warm_up(world):
    world.canary.dead_from = 0
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "canary_unavailable")
    assert world.history == [STABLE_ONLY, STABLE_ONLY]


def test_a_dead_router_ends_the_rollout_and_is_said_to_be_unconfirmed(world):
    world.router_dead_from = world.now + 10
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "router_unreachable")
    assert record.applied is False
    assert record.outcome.reason.endswith("the router did not confirm the weights")
    assert record.ended - record.started <= 10 + 5


def test_a_router_that_ignores_a_change_is_found_at_the_next_look(world):
    world.ignores_changes_after = 1
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "weights_mismatch")


def test_a_promotion_that_the_router_does_not_take_over_is_none(world):
    world.ignores_changes_after = 3
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "promotion_not_applied")
    assert world.history[-1] == STABLE_ONLY


def test_weights_that_somebody_else_changed_end_the_rollout(world):
    def sleep(seconds: float, original=world.sleep) -> None:
        original(seconds)
        if world.now > 1_800_000_000.0 + 10:
            world.in_force = {"stable": 20, "canary": 80}

    world.sleep = sleep
    assert world.roll_out().outcome.rule == "weights_mismatch"
    assert world.history[-1] == STABLE_ONLY


def test_answers_of_another_version_are_not_counted(world):
    world.canary.version = "17"
    record = world.roll_out()
    assert (record.outcome.decision, record.outcome.rule) == ("hold", "no_canary_traffic")
    assert record.looks[-1].seen.canary.excluded.keys() == {"other_version"}


def test_traffic_is_back_on_stable_when_the_ledger_breaks(world):
    class Broken:
        def usage_between(self, *arguments, **named):
            if world.in_force["canary"]:
                raise FlywheelError("database is gone", reason="ledger")
            return world_ledger.usage_between(*arguments, **named)

        def record_usage(self, rows):
            return world_ledger.record_usage(rows)

    world_ledger = world.ledger
    world.ledger = Broken()
    with pytest.raises(FlywheelError, match="database is gone"):
        world.roll_out()
    assert world.in_force == STABLE_ONLY


def test_requests_that_hang_for_many_deadlines_count_against_the_canary(world):
    """A client leaves after 35 s; its row comes then, dated when the request arrived."""

    class Hanging:
        late: list = []

        def record_usage(self, rows):
            rows = [
                replace(row, outcome="aborted", status=499, ttft_s=None, latency_s=35.0)
                if row.variant == "canary"
                else row
                for row in rows
            ]
            self.late += [row for row in rows if row.outcome == "aborted"]
            due = [row for row in self.late if row.time + 35 <= world.now]
            self.late = [row for row in self.late if row.time + 35 > world.now]
            return world_ledger.record_usage([row for row in rows if row.outcome != "aborted"] + due)

        def usage_between(self, *arguments, **named):
            return world_ledger.usage_between(*arguments, **named)

    world_ledger = world.ledger
    world.ledger = Hanging()
    record = world.roll_out(RolloutPlan(deadline_seconds=1))
    assert (record.outcome.decision, record.outcome.rule) == ("rollback", "canary_failing")


@pytest.mark.parametrize("error_rate", [0.0, 0.2])
def test_a_stored_rollout_replays_to_the_same_decisions(world, error_rate):
    world.canary.error_rate = error_rate
    record = world.roll_out()
    result = replay(to_json(record))
    assert result.mismatches == []
    assert (result.ok, result.decision, result.rule) == (True, record.outcome.decision, record.outcome.rule)
