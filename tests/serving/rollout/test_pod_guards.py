"""Decisions on what pods say of themselves, and on requests that the router failed by itself."""

import json
from dataclasses import asdict, replace

import pytest

from llm_flywheel.serving.rollout.decision import Decision, State, decide, start, weights_in
from llm_flywheel.serving.rollout.evidence import MetricCount, Observation, PodFacts, VariantCounts, VariantPods
from llm_flywheel.serving.rollout.plan import Guards, Metric, RolloutPlan, Warmup
from llm_flywheel.serving.rollout.record import observation

PLAN = RolloutPlan(
    steps=[20, 50],
    min_requests=10,
    min_seconds=2,
    max_seconds=20,
    metrics=[Metric(kind="errors", margin=2, max_rate=0.05)],
    warmup=Warmup(requests=10, max_seconds=10),
    guards=Guards(restarts=2, not_ready_seconds=5),
)
GOOD = PodFacts("c-1", True, served=10, errors=0)
STABLE = VariantPods(1, (PodFacts("s-1", True, served=40, errors=0),))


def counts(n: int, bad: int = 0) -> VariantCounts:
    return VariantCounts(n, {}, {}, {"errors": MetricCount(n, bad)})


def look(
    state: State, at: float, *canary: PodFacts, unknown: str = "", n: int = 10, stable: VariantPods = STABLE,
    unattributed: int = 0, unwatched: float = 0.0,
) -> tuple[State, Decision]:  # fmt: skip
    pods = {"stable": stable, "canary": VariantPods(1, canary, unknown)}
    seen = Observation(
        at - 1, at, weights_in(PLAN, state.step), counts(40), counts(n), warm={"errors": 10}, pods=pods,
        unattributed=unattributed, unwatched=unwatched,
    )  # fmt: skip
    # As it comes back from a journal, so that what is stored is enough to decide.
    return decide(PLAN, state, observation(json.loads(json.dumps(asdict(seen)))))


def in_step() -> State:
    state, _ = look(start(PLAN, 0.0), 1.0, GOOD)
    return state


def test_a_canary_with_ready_pods_advances():
    assert in_step().step == 0


def test_a_canary_that_is_not_ready_gets_no_weight():
    state, decision = look(start(PLAN, 0.0), 1.0, replace(GOOD, ready=False, problem="ImagePullBackOff"))
    assert (decision.action, decision.rule, state.step) == ("hold", "canary_not_ready", -1)
    assert decision.reason == "no pod of the canary is ready, for 1 s: ImagePullBackOff"


def test_a_canary_that_never_becomes_ready_is_rolled_back():
    state, decision = start(PLAN, 0.0), None
    for second in range(1, 6):
        state, decision = look(state, second, n=0)
    assert (decision.action, decision.rule) == ("rollback", "canary_not_ready")


def test_a_moment_of_readiness_begins_the_count_anew():
    state, down = in_step(), replace(GOOD, ready=False)
    for second, pod in enumerate([down, down, down, down, GOOD, down, down, down, down], 2):
        state, decision = look(state, second, pod, n=1)
    assert (decision.action, decision.rule) == ("hold", "canary_not_ready")


def test_time_that_nobody_watched_is_not_time_without_readiness():
    _, decision = look(in_step(), 1000.0, replace(GOOD, ready=False), unwatched=998.0)
    assert decision.action == "hold"


def test_a_canary_that_is_not_ready_is_rolled_back_at_the_end_of_a_step_and_not_called_silent():
    plan = PLAN.model_copy(update={"guards": Guards(not_ready_seconds=1000)})
    seen = Observation(20, 22, weights_in(plan, 0), counts(40), pods={"stable": STABLE, "canary": VariantPods(1)})
    _, decision = decide(plan, in_step(), seen)
    assert (decision.action, decision.rule) == ("rollback", "canary_not_ready")


def test_a_crash_loop_is_rolled_back_at_once():
    _, decision = look(in_step(), 2.0, replace(GOOD, ready=False, problem="CrashLoopBackOff (OOMKilled)"))
    assert (decision.action, decision.rule) == ("rollback", "canary_crash_loop")
    assert decision.reason == "a canary pod does not stay up: CrashLoopBackOff (OOMKilled)"


def test_restarts_before_the_rollout_are_history():
    state, _ = look(start(PLAN, 0.0), 1.0, replace(GOOD, restarts=7))
    state, once = look(state, 2.0, replace(GOOD, restarts=8))
    _, twice = look(state, 3.0, replace(GOOD, restarts=9))
    assert (once.action, twice.action, twice.rule) == ("hold", "rollback", "canary_restarts")


def test_restarts_of_a_pod_that_came_later_count_and_a_pod_that_went_takes_none_away():
    state, _ = look(in_step(), 2.0, replace(GOOD, restarts=1))
    state, gone = look(state, 3.0)
    _, decision = look(state, 4.0, PodFacts("c-2", True, restarts=1))
    assert (gone.action, decision.rule) == ("hold", "canary_restarts")


def test_unknown_pods_are_neither_good_nor_bad():
    state, decision = in_step(), None
    for second in range(2, 21):
        state, decision = look(state, second, unknown="403")
        assert (decision.action, decision.rule) == ("hold", "pods_unknown")
    _, decision = look(state, 21.0, unknown="403")
    assert (decision.action, decision.rule) == ("inconclusive", "pods_unknown")


def test_errors_that_only_the_pods_saw_roll_back():
    _, decision = look(in_step(), 2.0, replace(GOOD, served=20, errors=10))
    assert (decision.action, decision.rule) == ("rollback", "pods_error_share")
    assert "10 of 20 answers" in decision.reason and "the gateway saw 0 errors" in decision.reason


@pytest.mark.parametrize("canary", [GOOD, replace(GOOD, served=None, errors=None)])
def test_pods_that_fail_alike_or_say_nothing_do_not(canary):
    sick = VariantPods(1, (PodFacts("s-1", True, served=40, errors=20),))
    failing = replace(canary, errors=5 if canary.served else None)
    _, decision = look(in_step(), 2.0, failing, stable=sick)
    assert decision.action == "hold"


def test_requests_that_the_router_failed_are_held_against_a_canary_with_weight():
    state, few = look(in_step(), 2.0, GOOD, n=0, unattributed=4)
    _, many = look(state, 3.0, GOOD, n=0, unattributed=1)
    assert (few.action, many.action, many.rule) == ("hold", "rollback", "unattributed")


def test_a_few_among_many_are_not():
    _, decision = look(in_step(), 2.0, GOOD, n=30, unattributed=6)
    assert decision.action == "hold"


def test_without_weight_they_are_only_shown():
    _, decision = look(start(PLAN, 0.0), 1.0, GOOD, unattributed=100)
    assert decision.action == "advance"
