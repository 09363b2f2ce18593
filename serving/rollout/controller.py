"""The loop: set weights, wait, look, decide, act, and keep everything that was seen."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
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
from llm_flywheel.serving.rollout.evidence import Collector, Observation, Row, exclusion, is_error, quantile
from llm_flywheel.serving.rollout.plan import VARIANTS, RolloutPlan, weights_for
from llm_flywheel.serving.rollout.record import Look, Record, VariantSummary

logger = logging.getLogger(__name__)


class RowSource(Protocol):
    """Where usage rows come from; the ledger has it."""

    def usage_between(self, start: float, end: float, model: str | None = None) -> Sequence[Row]:
        """Rows of ``model`` with ``start <= time < end``, Unix seconds."""


Audit = Callable[[str, Mapping[str, Any]], None]
OnLook = Callable[[State, Observation, Decision], None]


class Controller:
    """Runs one rollout to its end; whatever happens, traffic ends up on stable unless the canary was promoted.

    Args:
        plan: Steps and limits.
        backend: Where weights are put in force.
        rows: Usage rows, one per request.
        model: Served model name.
        versions: Registered version per variant.
        audit: Called with action and details for every change of weights; must be durable when it returns.
        actor: Who runs it.
        run_id: Pipeline run, or empty.
        on_look: Called after every look, for progress and for the traffic client.
        clock: Unix seconds.
        sleep: Waits seconds.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        backend: TrafficBackend,
        rows: RowSource,
        *,
        model: str,
        versions: Mapping[str, str],
        audit: Audit,
        actor: str = "",
        run_id: str = "",
        on_look: OnLook | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan, self._backend, self._rows = plan, backend, rows
        self._model, self._versions, self._audit = model, dict(versions), audit
        self._actor, self._run_id, self._on_look = actor, run_id, on_look
        self._clock, self._sleep = clock, sleep
        self._collector = Collector(plan, versions)
        self._looks: list[Look] = []
        self._steps_since: float | None = None

    def run(self) -> Record:
        """Watch and act until a final decision.

        Raises:
            FlywheelError: The ledger cannot be read or written; traffic is back on stable before this is raised.
        """
        self._started = self._clock()
        try:
            last = self._watch()
            applied = self._apply(last.weights, last.rule)
            outcome = conclude(last, applied)
            if last.action == "promote" and not applied:
                self._apply(weights_for(0), outcome.rule)
        except BaseException:
            # Also for Ctrl-C: a process that no longer watches must not leave a canary in the traffic.
            self._put(weights_for(0))
            raise
        return Record(
            self._model,
            self._versions,
            self._run_id,
            self._actor,
            self._started,
            self._clock(),
            self._plan,
            self._collector.baselines,
            self._looks,
            applied,
            outcome,
            self._summary(),
        )

    def _watch(self) -> Decision:
        state, previous = start(self._plan, self._started), self._started
        self._apply(weights_in(self._plan, WARM_UP), "start")
        while True:
            self._sleep(self._plan.interval_seconds)
            seen = self._look(previous)
            previous = seen.end
            state, decision = decide(self._plan, state, seen)
            self._looks.append(Look(seen, decision))
            if decision.action == "advance":
                if self._steps_since is None:
                    self._collector.freeze_baselines()
                    self._steps_since = seen.end
                # A router that does not take the weights over shows at the next look, as a mismatch or as silence.
                self._apply(decision.weights, decision.rule)
            if self._on_look is not None:
                self._on_look(state, seen, decision)
            if decision.final:
                return decision

    def _look(self, previous: float) -> Observation:
        now = self._clock()
        try:
            weights: dict[str, int] | None = self._backend.weights()
        except FlywheelError as error:
            logger.warning("rollout: %s", error)
            weights = None
        since = max(self._started, previous - self._plan.lookback_seconds)
        rows = self._rows.usage_between(since, now, model=self._model)
        return self._collector.look(rows, previous, now, weights, self._steps_since)

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
        rows = self._rows.usage_between(since, self._clock(), model=self._model)
        return {variant: _summarise(self._versions[variant], rows, variant, self._plan) for variant in VARIANTS}


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
