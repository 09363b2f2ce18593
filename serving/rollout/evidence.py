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
class PodFacts:
    """One pod at one look.

    Attributes:
        name: Name of the pod.
        ready: Whether it is ready.
        restarts: Restarts of its containers since it was made.
        problem: Why it does not run, as Kubernetes says it (``CrashLoopBackOff``, ``Unschedulable``), or empty.
        served: Answers since the look before, by the pod's own count; None when it was not to be had.
        errors: Those with status 5xx.
        running: Requests in work.
        waiting: Requests in the queue.
        ttft_s: Mean seconds to the first token since the look before.
    """

    name: str
    ready: bool
    restarts: int = 0
    problem: str = ""
    served: int | None = None
    errors: int | None = None
    running: int | None = None
    waiting: int | None = None
    ttft_s: float | None = None


@dataclass(frozen=True)
class VariantPods:
    """The pods of one variant at one look.

    Attributes:
        wanted: Replicas there should be.
        pods: Those there are, without ones that are being deleted.
        unknown: Why the cluster could not be asked, or empty; ``pods`` says nothing then.
    """

    wanted: int
    pods: Sequence[PodFacts] = ()
    unknown: str = ""

    @property
    def ready(self) -> int:
        """Ready pods."""
        return sum(pod.ready for pod in self.pods)

    @property
    def problems(self) -> str:
        """What keeps pods from running, or empty."""
        return ", ".join(sorted({pod.problem for pod in self.pods if pod.problem}))

    @property
    def answered(self) -> MetricCount | None:
        """Answers of all pods since the look before and those with status 5xx; None when no pod could say."""
        known = [(pod.served, pod.errors) for pod in self.pods if pod.served is not None and pod.errors is not None]
        return MetricCount(sum(n for n, _ in known), sum(bad for _, bad in known)) if known else None


@dataclass(frozen=True)
class Observation:
    """Everything that one look saw; with the plan, all that a decision depends on.

    Attributes:
        start: Unix seconds, end of the look before, or when watching began again after it had stopped.
        end: Unix seconds of this look.
        weights: Weights read back from the router, or None when it did not answer.
        stable: Counts of stable.
        canary: Counts of canary.
        unavailable_run: Longest run of canary connection failures that reaches into this interval.
        error_run: Longest run of canary errors of any kind that reaches into this interval.
        warm: Stable requests measured so far for the baseline, per metric kind.
        unwatched: Seconds before ``start`` in which nobody watched; their requests are no evidence.
        unattributed: Requests that failed without reaching any variant, because the router itself gave the answer.
        pods: Pods per variant; None where there are none, as on one machine.
    """

    start: float
    end: float
    weights: Mapping[str, int] | None
    stable: VariantCounts = VariantCounts()
    canary: VariantCounts = VariantCounts()
    unavailable_run: int = 0
    error_run: int = 0
    warm: Mapping[str, int] = field(default_factory=dict)
    unwatched: float = 0.0
    unattributed: int = 0
    pods: Mapping[str, VariantPods] | None = None

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

    A row's time is its arrival but it is written at its end, so late rows are picked up by id, not by time. Between
    two looks there may be a gap in which nobody watched: what arrived in it is excluded, with a reason.

    Args:
        plan: What to count.
        versions: Expected version per variant; rows of any other version are excluded, with a reason.
        started: Unix seconds from which on somebody watches.
    """

    def __init__(self, plan: RolloutPlan, versions: Mapping[str, str], started: float) -> None:
        self._plan, self._versions = plan, versions
        self._seen: set[str] = set()
        self._gaps: list[tuple[float, float]] = []
        self._samples: dict[str, list[float]] = {m.kind: [] for m in plan.metrics if m.kind != "errors"}
        self._skipped: Counter[str] = Counter()
        self._warm = self._unavailable = self._errors = 0
        self.watched_until = started
        self.fresh: list[str] = []
        self.baselines: dict[str, Baseline] = {}

    def look(
        self,
        rows: Sequence[Row],
        start: float,
        end: float,
        weights: Mapping[str, int] | None,
        steps_since: float | None,
    ) -> Observation:
        """Count the rows that were not seen before; their ids are in ``fresh`` then.

        Args:
            rows: Rows of this model since at least the look before; known ones are ignored.
            start: Unix seconds from which on somebody watched, normally the end of the look before.
            end: Unix seconds of this look.
            weights: Weights read back from the router, None when it did not answer.
            steps_since: Unix seconds at which the first step began; None during warm-up.
        """
        unwatched = start - self.watched_until
        if unwatched > 0:
            self._gaps.append((self.watched_until, start))
        self.watched_until = end
        fresh = sorted((row for row in rows if row.request_id not in self._seen), key=lambda row: row.time)
        self.fresh = [row.request_id for row in fresh]
        self._seen.update(self.fresh)
        unavailable_run, error_run = self._runs(fresh)
        counts = {variant: self._variant(fresh, variant, steps_since) for variant in VARIANTS}
        warm = {kind: len(samples) for kind, samples in self._samples.items()} | {"errors": self._warm}
        return Observation(
            start,
            end,
            weights,
            counts[STABLE],
            counts[CANARY],
            unavailable_run,
            error_run,
            warm,
            max(0.0, unwatched),
            sum(self._is_unattributed(row, steps_since) for row in fresh),
        )

    def freeze_baselines(self) -> None:
        """End the warm-up: from here on latencies are judged against stable's frozen quantiles."""
        metrics = self._plan.by_kind
        self.baselines = {kind: freeze(metrics[kind], samples) for kind, samples in self._samples.items()}

    def watched(self, row: Row) -> bool:
        """Whether somebody watched when a request arrived."""
        return not any(start <= row.time < end for start, end in self._gaps)

    def _is_unattributed(self, row: Row, steps_since: float | None) -> bool:
        if row.variant in VARIANTS or row.outcome not in FAILED_OUTCOMES or exclusion(row, self._plan):
            return False
        return self.watched(row) and row.time >= (steps_since or 0.0)

    def _variant(self, fresh: Sequence[Row], variant: str, steps_since: float | None) -> VariantCounts:
        rows = [row for row in fresh if row.variant == variant]
        watched = [row for row in rows if self.watched(row)]
        # A request that no server answered has no version, but is this variant's all the same.
        kept = [row for row in watched if row.version in ("", self._versions[variant])]
        excluded = Counter({"unwatched": len(rows) - len(watched), "other_version": len(watched) - len(kept)})
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
            if row.variant != CANARY or exclusion(row, self._plan) or not self.watched(row):
                continue
            self._unavailable = self._unavailable + 1 if row.outcome == "unavailable" else 0
            self._errors = self._errors + 1 if is_error(row, self._plan) else 0
            longest_unavailable = max(longest_unavailable, self._unavailable)
            longest_error = max(longest_error, self._errors)
        return longest_unavailable, longest_error
