"""The gate: whether a dataset may go on."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from llm_flywheel.components.scan_pii.spans import PiiType


class Verdict(NamedTuple):
    """The gate's answer.

    Attributes:
        passed: Whether nothing remains that is not allowed.
        reason: Why, as the pipeline shows it.
    """

    passed: bool
    reason: str


def decide(remaining: Mapping[PiiType, int], allowed_types: Collection[PiiType] = ()) -> Verdict:
    """Judge what a second scan found in the finished dataset.

    Args:
        remaining: Unmasked spans by type.
        allowed_types: Types that may remain.

    Returns:
        Failed with counts, the most frequent type first, when a type remains that is not allowed.
    """
    left = {kind: count for kind, count in remaining.items() if count and kind not in allowed_types}
    if left:
        total = sum(left.values())
        noun = "span remains" if total == 1 else "spans remain"
        return Verdict(False, f"{total:,} unmasked PII {noun} ({_listed(left)})")
    allowed = {kind: count for kind, count in remaining.items() if count}
    return Verdict(True, f"only allowed PII remains ({_listed(allowed)})" if allowed else "no unmasked PII")


def _listed(counts: Mapping[PiiType, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count:,}" for kind, count in ordered)
