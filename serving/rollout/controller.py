"""The loop: set weights, wait, look, decide, act, and keep everything that was seen."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.backend import TrafficBackend, put_in_force
from llm_flywheel.serving.rollout.decision import (
    WARM_UP,
    Decision,
    State,
    conclude,
    decide,
    start,
    weights_in,
)
from llm_flywheel.serving.rollout.evidence import (
    Collector,
    Observation,
    Row,
    VariantPods,
    exclusion,
    is_error,
    quantile,
)
from llm_flywheel.serving.rollout.journal import ALIASES, DECIDED, LOOK, RESUMED, START, Journal, TakenOver
from llm_flywheel.serving.rollout.plan import VARIANTS, RolloutPlan, weights_for
from llm_flywheel.serving.rollout.record import Look, Record, VariantSummary, look_of
from llm_flywheel.serving.rollout.replay import differences

logger = logging.getLogger(__name__)


class RowSource(Protocol):
    """Where usage rows come from; the ledger has it."""

    def usage_between(self, start: float, end: float, model: str | None = None) -> Sequence[Row]:
        """Rows of ``model`` with ``start <= time < end``, Unix seconds."""


Audit = Callable[[str, Mapping[str, Any]], None]
OnLook = Callable[[State, Observation, Decision], None]


class PodSource(Protocol):
    """Where facts on pods come from; `pods.ClusterPods` has them."""

    def look(self) -> Mapping[str, VariantPods]:
        """The pods of both variants now; never raises FlywheelError."""


class Controller:
    """Runs one rollout to its end, or goes on with one that another process left in the journal.

    Whatever happens, traffic ends up on stable unless the canary was promoted. Only a killed process leaves the
    weights as they were; what was answered until another process goes on is no evidence then.

    Every look is in the journal before anything is done about it. A rollout that goes on recomputes all decisions
    from the journal and the ledger, confirms the weights first, and has only watched time against its limits.

    Args:
        plan: Steps and limits.
        backend: Where weights are put in force.
        rows: Usage rows, one per request.
        journal: Of this rollout.
        versions: Registered version per variant.
        audit: Called with action and details for every change of weights; must be durable when it returns.
        pods: Facts on pods, or None where there are none.
        actor: Who runs it.
        on_look: Called after every look, for progress and for the traffic client.
        clock: Unix seconds.
        sleep: Waits seconds.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        backend: TrafficBackend,
        rows: RowSource,
        journal: Journal,
        *,
        versions: Mapping[str, str],
        audit: Audit,
        pods: PodSource | None = None,
        actor: str = "",
        on_look: OnLook | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan, self._backend, self._rows = journal.plan(plan), backend, rows
        self._journal, self._versions, self._audit = journal, dict(versions), audit
        self._pods, self._actor, self._on_look = pods, actor, on_look
        self._clock, self._sleep = clock, sleep
        self._steps_since: float | None = None

    def run(self) -> Record:
        """Watch and act until a final decision, which is in the journal then; a made one is put in force again.

        Raises:
            TakenOver: Another process goes on with this rollout; nothing was touched since.
            FlywheelError: The ledger cannot be read or written; traffic is back on stable before this is raised. Or
                a promotion made earlier cannot be put in force again.
        """
        decided = self._journal.body(DECIDED)
        if decided is not None:
            if self._journal.body(ALIASES) is None:  # else the loser may be gone already, and its route with it
                self._confirm(decided)
            return self._journal.record()
        try:
            self._conclude(self._watch())
        except TakenOver:
            raise
        except BaseException:
            # Also for Ctrl-C: a process that no longer watches must not leave a canary in the traffic.
            self._put(weights_for(0))
            raise
        return self._journal.record()

    def _watch(self) -> Decision:
        state, last = self._begin() if self._journal.body(START) is None else self._restore()
        while last is None or not last.final:
            self._sleep(self._plan.interval_seconds)
            seen = self._look()
            state, last = decide(self._plan, state, seen)
            self._journal.append(LOOK, asdict(Look(seen, last)) | {"requests": self._collector.fresh})
            self._note(last, seen)
            if last.action == "advance":
                # A router that does not take the weights over shows at the next look, as a mismatch or as silence.
                self._apply(last.weights, last.rule)
            if self._on_look is not None:
                self._on_look(state, seen, last)
        return last

    def _begin(self) -> tuple[State, None]:
        started = self._from(self._clock())
        begun = {"started": started, "plan": self._plan.model_dump(), "versions": self._versions, "actor": self._actor}
        self._journal.append(START, begun)
        self._apply(weights_in(self._plan, WARM_UP), "start")
        return start(self._plan, started), None

    def _from(self, started: float) -> float:
        self._started = self._watched_from = started
        self._collector = Collector(self._plan, self._versions, started)
        return started

    def _restore(self) -> tuple[State, Decision | None]:
        """Go on where the journal ends: the same state, baselines and counted requests as the process before had."""
        begun = self._journal.body(START) or {}
        if begun["versions"] != self._versions:
            raise _damaged(f"it is about versions {begun['versions']}, the endpoint has {self._versions}")
        state, last = start(self._plan, self._from(begun["started"])), None
        looks = self._journal.looks
        until = look_of(looks[-1]).seen.end if looks else self._started
        rows = {row.request_id: row for row in self._usage(self._started, until)}
        for number, body in enumerate(looks):
            stored = look_of(body)
            missing = [key for key in body["requests"] if key not in rows]
            if missing:
                raise _damaged(f"look {number} counted request {missing[0]}, which the ledger does not have")
            counted, seen = [rows[key] for key in body["requests"]], stored.seen
            made = self._collector.look(counted, seen.start, seen.end, seen.weights, self._steps_since)
            state, last = decide(self._plan, state, replace(made, pods=seen.pods))
            wrong = differences(last, body["decision"])
            if replace(made, pods=seen.pods) != seen or wrong:
                raise _damaged(f"look {number} does not reproduce: {(wrong or ['other counts'])[0]}")
            self._note(last, seen)
        if last is None or not last.final:
            self._resume(state, len(looks))
        return state, last

    def _resume(self, state: State, looks: int) -> None:
        self._journal.append(RESUMED, {"actor": self._actor})  # from here on no other process can go on
        self._audit("rollout.resumed", {"looks": looks, "unwatched": self._clock() - self._collector.watched_until})
        self._apply(weights_in(self._plan, state.step), "resumed")
        self._watched_from = self._clock()

    def _note(self, decision: Decision, seen: Observation) -> None:
        if decision.action == "advance" and self._steps_since is None:
            self._collector.freeze_baselines()
            self._steps_since = seen.end

    def _look(self) -> Observation:
        now = self._clock()
        try:
            weights: dict[str, int] | None = self._backend.weights()
        except FlywheelError as error:
            logger.warning("rollout: %s", error)
            weights = None
        rows = self._usage(self._collector.watched_until - self._plan.lookback_seconds, now)
        seen = self._collector.look(rows, self._watched_from, now, weights, self._steps_since)
        self._watched_from = now
        return replace(seen, pods=self._pods.look() if self._pods is not None else None)

    def _usage(self, start: float, end: float) -> Sequence[Row]:
        return self._rows.usage_between(max(self._started, start), end, model=self._journal.model)

    def _conclude(self, last: Decision) -> None:
        """Put the final weights in force; the outcome, which depends on that, goes into the journal."""
        applied = self._apply(last.weights, last.rule)
        outcome = conclude(last, applied)
        if last.action == "promote" and not applied:
            self._apply(weights_for(0), outcome.rule)
        decided = {
            "ended": self._clock(),
            "applied": applied,
            "outcome": asdict(outcome),
            "baselines": {kind: asdict(baseline) for kind, baseline in self._collector.baselines.items()},
            "summary": {variant: asdict(summary) for variant, summary in self._summary().items()},
        }
        self._journal.append(DECIDED, decided)

    def _confirm(self, decided: Mapping[str, Any]) -> None:
        """Put the weights of a decision in force that an earlier process made."""
        promoted = decided["outcome"]["decision"] == "promote"
        applied = self._apply(weights_for(100 if promoted else 0), "resumed")
        if promoted and not applied:
            raise FlywheelError(
                "the router does not take over the weights of a promotion made earlier", reason="router"
            )

    def _apply(self, weights: Mapping[str, int], rule: str) -> bool:
        """Put weights in force, confirm by reading them back, and write an audit event either way."""
        applied, problem = self._put(weights)
        details = {"weights": dict(weights), "rule": rule, "versions": self._versions, "applied": applied}
        self._audit("rollout.weights", details | ({"problem": problem} if problem else {}))
        return applied

    def _put(self, weights: Mapping[str, int]) -> tuple[bool, str]:
        return put_in_force(self._backend, weights, self._sleep)

    def _summary(self) -> dict[str, VariantSummary]:
        since = self._steps_since if self._steps_since is not None else self._started
        rows = self._usage(since, self._collector.watched_until)
        watched = [row for row in rows if self._collector.watched(row)]
        return {variant: _summarise(self._versions[variant], watched, variant, self._plan) for variant in VARIANTS}


def _damaged(what: str) -> FlywheelError:
    return FlywheelError(
        f"the rollout cannot go on from its journal: {what}", fix="run the pipeline again", reason="journal"
    )


def _summarise(version: str, rows: Sequence[Row], variant: str, plan: RolloutPlan) -> VariantSummary:
    mine = [row for row in rows if row.variant == variant]
    excluded: dict[str, int] = {}
    for reason in filter(None, (exclusion(row, plan) for row in mine)):
        excluded[reason] = excluded.get(reason, 0) + 1
    errors = sum(is_error(row, plan) for row in mine if not exclusion(row, plan))
    ttft = [row.ttft_s for row in mine if row.ttft_s is not None]
    latency = [row.latency_s for row in mine if row.outcome == "ok"]
    return VariantSummary(
        version,
        len(mine),
        errors,
        excluded,
        quantile(ttft, 0.5) if ttft else None,
        quantile(ttft, 0.95) if ttft else None,
        quantile(latency, 0.5) if latency else None,
        quantile(latency, 0.95) if latency else None,
    )
