"""The rollout report: evidence over requests, weights over time, counts per variant, the decision in words."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from llm_flywheel.components.common.report import Page
from llm_flywheel.serving.rollout.evidence import PodFacts
from llm_flywheel.serving.rollout.plan import CANARY, VARIANTS, Metric
from llm_flywheel.serving.rollout.record import Look, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#2f6fde", "#d9730d", "#1a7f37", "#8250df", "#cf222e", "#57606a", "#0598bc", "#bf3989")
LINES = ("-", "--", "-.", ":")
# E-values beyond this say nothing more to the eye.
LARGEST_E, SMALLEST_E = 1e6, 1e-4

WORDS = {
    "promote": "Canary promoted: every metric was proven to be no worse than its margin allows.",
    "rollback": "Rolled back to stable.",
    "hold": "Held: nothing was proven, so stable keeps the traffic and no alias moved.",
}


def build(record: Record, traffic: Mapping[str, int], traffic_error: str = "") -> Page:
    """Build the page.

    Args:
        record: A finished rollout.
        traffic: Outcomes as the traffic client saw them; empty when it was off.
        traffic_error: Why the client stopped early, or empty.
    """
    seconds = record.ended - record.started
    page = Page(
        f"Rollout of {record.model} {record.versions[CANARY]}",
        f"canary {record.versions['canary']} against stable {record.versions['stable']}, {seconds:.0f} s",
    )
    page.verdict(record.outcome.decision == "promote", WORDS[record.outcome.decision])
    page.text(f"Reason ({record.outcome.rule}): {record.outcome.reason}.")
    _variants(page, record)
    _metrics(page, record)
    steps = [look for look in record.looks if look.decision.step >= 0]
    if steps:
        page.heading("Evidence")
        page.figure(
            evidence_figure(record, steps),
            "E-values over judged requests, on a log scale. Left: evidence of harm; reaching the line rolls back. "
            "Right: evidence of non-inferiority; every metric must be above the line for promotion.",
        )
    page.heading("Weights")
    page.figure(
        weights_figure(record),
        "Canary share of the traffic, as read back from the router at every look. Shaded: nobody watched.",
    )
    _interruptions(page, record)
    _pods(page, record)
    _decisions(page, record)
    if traffic or traffic_error:
        page.heading("Traffic client")
        page.table(["outcome", "requests"], [[key, value] for key, value in sorted(traffic.items())])
        if traffic_error:
            page.text(f"The client stopped early: {traffic_error}")
    return page


def _variants(page: Page, record: Record) -> None:
    page.heading("Variants over the same period (warm-up left out)")
    rows = []
    for variant in VARIANTS:
        item = record.summary[variant]
        excluded = ", ".join(f"{reason} {n}" for reason, n in sorted(item.excluded.items())) or "-"
        times = (item.ttft_p50_s, item.ttft_p95_s, item.latency_p50_s, item.latency_p95_s)
        rows.append([variant, item.version, item.requests, item.errors, excluded, *map(_ms, times)])
    header = [
        "variant",
        "version",
        "requests",
        "errors",
        "not judged",
        "TTFT p50",
        "TTFT p95",
        "total p50",
        "total p95",
    ]
    page.table(header, rows)


def _metrics(page: Page, record: Record) -> None:
    page.heading("Metrics")
    last = record.looks[-1].decision
    rows = [
        [
            metric.kind,
            _meaning(metric, record),
            *(_counted(record, variant, metric.kind) for variant in VARIANTS),
            show_e(last.log_harm[metric.kind]),
            show_e(last.log_pass[metric.kind]),
        ]
        for metric in record.plan.metrics
    ]
    limits = f"(limit {record.plan.harm_limit:g})", f"(limit {record.plan.pass_limit:g})"
    page.table(
        ["metric", "bad means", "stable bad/judged", "canary bad/judged", f"e harm {limits[0]}", f"e pass {limits[1]}"],
        rows,
    )


def _meaning(metric: Metric, record: Record) -> str:
    passing = f"pass: below {metric.margin:g} x stable or below {metric.absolute_rate:.0%}"
    if metric.kind == "errors":
        return f"failed; {passing}"
    baseline = record.baselines.get(metric.kind)
    if baseline is None:
        return f"not frozen; {passing}"
    return (
        f"slower than {_ms(baseline.threshold)} ({metric.slack:g} x p{metric.quantile * 100:g} of "
        f"{len(baseline.samples)} stable warm-up requests, at least {_ms(metric.floor_seconds)}); {passing}"
    )


def _counted(record: Record, variant: str, kind: str) -> str:
    counts = [look.seen.of(variant).metrics.get(kind) for look in record.looks if look.decision.step >= 0]
    judged = sum(count.n for count in counts if count)
    return f"{sum(count.bad for count in counts if count)}/{judged}"


def _interruptions(page: Page, record: Record) -> None:
    found = [look for look in record.looks if look.seen.unwatched]
    if not found:
        return
    page.heading("Interruptions")
    page.text("Nobody watched before each of these moments; requests of that time are no evidence.")
    rows = [
        [
            f"{look.seen.start - record.started:.1f} s",
            f"{look.seen.unwatched:.1f} s",
            sum(look.seen.of(variant).excluded.get("unwatched", 0) for variant in VARIANTS),
            look.decision.weights[CANARY],
        ]
        for look in found
    ]
    page.table(["went on at", "not watched for", "requests left out", "canary %"], rows)


def _pods(page: Page, record: Record) -> None:
    """What the pods say, beside what the gateway recorded of the same time."""
    lost = sum(look.seen.unattributed for look in record.looks)
    if lost:
        page.text(f"Requests that the router failed by itself, so that no variant is known: {lost}.")
    known = [look.seen for look in record.looks if look.seen.pods is not None]
    if not known:
        return
    page.heading("Pods")
    rows, totals = [], []
    for variant in VARIANTS:
        looks = [seen.pods[variant] for seen in known if seen.pods is not None]
        facts = [pod for look in looks for pod in look.pods]
        for name in dict.fromkeys(pod.name for pod in facts):
            mine = [pod for pod in facts if pod.name == name]
            last = mine[-1]
            gone = "" if any(pod.name == name for pod in looks[-1].pods) else "gone"
            ttft = [pod.ttft_s for pod in mine if pod.ttft_s is not None]
            mean = sum(ttft) / len(ttft) if ttft else None
            problem = ", ".join(dict.fromkeys(pod.problem for pod in mine if pod.problem)) or "-"
            state = gone or ("ready" if last.ready else "not ready")
            rows.append([variant, name, state, last.restarts, problem, *_answers(mine), _ms(mean)])
        recorded = sum(look.seen.of(variant).requests for look in record.looks)
        totals.append([variant, recorded, *_answers(facts)])
    page.table(["variant", "pod", "at the end", "restarts", "problems", "answers", "5xx", "mean TTFT"], rows)
    page.text(
        "Of the same time: what the gateway recorded, and what the pods counted. Many more answers than records mean "
        "that somebody asks the pods without the gateway."
    )
    page.table(["variant", "recorded by the gateway", "answered by pods", "5xx by pods"], totals)


def _answers(facts: Sequence[PodFacts]) -> tuple[int | str, int | str]:
    """Answers and 5xx of pods over several looks."""
    served = [pod.served for pod in facts if pod.served is not None]
    errors = [pod.errors for pod in facts if pod.errors is not None]
    return (sum(served), sum(errors)) if served else ("no data", "no data")


def _decisions(page: Page, record: Record) -> None:
    page.heading("Decisions")
    rows = [
        [
            f"{look.seen.end - record.started:.1f} s",
            "warm-up" if look.decision.step < 0 else f"{record.plan.steps[look.decision.step]} %",
            look.decision.action,
            look.decision.rule,
            look.decision.reason,
        ]
        for look in record.looks
        if look.decision.action != "hold"
    ]
    page.table(["at", "step", "action", "rule", "reason"], rows)


def evidence_figure(record: Record, looks: Sequence[Look]) -> "Figure":
    """E-values over judged requests: harm on the left, non-inferiority on the right."""
    from matplotlib.figure import Figure

    per_look = [sum(look.seen.of(variant).metrics["errors"].n for variant in VARIANTS) for look in looks]
    requests = [0, *accumulate(per_look)]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, name, limit, title in (
        (panels[0], "log_harm", record.plan.harm_limit, "evidence of harm"),
        (panels[1], "log_pass", record.plan.pass_limit, "evidence of non-inferiority"),
    ):
        for index, metric in enumerate(record.plan.metrics):
            values = [1.0, *(_clipped(getattr(look.decision, name)[metric.kind]) for look in looks)]
            style = LINES[index % len(LINES)]  # lines that lie on each other stay visible
            axes.plot(requests, values, color=COLOURS[index], label=metric.kind, linestyle=style)
        axes.axhline(limit, color="#444", linestyle="--", linewidth=1)
        axes.annotate(f"{limit:g}", (0, limit), xytext=(3, 3), textcoords="offset points", fontsize=8, color="#444")
        axes.set_yscale("log")
        axes.set(title=title, xlabel="judged requests, both variants", ylabel="e-value", xlim=(0, requests[-1] or 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return figure


def weights_figure(record: Record) -> "Figure":
    """Canary weight in force over time."""
    from matplotlib.figure import Figure

    known = [look for look in record.looks if look.seen.weights is not None]
    times = [0.0, *(look.seen.end - record.started for look in known)]
    weights = [0] + [look.seen.weights.get(CANARY, 0) for look in known if look.seen.weights is not None]
    if record.applied:
        end = record.ended - record.started
        times += [end, end * 1.05]  # a little further, so that the last change can be seen
        weights += [record.looks[-1].decision.weights[CANARY]] * 2
    figure = Figure(figsize=(9, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.step(times, weights, where="post", color=COLOURS[0])
    for look in record.looks:
        if look.seen.unwatched:
            end = look.seen.start - record.started
            axes.axvspan(end - look.seen.unwatched, end, color="#8884", linewidth=0)
    axes.set(xlabel="seconds", ylabel="canary %", ylim=(-3, 103))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def show_e(log_value: float) -> str:
    """An e-value for a table, from its natural log."""
    return f"{math.exp(log_value):.3g}" if abs(log_value) < 20 else f"1e{log_value / math.log(10):.0f}"


def _clipped(log_value: float) -> float:
    return min(LARGEST_E, max(SMALLEST_E, math.exp(min(log_value, 50.0))))


def _ms(seconds: float | None) -> str:
    return "no data" if seconds is None else f"{seconds * 1000:.0f} ms"
