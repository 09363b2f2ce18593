"""The decision: a pure function of plan, state and observation, so that a stored rollout can be replayed exactly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from llm_flywheel.serving.rollout.eprocess import (
    HARM_RATIOS,
    PASS_FRACTIONS,
    absolute_log_lr,
    harm_ratios,
    log_mixture,
    pass_values,
    relative_log_lr,
)
from llm_flywheel.serving.rollout.evidence import MetricCount, Observation
from llm_flywheel.serving.rollout.plan import CANARY, STABLE, Metric, RolloutPlan, weights_for

Action = Literal["hold", "advance", "promote", "rollback", "inconclusive"]
FINAL: tuple[Action, ...] = ("promote", "rollback", "inconclusive")
WARM_UP = -1

Logs = tuple[float, ...]


@dataclass(frozen=True)
class MetricEvidence:
    """Accumulated log likelihood ratios of one metric, one entry per alternative.

    Attributes:
        harm: Against "the ratio is at most tolerated".
        relative: Against "the ratio is at least margin".
        absolute: Against "the canary's bad rate is at least max_rate".
    """

    harm: Logs = (0.0,) * len(HARM_RATIOS)
    relative: Logs = (0.0,) * len(PASS_FRACTIONS)
    absolute: Logs = (0.0,) * len(PASS_FRACTIONS)

    @property
    def log_harm(self) -> float:
        """Natural log of the e-value for harm."""
        return float(log_mixture(self.harm))

    @property
    def log_pass(self) -> float:
        """Natural log of the e-value for non-inferiority.

        The mean of the relative and the absolute e-process. Under "worse than margin and worse than max_rate" both
        have expectation at most 1, so their mean has, too: no correction for having two ways to pass.
        """
        pair = (float(log_mixture(self.relative)), float(log_mixture(self.absolute)))
        return float(log_mixture(pair))

    def add(self, metric: Metric, stable: MetricCount, canary: MetricCount) -> "MetricEvidence":
        """Evidence after one more interval."""
        counts = (canary.n, canary.bad, stable.n, stable.bad)
        rate = metric.absolute_rate
        harm = relative_log_lr(*counts, harm_ratios(metric.tolerated), metric.tolerated)
        relative = relative_log_lr(*counts, pass_values(metric.margin), metric.margin)
        absolute = absolute_log_lr(canary.n, canary.bad, pass_values(rate), rate)
        return MetricEvidence(
            tuple((harm + self.harm).tolist()),
            tuple((relative + self.relative).tolist()),
            tuple((absolute + self.absolute).tolist()),
        )


@dataclass(frozen=True)
class PodState:
    """What was learnt from the pods themselves so far.

    Attributes:
        counted: Restarts of each canary pod when it was last seen; None before the first look.
        restarts: Restarts of canary pods during the rollout.
        unready_seconds: Watched time in a row without a ready canary pod.
        evidence: Of answers with status 5xx, by the pods' own count.
        canary: The canary's answers by that count.
    """

    counted: Mapping[str, int] | None = None
    restarts: int = 0
    unready_seconds: float = 0.0
    evidence: MetricEvidence = MetricEvidence()
    canary: MetricCount = MetricCount()


@dataclass(frozen=True)
class State:
    """Where a rollout stands.

    Attributes:
        entered: Unix seconds at which the current step began, moved on by the time in which nobody watched.
        step: Index into ``plan.steps``; `WARM_UP` before the first.
        evidence: Per metric kind, over all steps.
        stable_in_step: Judged stable requests in this step.
        canary_in_step: Judged canary requests in this step.
        canary: Canary errors over all steps.
        unreachable: Looks in a row without an answer from the router.
        unattributed_in_step: Requests in this step that the router failed by itself.
        pods: What the cluster says about the canary's pods.
    """

    entered: float
    step: int = WARM_UP
    evidence: Mapping[str, MetricEvidence] = field(default_factory=dict)
    stable_in_step: int = 0
    canary_in_step: int = 0
    canary: MetricCount = MetricCount()
    unreachable: int = 0
    unattributed_in_step: int = 0
    pods: PodState = PodState()


@dataclass(frozen=True)
class Decision:
    """What to do after one look, and why.

    Attributes:
        action: ``hold`` (keep watching), ``advance``, ``promote``, ``rollback`` or ``inconclusive``.
        rule: Machine-readable name of the rule that fired.
        reason: The same in words, with numbers.
        weights: Weights to put in force now.
        step: Step that this look belongs to.
        log_harm: Natural log of the e-value for harm, per metric kind.
        log_pass: Natural log of the e-value for non-inferiority, per metric kind.
    """

    action: Action
    rule: str
    reason: str
    weights: Mapping[str, int]
    step: int
    log_harm: Mapping[str, float]
    log_pass: Mapping[str, float]

    @property
    def final(self) -> bool:
        """Whether the rollout ends here."""
        return self.action in FINAL


@dataclass(frozen=True)
class _Verdict:
    action: Action
    rule: str
    reason: str


def start(plan: RolloutPlan, now: float) -> State:
    """State before the first look."""
    return State(now, evidence={metric.kind: MetricEvidence() for metric in plan.metrics})


def weights_in(plan: RolloutPlan, step: int) -> dict[str, int]:
    """Weights of a step; during warm-up the canary gets pinned requests only."""
    return weights_for(0 if step == WARM_UP else plan.steps[step])


def decide(plan: RolloutPlan, state: State, seen: Observation) -> tuple[State, Decision]:
    """Fold one observation into the state and decide.

    The order of the rules is the order of urgency: the router, hard guards, proven harm, then progress. What is not
    measured never passes: its e-value stays at 1.

    Args:
        plan: Limits.
        state: After the look before, or `start`.
        seen: This look.

    Returns:
        The state for the next look, and the decision.
    """
    state = _fold(plan, state, seen)
    elapsed = seen.end - state.entered
    verdict = (
        _router(plan, state, seen)
        or _guards(plan, state, seen)
        or _pod_guards(plan, state, seen)
        or _harm(plan, state)
        or (_warm_up(plan, state, seen, elapsed) if state.step == WARM_UP else _progress(plan, state, seen, elapsed))
    )
    decision = Decision(
        verdict.action,
        verdict.rule,
        verdict.reason,
        _weights_after(plan, state, verdict.action),
        state.step,
        {kind: evidence.log_harm for kind, evidence in state.evidence.items()},
        {kind: evidence.log_pass for kind, evidence in state.evidence.items()},
    )
    if verdict.action == "advance":
        state = replace(
            state, step=state.step + 1, entered=seen.end, stable_in_step=0, canary_in_step=0, unattributed_in_step=0
        )
    return state, decision


def _fold(plan: RolloutPlan, state: State, seen: Observation) -> State:
    state = replace(
        state,
        entered=state.entered + seen.unwatched,
        unreachable=0 if seen.weights is not None else state.unreachable + 1,
        pods=_fold_pods(plan, state, seen),
    )
    if state.step == WARM_UP:
        return state
    none = MetricCount()
    evidence: dict[str, MetricEvidence] = {
        metric.kind: state.evidence[metric.kind].add(
            metric, seen.stable.metrics.get(metric.kind, none), seen.canary.metrics.get(metric.kind, none)
        )
        for metric in plan.metrics
    }
    stable, canary = seen.stable.metrics.get("errors", none), seen.canary.metrics.get("errors", none)
    return replace(
        state,
        evidence=evidence,
        stable_in_step=state.stable_in_step + stable.n,
        canary_in_step=state.canary_in_step + canary.n,
        canary=_sum(state.canary, canary),
        unattributed_in_step=state.unattributed_in_step + seen.unattributed,
    )


def _fold_pods(plan: RolloutPlan, state: State, seen: Observation) -> PodState:
    before = state.pods
    if seen.pods is None or seen.pods[CANARY].unknown:
        return before  # what is not known is neither good nor bad
    canary = seen.pods[CANARY]
    counted = {pod.name: pod.restarts for pod in canary.pods}
    # Restarts before the rollout are history; a pod that came later has had all of its own during the rollout.
    known = counted if before.counted is None else before.counted
    new = sum(max(0, restarts - known.get(name, 0)) for name, restarts in counted.items())
    unready = 0.0 if canary.ready else before.unready_seconds + seen.end - seen.start
    made = replace(before, counted={**known, **counted}, restarts=before.restarts + new, unready_seconds=unready)
    theirs, ours = seen.pods[STABLE].answered, canary.answered
    if state.step == WARM_UP or theirs is None or ours is None:
        return made
    evidence = before.evidence.add(plan.by_kind["errors"], theirs, ours)
    return replace(made, evidence=evidence, canary=_sum(before.canary, ours))


def _sum(one: MetricCount, other: MetricCount) -> MetricCount:
    return MetricCount(one.n + other.n, one.bad + other.bad)


def _router(plan: RolloutPlan, state: State, seen: Observation) -> _Verdict | None:
    expected = weights_in(plan, state.step)
    if seen.weights is None:
        if state.unreachable >= plan.guards.unreachable_looks:
            return _Verdict(
                "rollback", "router_unreachable", f"the router did not answer {state.unreachable} looks in a row"
            )
        return None
    if dict(seen.weights) != expected:
        return _Verdict(
            "rollback", "weights_mismatch", f"the router has weights {dict(seen.weights)}, expected {expected}"
        )
    return None


def _guards(plan: RolloutPlan, state: State, seen: Observation) -> _Verdict | None:
    guards = plan.guards
    if seen.unavailable_run >= guards.consecutive_unavailable:
        return _Verdict(
            "rollback", "canary_unavailable", f"{seen.unavailable_run} canary requests in a row found no server"
        )
    if seen.error_run >= guards.consecutive_errors:
        return _Verdict("rollback", "canary_failing", f"{seen.error_run} canary requests in a row failed")
    share = state.canary.bad / state.canary.n if state.canary.n else 0.0
    harm = state.evidence["errors"].log_harm
    if share > guards.error_share and harm >= math.log(guards.error_evidence):
        return _Verdict(
            "rollback",
            "error_share",
            f"{state.canary.bad} of {state.canary.n} canary requests failed (e-value for harm {_e(harm)})",
        )
    lost = state.unattributed_in_step
    if lost >= guards.consecutive_unavailable and lost > guards.unattributed_share * (state.canary_in_step + lost):
        # Which variant they were meant for nobody knows; a canary that nobody answers for looks just like this.
        return _Verdict(
            "rollback",
            "unattributed",
            f"{lost} requests in this step were failed by the router itself, beside {state.canary_in_step} "
            "requests of the canary",
        )
    return None


def _pod_guards(plan: RolloutPlan, state: State, seen: Observation) -> _Verdict | None:
    if seen.pods is None:
        return None
    guards, pods = plan.guards, state.pods
    problems = seen.pods[CANARY].problems
    if "CrashLoopBackOff" in problems:
        return _Verdict("rollback", "canary_crash_loop", f"a canary pod does not stay up: {problems}")
    if pods.restarts >= guards.restarts:
        return _Verdict("rollback", "canary_restarts", f"the canary's containers were restarted {pods.restarts} times")
    if pods.unready_seconds >= guards.not_ready_seconds:
        return _Verdict("rollback", "canary_not_ready", _unready(state, seen))
    share = pods.canary.bad / pods.canary.n if pods.canary.n else 0.0
    harm = pods.evidence.log_harm
    if share > guards.error_share and harm >= math.log(guards.error_evidence):
        # As `error_share`, on what the pods counted: also answers that did not come through the gateway.
        return _Verdict(
            "rollback",
            "pods_error_share",
            f"the canary's pods failed {pods.canary.bad} of {pods.canary.n} answers (e-value for harm {_e(harm)}); "
            f"the gateway saw {state.canary.bad} errors",
        )
    return None


def _not_ready(state: State, seen: Observation) -> _Verdict | None:
    """Why no weight may move to the canary's pods, as the verdict to give when there is no time left."""
    if seen.pods is None:
        return None
    canary = seen.pods[CANARY]
    if canary.unknown:
        return _Verdict("inconclusive", "pods_unknown", f"no data on the canary's pods: {canary.unknown}")
    return None if canary.ready else _Verdict("rollback", "canary_not_ready", _unready(state, seen))


