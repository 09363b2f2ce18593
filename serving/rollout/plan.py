"""What a rollout may do and what it must see first: the typed plan, with defaults that suit a laptop."""

from typing import Literal, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section

STABLE = "stable"
CANARY = "canary"
VARIANTS = (STABLE, CANARY)

LOOKBACK_DEADLINES = 4
SHORTEST_LOOKBACK_S = 120.0


class Metric(Section):
    """One comparison of canary with stable, always as a count of bad requests.

    A canary passes the metric when there is evidence that its bad rate is below ``margin`` times stable's, or below
    ``max_rate`` outright; the second speaks when bad requests are so rare on both sides that a ratio never will.
    """

    kind: Literal["errors", "ttft", "latency", "tpot"] = Field(
        description="errors: failed requests. ttft, latency, tpot: requests slower than stable's frozen quantile"
    )
    margin: float = Field(
        default=3.0, gt=1, le=100, description="ratio of bad rates that must be ruled out before promotion"
    )
    tolerated: float = Field(default=1.0, ge=1, le=50, description="ratio of bad rates that is not yet counted as harm")
    max_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="bad rate that is fine whatever stable does; latency: margin x (1 - quantile)",
    )
    quantile: float = Field(
        default=0.9, ge=0.5, lt=1, description="quantile of stable's warm-up that is frozen (latency)"
    )
    slack: float = Field(default=1.5, ge=1, le=20, description="slower than slack x quantile is bad (latency)")
    floor_seconds: float = Field(
        default=0.0, ge=0, le=600, description="anything faster than this is never bad (latency)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tolerated >= self.margin:
            raise ValueError("tolerated must be below margin: a ratio cannot be both fine and ruled out")
        if self.kind == "errors" and self.max_rate is None:
            raise ValueError("max_rate is required for errors: two error-free variants prove nothing by their ratio")
        if self.kind != "errors" and self.max_rate is None and self.absolute_rate >= 1 - 1e-9:
            raise ValueError("margin x (1 - quantile) is 1 or more: give max_rate")
        return self

    @property
    def absolute_rate(self) -> float:
        """The bad rate the absolute test rules out."""
        return self.max_rate if self.max_rate is not None else self.margin * (1 - self.quantile)


class Warmup(Section):
    """What happens before any weight moves: stable's own latencies are frozen as the yardstick."""

    requests: int = Field(default=60, ge=10, le=100_000, description="stable requests whose latencies are frozen")
    discard: int = Field(default=8, ge=0, le=10_000, description="first requests of each variant to ignore: cold start")
    max_seconds: float = Field(default=60.0, gt=0, le=86_400, description="give up as inconclusive after this long")


class Guards(Section):
    """Reasons to roll back at once, without waiting for statistics; those on pods need a cluster."""

    consecutive_unavailable: int = Field(default=5, ge=1, le=1000, description="canary connection failures in a row")
    consecutive_errors: int = Field(default=10, ge=2, le=1000, description="canary errors of any kind in a row")
    error_share: float = Field(
        default=0.05, gt=0, lt=1, description="canary error share that is unbearable together with"
    )
    error_evidence: float = Field(default=10.0, ge=1, le=1e9, description="an e-value for harm of at least this")
    unreachable_looks: int = Field(
        default=3, ge=1, le=1000, description="looks in a row without an answer from the router"
    )
    unattributed_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="requests that the router failed by itself, of those and the canary's; consecutive_unavailable "
        "of them at least",
    )
    restarts: int = Field(default=2, ge=1, le=1000, description="restarts of the canary's containers")
    not_ready_seconds: float = Field(
        default=60.0, gt=0, le=86_400, description="watched time in a row without any ready pod of the canary"
    )


def _default_metrics() -> list[Metric]:
    return [
        Metric(kind="errors", margin=2.0, max_rate=0.05),
        Metric(kind="ttft", tolerated=1.5, floor_seconds=0.1),
        Metric(kind="latency", tolerated=1.5, slack=2.0, floor_seconds=0.5),
    ]


class RolloutPlan(Section):
    """Steps, error probabilities and limits of one rollout.

    ``alpha`` bounds the chance that the tests call a canary harmful that is not worse, over the whole rollout and all
    metrics; ``beta`` the chance of promoting one that is worse than a metric's margin. Both hold at every look. The
    guard on the error share is quicker and adds at most ``1 / error_evidence``, in incidents that hit both variants.
    """

    steps: list[int] = Field(
        default=[10, 50], min_length=1, max_length=50, description="canary weights in percent, rising"
    )
    min_requests: int = Field(default=12, ge=1, le=10**7, description="canary requests a step must have counted")
    min_seconds: float = Field(default=4.0, ge=0, le=604_800, description="shortest stay in a step")
    max_seconds: float = Field(default=90.0, gt=0, le=604_800, description="longest stay in a step; then inconclusive")
    interval_seconds: float = Field(default=1.0, gt=0, le=3600, description="time between two looks")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="largest chance of a false rollback")
    beta: float = Field(default=0.05, gt=0, lt=0.5, description="largest chance of a false promotion, per metric")
    suspicion: float = Field(
        default=3.0,
        ge=1,
        description="no step up while an e-value for harm is at or above this and the evidence to pass "
        "does not outweigh it by 1 / beta",
    )
    metrics: list[Metric] = Field(default_factory=_default_metrics, min_length=1, max_length=8)
    warmup: Warmup = Warmup()
    guards: Guards = Guards()
    deadline_seconds: float = Field(
        default=30.0, gt=0, le=86_400, description="a client that leaves later than this: error"
    )
    excluded_statuses: list[int] = Field(
        default=[429], description="HTTP statuses that say nothing about a model; add 503 where vLLM sheds load"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(not 0 < step < 100 for step in self.steps):
            raise ValueError("steps: every weight must be 1 to 99; stable needs traffic to be compared with")
        if self.steps != sorted(set(self.steps)):
            raise ValueError("steps: weights must rise")
        kinds = [metric.kind for metric in self.metrics]
        if len(set(kinds)) != len(kinds):
            raise ValueError("metrics: each kind at most once")
        if "errors" not in kinds:
            raise ValueError("metrics: errors is required; a canary that answers nothing is never slow")
        if self.min_seconds >= self.max_seconds:
            raise ValueError("min_seconds must be below max_seconds")
        return self

    @property
    def by_kind(self) -> dict[str, Metric]:
        """Metrics by their kind."""
        return {metric.kind: metric for metric in self.metrics}

    @property
    def harm_limit(self) -> float:
        """E-value at which one metric alone rolls back: alpha is shared between the metrics (Bonferroni)."""
        return len(self.metrics) / self.alpha

    @property
    def pass_limit(self) -> float:
        """E-value at which one metric passes; all must, so beta is not shared (intersection-union test)."""
        return 1 / self.beta

    @property
    def lookback_seconds(self) -> float:
        """How far back each look reads: a row is dated when its request arrived but written when that has ended."""
        return max(LOOKBACK_DEADLINES * self.deadline_seconds, SHORTEST_LOOKBACK_S)

    @property
    def longest_seconds(self) -> float:
        """Upper bound on the duration of a rollout."""
        return self.warmup.max_seconds + len(self.steps) * (self.max_seconds + 2 * self.interval_seconds)


def weights_for(canary_percent: int) -> dict[str, int]:
    """Weights of both variants in percent."""
    return {STABLE: 100 - canary_percent, CANARY: canary_percent}
