"""From usage rows to counts: which requests say something about a variant, and which of those were bad."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llm_flywheel.serving.rollout.plan import CANARY, STABLE, VARIANTS, Metric, RolloutPlan

# Answers whose duration means something; a client error is fast and a connection failure never started.
TIMED_OUTCOMES = ("ok", "timeout", "aborted")
FAILED_OUTCOMES = ("upstream_error", "timeout", "unavailable")


class Row(Protocol):
    """What is read from one usage row; the ledger's `UsageRow` has it."""

    @property
    def time(self) -> float:
        """Arrival, Unix seconds."""

    @property
    def request_id(self) -> str:
        """Unique id."""

    @property
    def version(self) -> str:
        """Version that answered."""

    @property
    def variant(self) -> str:
        """``stable``, ``canary`` or empty."""

    @property
    def completion_tokens(self) -> int | None:
        """Generated tokens, if known."""

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first token, if streamed."""

    @property
    def latency_s(self) -> float:
        """Seconds to the end."""

    @property
    def outcome(self) -> str:
        """One of the ledger's outcomes."""

    @property
    def status(self) -> int:
        """HTTP status the caller got."""


@dataclass(frozen=True)
class MetricCount:
    """Requests a metric could judge, and how many it found bad."""

    n: int = 0
    bad: int = 0


@dataclass(frozen=True)
class VariantCounts:
    """One variant in one interval.

    Attributes:
        requests: All rows, also those no metric judges.
        outcomes: Rows per outcome.
        excluded: Rows that say nothing about the model, per reason.
        metrics: Counts per metric kind.
    """

    requests: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    excluded: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, MetricCount] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """Everything that one look saw; with the plan, all that a decision depends on.

    Attributes:
        start: Unix seconds, end of the look before.
        end: Unix seconds of this look.
        weights: Weights read back from the router, or None when it did not answer.
        stable: Counts of stable.
        canary: Counts of canary.
        unavailable_run: Longest run of canary connection failures that reaches into this interval.
        error_run: Longest run of canary errors of any kind that reaches into this interval.
        warm: Stable requests measured so far for the baseline, per metric kind.
    """

    start: float
    end: float
    weights: Mapping[str, int] | None
    stable: VariantCounts = VariantCounts()
    canary: VariantCounts = VariantCounts()
    unavailable_run: int = 0
    error_run: int = 0
    warm: Mapping[str, int] = field(default_factory=dict)

    def of(self, variant: str) -> VariantCounts:
        """Counts of one variant."""
        return self.canary if variant == CANARY else self.stable


@dataclass(frozen=True)
class Baseline:
    """Stable's warm-up latencies of one metric and the threshold frozen from them (seconds)."""

    samples: tuple[float, ...]
    threshold: float


def quantile(samples: Sequence[float], q: float) -> float:
    """The smallest sample that at least a share ``q`` of the samples does not exceed (inverse of the ECDF)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def freeze(metric: Metric, samples: Sequence[float]) -> Baseline:
    """Freeze the threshold above which a request is slow."""
    value = max(quantile(samples, metric.quantile) * metric.slack, metric.floor_seconds)
    return Baseline(tuple(samples), value)


def exclusion(row: Row, plan: RolloutPlan) -> str:
    """Why a row says nothing about the model, or an empty string.

    Client errors and quota refusals are the caller's; a client that leaves before the deadline may just have closed
    the window (SLI definition of ops.md, section 4).
    """
    if row.status in plan.excluded_statuses:
        return f"status_{row.status}"
    if row.outcome == "client_error":
        return "client_error"
    if row.outcome == "aborted" and row.latency_s < plan.deadline_seconds:
        return "aborted_early"
    return ""


def is_error(row: Row, plan: RolloutPlan) -> bool:
    """Whether a row that is not excluded counts as a failed request."""
    return row.outcome in FAILED_OUTCOMES or (row.outcome == "aborted" and row.latency_s >= plan.deadline_seconds)


def seconds(row: Row, kind: str) -> float | None:
    """The duration a latency metric judges, or None when this row has none."""
    if row.outcome not in TIMED_OUTCOMES:
        return None
    if kind == "ttft":
        return row.ttft_s
    if kind == "latency":
        return row.latency_s
    if row.ttft_s is None or row.completion_tokens is None or row.completion_tokens < 2:
        return None
    return (row.latency_s - row.ttft_s) / (row.completion_tokens - 1)


def count(rows: Iterable[Row], plan: RolloutPlan, baselines: Mapping[str, Baseline]) -> VariantCounts:
    """Count one variant's rows; a latency metric without a frozen baseline judges nothing."""
    requests, outcomes, excluded = 0, Counter[str](), Counter[str]()
    n, bad = Counter[str](), Counter[str]()
    for row in rows:
        requests += 1
        outcomes[row.outcome] += 1
        reason = exclusion(row, plan)
        if reason:
            excluded[reason] += 1
            continue
        for metric in plan.metrics:
            verdict = _is_bad(row, metric, plan, baselines)
            if verdict is not None:
                n[metric.kind] += 1
                bad[metric.kind] += verdict
    metrics: dict[str, MetricCount] = {
        metric.kind: MetricCount(n[metric.kind], bad[metric.kind]) for metric in plan.metrics
    }
    return VariantCounts(requests, dict(outcomes), dict(excluded), metrics)


