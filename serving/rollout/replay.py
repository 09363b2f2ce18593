"""Replay: recompute every decision of a stored rollout from its counts, and say loudly what does not reproduce."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.decision import Decision, Outcome, conclude, decide, start
from llm_flywheel.serving.rollout.evidence import freeze
from llm_flywheel.serving.rollout.plan import RolloutPlan
from llm_flywheel.serving.rollout.record import digest, observation, read

# Sums of logarithms differ in the last bits between machines; nothing a person could call a change is that small.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    Attributes:
        ok: Whether everything reproduced.
        model: Model of the rollout.
        decision: Recomputed outcome: ``promote``, ``rollback`` or ``hold``.
        rule: Recomputed rule.
        reason: The same in words.
        looks: Number of decisions recomputed.
        stored_decision: The outcome the record claims.
        mismatches: What did not reproduce, one sentence each.
    """

    ok: bool
    model: str
    decision: str
    rule: str
    reason: str
    looks: int
    stored_decision: str
    mismatches: list[str] = field(default_factory=list)


def replay_file(path: Path) -> ReplayResult:
    """Replay an evidence file.

    Raises:
        FlywheelError: It cannot be read, or is not an evidence record.
    """
    try:
        return replay(read(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FlywheelError(
            f"the evidence record is damaged: {type(error).__name__}: {error}", where=str(path), reason="damaged"
        ) from None


def replay(stored: Mapping[str, Any]) -> ReplayResult:
    """Fold the stored observations through the decision again and compare.

    Args:
        stored: A record as `record.read` returns it.
    """
    wrong: list[str] = []
    if stored.get("digest") != digest(stored):
        wrong.append("the digest does not fit: something in the record was changed after it was written")
    plan = RolloutPlan.model_validate(stored["plan"])
    wrong += _baselines(plan, stored["baselines"])
    state, last = start(plan, stored["started"]), None
    for index, look in enumerate(stored["looks"]):
        if last is not None and last.final:
            wrong.append(f"look {index}: the recomputed rollout had ended before, with {last.action}")
            break
        state, last = decide(plan, state, observation(look["seen"]))
        wrong += [f"look {index}: {text}" for text in differences(last, look["decision"])]
    if last is None:
        raise FlywheelError("the evidence record has no observations", reason="damaged")
    if not last.final:
        wrong.append("the recomputed rollout does not come to an end")
    outcome = conclude(last, stored["applied"]) if last.final else Outcome("hold", last.rule, last.reason)
    claimed = stored["outcome"]
    for name in ("decision", "rule"):
        if claimed[name] != getattr(outcome, name):
            wrong.append(f"outcome: {name} is {claimed[name]!r}, recomputed {getattr(outcome, name)!r}")
    return ReplayResult(
        not wrong,
        stored["model"],
        outcome.decision,
        outcome.rule,
        outcome.reason,
        len(stored["looks"]),
        claimed["decision"],
        wrong,
    )


def _baselines(plan: RolloutPlan, stored: Mapping[str, Any]) -> list[str]:
    metrics = plan.by_kind
    return [
        f"baseline {kind}: threshold is {value['threshold']}, recomputed {made.threshold}"
        for kind, value in stored.items()
        for made in [freeze(metrics[kind], value["samples"])]
        if not math.isclose(made.threshold, value["threshold"], rel_tol=TOLERANCE)
    ]


def differences(made: Decision, stored: Mapping[str, Any]) -> list[str]:
    """What a recomputed decision and a stored one do not share, one sentence each."""
    mine = asdict(made)
    texts = [
        f"{name} is {stored[name]!r}, recomputed {mine[name]!r}"
        for name in ("action", "rule", "weights", "step")
        if stored[name] != mine[name]
    ]
    for name in ("log_harm", "log_pass"):
        if set(stored[name]) != set(mine[name]):
            texts.append(f"{name} has metrics {sorted(stored[name])}, recomputed {sorted(mine[name])}")
            continue
        texts += [
            f"{name}[{kind}] is {stored[name][kind]}, recomputed {value}"
            for kind, value in mine[name].items()
            if not math.isclose(value, stored[name][kind], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        ]
    return texts