def _unready(state: State, seen: Observation) -> str:
    problems = seen.pods[CANARY].problems if seen.pods is not None else ""
    return f"no pod of the canary is ready, for {state.pods.unready_seconds:.0f} s" + (problems and f": {problems}")


def _harm(plan: RolloutPlan, state: State) -> _Verdict | None:
    for metric in plan.metrics:
        value = state.evidence[metric.kind].log_harm
        if value >= math.log(plan.harm_limit):
            return _Verdict(
                "rollback",
                f"harm:{metric.kind}",
                f"canary has more {_bad(metric)} than {metric.tolerated:g} x stable: "
                f"e-value {_e(value)}, limit {plan.harm_limit:g}",
            )
    return None


def _warm_up(plan: RolloutPlan, state: State, seen: Observation, elapsed: float) -> _Verdict:
    need = plan.warmup.requests
    short = [f"{metric.kind} {seen.warm.get(metric.kind, 0)}" for metric in plan.metrics if _cold(plan, metric, seen)]
    blocked = _not_ready(state, seen)
    if not short and blocked is not None:
        return blocked if elapsed >= plan.warmup.max_seconds else replace(blocked, action="hold")
    if not short:
        return _Verdict("advance", "baseline_frozen", f"stable's latencies frozen from {need} requests or more")
    if elapsed < plan.warmup.max_seconds:
        return _Verdict("hold", "warm_up", f"stable measured so far: {', '.join(short)} of {need}")
    return _Verdict(
        "inconclusive",
        "no_baseline",
        f"no data: stable measured only {', '.join(short)} of {need} requests in {elapsed:.0f} s",
    )


