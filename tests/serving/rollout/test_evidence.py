import pytest

from llm_flywheel.serving.ledger.records import UsageRow
from llm_flywheel.serving.rollout.evidence import (
    Baseline,
    Collector,
    MetricCount,
    count,
    exclusion,
    freeze,
    is_error,
    quantile,
    seconds,
)
from llm_flywheel.serving.rollout.plan import Metric, RolloutPlan, Warmup

PLAN = RolloutPlan(deadline_seconds=30, warmup=Warmup(requests=10, discard=1))


def row(request_id="r", outcome="ok", *, variant="canary", version="2", time=0.0, ttft=0.1, latency=0.5, status=200):
    return UsageRow(
        time=time, request_id=request_id, model="m", version=version, variant=variant, outcome=outcome,
        ttft_s=ttft, latency_s=latency, status=status, completion_tokens=5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "reason", "error"),
    [
        (row(), "", False),
        (row(outcome="upstream_error", status=502), "", True),
        (row(outcome="timeout", status=504), "", True),
        (row(outcome="unavailable", status=503), "", True),
        (row(outcome="client_error", status=400), "client_error", False),
        (row(outcome="upstream_error", status=429), "status_429", True),
        (row(outcome="aborted", latency=2.0, status=499), "aborted_early", False),
        (row(outcome="aborted", latency=31.0, status=499), "", True),
    ],
)
def test_what_is_judged_and_what_is_an_error(seen, reason, error):
    assert (exclusion(seen, PLAN), is_error(seen, PLAN)) == (reason, error)


def test_durations_per_kind():
    seen = row(ttft=0.1, latency=0.5)
    assert [seconds(seen, kind) for kind in ("ttft", "latency", "tpot")] == [0.1, 0.5, pytest.approx(0.1)]
    assert seconds(row(outcome="unavailable"), "latency") is None
    assert seconds(row(ttft=None), "tpot") is None


def test_a_quantile_is_a_sample():
    assert [quantile([3.0, 1.0, 2.0, 4.0], q) for q in (0.5, 0.75, 0.9)] == [2.0, 3.0, 4.0]


def test_the_threshold_is_the_quantile_times_slack_but_not_below_the_floor():
    samples = [0.01 * i for i in range(1, 11)]
    assert freeze(Metric(kind="ttft", slack=2.0), samples).threshold == pytest.approx(0.18)
    assert freeze(Metric(kind="ttft", slack=2.0, floor_seconds=0.5), samples).threshold == 0.5


def test_counts_keep_bad_judged_and_excluded_apart():
    rows = [row("a"), row("b", ttft=0.3), row("c", "upstream_error", ttft=None), row("d", "client_error", status=400)]
    counts = count(rows, PLAN, {"ttft": Baseline((0.1,), 0.2)})
    assert counts.requests == 4
    assert counts.excluded == {"client_error": 1}
    assert counts.metrics == {"errors": MetricCount(3, 1), "ttft": MetricCount(2, 1), "latency": MetricCount(0, 0)}


def collector() -> Collector:
    return Collector(PLAN, {"stable": "1", "canary": "2"}, started=0.0)


def test_a_row_counts_once_even_when_it_is_seen_again_or_arrives_late():
    made = collector()
    first = made.look([row("a", time=1.0)], 0.0, 2.0, {}, 0.0)
    second = made.look([row("late", time=0.5), row("a", time=1.0), row("b", time=2.5)], 2.0, 3.0, {}, 0.0)
    assert (first.canary.requests, second.canary.requests) == (1, 2)


def test_the_warm_up_keeps_stables_latencies_without_the_first_ones():
    made = collector()
    rows = [row(f"s{i}", variant="stable", version="1", ttft=9.0 if i == 0 else 0.1, time=i) for i in range(5)]
    seen = made.look([*rows, row("c")], 0.0, 5.0, {}, None)
    made.freeze_baselines()
    assert seen.warm == {"errors": 4, "ttft": 4, "latency": 4}
    assert seen.canary.excluded == {"warm_up": 1}
    assert made.baselines["ttft"].samples == (0.1, 0.1, 0.1, 0.1)


def test_requests_that_began_in_the_warm_up_are_not_judged_later():
    seen = collector().look([row("early", time=9.0), row("late", time=10.0)], 0.0, 11.0, {}, 10.0)
    assert seen.canary.excluded == {"warm_up": 1}
    assert seen.canary.metrics["errors"].n == 1


def test_runs_of_failures_carry_over_from_look_to_look():
    made = collector()
    dead = [row(f"x{i}", "unavailable", time=i, version="") for i in range(5)]
    assert made.look(dead[:3], 0.0, 3.0, {}, 0.0).unavailable_run == 3
    assert made.look(dead[3:], 3.0, 5.0, {}, 0.0).unavailable_run == 5
    after = made.look([row("ok", time=6.0), row("y", "timeout", time=7.0)], 5.0, 8.0, {}, 0.0)
    assert (after.unavailable_run, after.error_run) == (0, 1)


def test_what_arrived_while_nobody_watched_is_excluded_whenever_it_is_written():
    made = collector()
    made.look([row("a", time=1.0)], 0.0, 2.0, {}, 0.0)
    late, gap = row("late", time=1.5), row("gap", "unavailable", time=5.0, version="")
    seen = made.look([late, gap, row("b", time=11.0)], 10.0, 12.0, {}, 0.0)
    after = made.look([row("written late", time=9.0)], 12.0, 13.0, {}, 0.0)
    assert (seen.unwatched, seen.canary.excluded, seen.unavailable_run) == (8.0, {"unwatched": 1}, 0)
    assert seen.canary.metrics["errors"] == MetricCount(2, 0)
    assert (after.unwatched, after.canary.excluded) == (0.0, {"unwatched": 1})


def test_only_failures_without_a_variant_are_unattributed():
    rows = [
        row("router", "unavailable", variant="", version="", status=503),
        row("caller", "client_error", variant="", version="", status=400),
        row("canary", "unavailable", version=""),
        row("quota", "upstream_error", variant="", version="", status=429),
    ]
    assert collector().look(rows, 0.0, 2.0, {}, 0.0).unattributed == 1
