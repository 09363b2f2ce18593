"""Decisions on literal observations, and how often a plan ends rightly, by simulation."""

from collections import Counter

import numpy as np
import pytest

from llm_flywheel.serving.rollout.decision import Decision, State, conclude, decide, start, weights_in
from llm_flywheel.serving.rollout.evidence import MetricCount, Observation, VariantCounts
from llm_flywheel.serving.rollout.plan import Guards, Metric, RolloutPlan, Warmup

PLAN = RolloutPlan(
    steps=[20, 50],
    min_requests=10,
    min_seconds=2,
    max_seconds=20,
    metrics=[Metric(kind="errors", margin=2, max_rate=0.05)],
    warmup=Warmup(requests=10, max_seconds=10),
    guards=Guards(consecutive_unavailable=3, consecutive_errors=6, unreachable_looks=2),
)


def counts(n: int, bad: int = 0) -> VariantCounts:
    return VariantCounts(n, {}, {}, {"errors": MetricCount(n, bad)})


def in_step(step: int = 0) -> State:
    state, _ = decide(PLAN, start(PLAN, 0.0), Observation(0, 1, {"stable": 100, "canary": 0}, warm={"errors": 10}))
    for index in range(step):
        state, _ = look(state, canary=counts(10), at=5.0 + index)
    return state


def look(state: State, *, stable: VariantCounts | None = None, canary: VariantCounts | None = None, at: float = 5.0,
         **other: int) -> tuple[State, Decision]:  # fmt: skip
    weights = weights_in(PLAN, state.step)
    return decide(PLAN, state, Observation(at - 1, at, weights, stable or counts(40), canary or counts(0), **other))


def test_the_warm_up_ends_when_stable_is_measured():
    state, decision = decide(
        PLAN, start(PLAN, 0.0), Observation(0, 1, {"stable": 100, "canary": 0}, warm={"errors": 10})
    )
    assert (decision.action, decision.weights, state.step) == ("advance", {"stable": 80, "canary": 20}, 0)


def test_a_warm_up_without_data_is_inconclusive_at_its_deadline():
    _, decision = decide(PLAN, start(PLAN, 0.0), Observation(9, 10, {"stable": 100, "canary": 0}, warm={"errors": 3}))
    assert (decision.action, decision.rule) == ("inconclusive", "no_baseline")


def test_a_step_waits_for_its_requests():
    _, decision = look(in_step(), canary=counts(9))
    assert (decision.action, decision.reason) == ("hold", "9 of 10 canary requests")


def test_a_step_waits_for_its_seconds():
    _, decision = look(in_step(), canary=counts(50), at=2.0)
    assert (decision.action, decision.reason) == ("hold", "1 of 2 s")


def test_a_complete_step_advances():
    state, decision = look(in_step(), canary=counts(10))
    assert (decision.action, decision.weights, state.canary_in_step) == ("advance", {"stable": 50, "canary": 50}, 0)


def test_suspicion_keeps_the_step():
    _, decision = look(in_step(), canary=counts(30, 3), stable=counts(120, 2))
    assert (decision.action, decision.reason[:9]) == ("hold", "suspicion")


def test_proof_that_outweighs_a_suspicion_settles_it():
    state, suspected = look(in_step(), canary=counts(30, 3), stable=counts(120, 2))
    _, settled = look(state, canary=counts(600), stable=counts(2400, 0), at=6.0)
    assert (suspected.reason[:9], settled.action) == ("suspicion", "advance")


def test_the_last_step_promotes_only_with_proof():
    state, unproven = look(in_step(1), canary=counts(40), at=9.0)
    _, proven = look(state, canary=counts(60), at=10.0)
    assert (unproven.action, unproven.reason[:10]) == ("hold", "not proven")
    assert (proven.action, proven.rule, proven.weights) == ("promote", "non_inferior", {"stable": 0, "canary": 100})


def test_proof_needs_stable_requests_too():
    _, decision = look(in_step(1), canary=counts(500), stable=counts(0), at=9.0)
    assert (decision.action, decision.reason) == ("hold", "0 of 10 stable requests to compare with")


@pytest.mark.parametrize(
    ("canary", "rule"),
    [(counts(0), "no_canary_traffic"), (counts(4), "too_few_requests"), (counts(40, 2), "not_proven:errors")],
)
def test_time_that_runs_out_is_inconclusive_and_takes_the_weight_back(canary, rule):
    _, decision = look(in_step(1), stable=counts(40, 2), canary=canary, at=99.0)
    assert (decision.action, decision.rule, decision.weights) == (
        "inconclusive", rule, {"stable": 100, "canary": 0},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "rule"), [({"unavailable_run": 3}, "canary_unavailable"), ({"error_run": 6}, "canary_failing")]
)
def test_failures_in_a_row_roll_back_at_once(runs, rule):
    _, decision = look(in_step(), at=1.5, **runs)
    assert (decision.action, decision.rule, decision.weights) == ("rollback", rule, {"stable": 100, "canary": 0})


def test_harm_rolls_back_without_waiting_for_the_steps_minima():
    _, decision = look(in_step(), canary=counts(8, 5), stable=counts(40, 0), at=1.5)
    assert decision.action == "rollback"


def test_one_silent_look_of_the_router_is_forgiven_and_two_are_not():
    state, first = decide(PLAN, in_step(), Observation(1, 2, None, counts(0), counts(0)))
    _, second = decide(PLAN, state, Observation(2, 3, None, counts(0), counts(0)))
    assert (first.action, second.action, second.rule) == ("hold", "rollback", "router_unreachable")


def test_weights_that_are_not_the_expected_ones_roll_back():
    _, decision = decide(PLAN, in_step(), Observation(1, 2, {"stable": 0, "canary": 100}, counts(0), counts(0)))
    assert (decision.action, decision.rule) == ("rollback", "weights_mismatch")


def test_an_unconfirmed_promotion_is_a_rollback():
    decision = Decision("promote", "non_inferior", "proven", {"stable": 0, "canary": 100}, 1, {}, {})
    assert conclude(decision, True).decision == "promote"
    assert (conclude(decision, False).decision, conclude(decision, False).rule) == (
        "rollback", "promotion_not_applied",
    )  # fmt: skip


def simulate(rates: tuple[float, float], *, runs: int = 60) -> Counter[str]:
    """Final actions of the default plan at 15 requests per second; rates of bad requests of stable and canary."""
    plan, rng, ends = RolloutPlan(), np.random.default_rng(11), Counter[str]()
    for _ in range(runs):
        state, at = start(plan, 0.0), 0.0
        while True:
            at += 1
            weights = weights_in(plan, state.step)
            n = rng.binomial(15, weights["canary"] / 100)
            stable, canary = (
                VariantCounts(k, {}, {}, {m.kind: MetricCount(k, int(rng.binomial(k, rate))) for m in plan.metrics})
                for k, rate in ((15 - n, rates[0]), (n, rates[1]))
            )
            warm = {metric.kind: int(at * 15) for metric in plan.metrics}
            state, decision = decide(plan, state, Observation(at - 1, at, weights, stable, canary, warm=warm))
            if decision.final:
                ends[decision.action] += 1
                break
    return ends


def test_the_default_plan_promotes_healthy_canaries():
    assert simulate((0.005, 0.005))["promote"] >= 57


def test_the_default_plan_rolls_back_ten_times_the_errors():
    assert simulate((0.01, 0.1))["rollback"] >= 57