def _cold(plan: RolloutPlan, metric: Metric, seen: Observation) -> bool:
    return seen.warm.get(metric.kind, 0) < plan.warmup.requests


def _progress(plan: RolloutPlan, state: State, seen: Observation, elapsed: float) -> _Verdict:
    blocked = _not_ready(state, seen)
    if blocked is not None:
        return blocked if elapsed >= plan.max_seconds else replace(blocked, action="hold")
    waiting = _not_yet(plan, state, elapsed)
    if waiting is None:
        if state.step < len(plan.steps) - 1:
            return _Verdict("advance", "step_complete", f"{state.canary_in_step} canary requests without sign of harm")
        lowest = min(evidence.log_pass for evidence in state.evidence.values())
        return _Verdict(
            "promote",
            "non_inferior",
            f"every metric proven no worse than its margin: lowest e-value {_e(lowest)}, limit {plan.pass_limit:g}",
        )
    rule, reason = waiting
    if elapsed < plan.max_seconds:
        return _Verdict("hold", "collecting", reason)
    return _Verdict("inconclusive", rule, f"{reason}, after {elapsed:.0f} s at {plan.steps[state.step]} %")


def _not_yet(plan: RolloutPlan, state: State, elapsed: float) -> tuple[str, str] | None:
    """Why the step is not complete, as (rule, reason)."""
    last = state.step == len(plan.steps) - 1
    if state.canary_in_step == 0:
        return "no_canary_traffic", "no data: the canary has had no request in this step"
    if state.canary_in_step < plan.min_requests:
        return "too_few_requests", f"{state.canary_in_step} of {plan.min_requests} canary requests"
    if state.stable_in_step < plan.min_requests:
        return "no_stable_traffic", f"{state.stable_in_step} of {plan.min_requests} stable requests to compare with"
    if elapsed < plan.min_seconds:
        return "too_short", f"{elapsed:.0f} of {plan.min_seconds:g} s"
    for metric in plan.metrics:
        evidence = state.evidence[metric.kind]
        value = evidence.log_harm
        # Evidence for harm moves only with bad requests: two early ones would be held against a canary for ever,
        # however many good ones follow. Proof that outweighs the suspicion settles it; proof is needed anyway.
        if value >= math.log(plan.suspicion) and evidence.log_pass - value < math.log(plan.pass_limit):
            return f"suspicion:{metric.kind}", f"suspicion of more {_bad(metric)}: e-value for harm {_e(value)}"
    if not last:
        return None
    for metric in plan.metrics:
        value = state.evidence[metric.kind].log_pass
        if value < math.log(plan.pass_limit):
            return (
                f"not_proven:{metric.kind}",
                f"not proven that {_bad(metric)} stay below the margin: e-value {_e(value)} of {plan.pass_limit:g}",
            )
    return None