def _is_bad(row: Row, metric: Metric, plan: RolloutPlan, baselines: Mapping[str, Baseline]) -> bool | None:
    if metric.kind == "errors":
        return is_error(row, plan)
    value, baseline = seconds(row, metric.kind), baselines.get(metric.kind)
    return None if value is None or baseline is None else value > baseline.threshold


class Collector:
    """Turns the ledger's rows into one observation per look; each row counts once.

    A row's time is its arrival but it is written at its end, so late rows are picked up by id, not by time.

    Args:
        plan: What to count.
        versions: Expected version per variant; rows of any other version are excluded, with a reason.
    """

    def __init__(self, plan: RolloutPlan, versions: Mapping[str, str]) -> None:
        self._plan, self._versions = plan, versions
        self._seen: set[str] = set()
        self._samples: dict[str, list[float]] = {m.kind: [] for m in plan.metrics if m.kind != "errors"}
        self._skipped: Counter[str] = Counter()
        self._warm = self._unavailable = self._errors = 0
        self.baselines: dict[str, Baseline] = {}

    def look(
        self,
        rows: Sequence[Row],
        start: float,
        end: float,
        weights: Mapping[str, int] | None,
        steps_since: float | None,
    ) -> Observation:
        """Count the rows that were not seen before.

        Args:
            rows: Rows of this model since at least the look before; known ones are ignored.
            start: Unix seconds of the look before.
            end: Unix seconds of this look.
            weights: Weights read back from the router, None when it did not answer.
            steps_since: Unix seconds at which the first step began; None during warm-up.
        """
        fresh = sorted((row for row in rows if row.request_id not in self._seen), key=lambda row: row.time)
        self._seen.update(row.request_id for row in fresh)
        unavailable_run, error_run = self._runs(fresh)
        counts = {variant: self._variant(fresh, variant, steps_since) for variant in VARIANTS}
        warm = {kind: len(samples) for kind, samples in self._samples.items()} | {"errors": self._warm}
        return Observation(start, end, weights, counts[STABLE], counts[CANARY], unavailable_run, error_run, warm)

    def freeze_baselines(self) -> None:
        """End the warm-up: from here on latencies are judged against stable's frozen quantiles."""
        metrics = self._plan.by_kind
        self.baselines = {kind: freeze(metrics[kind], samples) for kind, samples in self._samples.items()}

    def _variant(self, fresh: Sequence[Row], variant: str, steps_since: float | None) -> VariantCounts:
        rows = [row for row in fresh if row.variant == variant]
        # A request that no server answered has no version, but is this variant's all the same.
        kept = [row for row in rows if row.version in ("", self._versions[variant])]
        excluded = Counter({"other_version": len(rows) - len(kept)})
        if steps_since is None:
            excluded["warm_up"] = self._warm_up(kept, variant)
            kept = []
        else:
            started = [row for row in kept if row.time >= steps_since]
            excluded["warm_up"] = len(kept) - len(started)
            kept = started
        counted = count(kept, self._plan, self.baselines)
        excluded.update(counted.excluded)
        outcomes = dict(Counter(row.outcome for row in rows))
        return VariantCounts(len(rows), outcomes, {k: v for k, v in excluded.items() if v}, counted.metrics)

    def _warm_up(self, rows: Sequence[Row], variant: str) -> int:
        """Keep stable's latencies, after the cold ones, as samples of the baseline."""
        for row in rows:
            if self._skipped[variant] < self._plan.warmup.discard:
                self._skipped[variant] += 1
            elif variant == STABLE and row.outcome == "ok":
                self._warm += 1
                for kind, samples in self._samples.items():
                    value = seconds(row, kind)
                    if value is not None:
                        samples.append(value)
        return len(rows)

    def _runs(self, fresh: Sequence[Row]) -> tuple[int, int]:
        """Longest runs of canary failures in this interval, carried over from the one before."""
        longest_unavailable = longest_error = 0
        for row in fresh:
            if row.variant != CANARY or exclusion(row, self._plan):
                continue
            self._unavailable = self._unavailable + 1 if row.outcome == "unavailable" else 0
            self._errors = self._errors + 1 if is_error(row, self._plan) else 0
            longest_unavailable = max(longest_unavailable, self._unavailable)
            longest_error = max(longest_error, self._errors)
        return longest_unavailable, longest_error