def _weights_after(plan: RolloutPlan, state: State, action: Action) -> dict[str, int]:
    if action == "promote":
        return {STABLE: 0, CANARY: 100}
    if action in ("rollback", "inconclusive"):
        return {STABLE: 100, CANARY: 0}
    return weights_in(plan, state.step + 1 if action == "advance" else state.step)


def _bad(metric: Metric) -> str:
    return "errors" if metric.kind == "errors" else f"slow requests ({metric.kind})"


def _e(log_value: float) -> str:
    return f"{math.exp(log_value):.3g}" if log_value < 20 else f"1e{log_value / math.log(10):.0f}"


@dataclass(frozen=True)
class Outcome:
    """How a rollout ended.

    Attributes:
        decision: ``promote``, ``rollback`` or ``hold`` (nothing proven: stable keeps the traffic).
        rule: The rule that ended it.
        reason: The same in words.
    """

    decision: Literal["promote", "rollback", "hold"]
    rule: str
    reason: str


def conclude(last: Decision, applied: bool) -> Outcome:
    """The outcome of a final decision, given whether the router took its weights over.

    A promotion that the router did not confirm is none: traffic goes back to stable and no alias moves.
    """
    unsure = "" if applied else "; the router did not confirm the weights"
    if last.action == "promote":
        if applied:
            return Outcome("promote", last.rule, last.reason)
        return Outcome("rollback", "promotion_not_applied", last.reason + unsure)
    return Outcome("hold" if last.action == "inconclusive" else "rollback", last.rule, last.reason + unsure)
