"""What every benchmark prints: one JSON line per measurement and per goal on standard output."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Lines:
    """Prints the lines of one benchmark.

    Attributes:
        bench: Its name.
    """

    bench: str

    def emit(
        self, metric: str, value: float, unit: str, peer: str | None = None, peer_value: float | None = None
    ) -> None:
        """Print one measurement; its ratio is ours over the peer's."""
        ratio = value / peer_value if peer_value else None
        numbers = [None if number is None else float(f"{number:.5g}") for number in (value, peer_value, ratio)]
        line = {"bench": self.bench, "metric": metric, "value": numbers[0], "unit": unit}
        print(json.dumps({**line, "peer": peer, "peer_value": numbers[1], "ratio": numbers[2]}), flush=True)

    def goals(self, goals: Iterable["Goal"]) -> None:
        """Print whether each goal is met, or by how much it is missed; to people on standard error."""
        for goal in goals:
            met = goal.missed_by == 0
            line = {"goal": goal.name, "value": float(f"{goal.value:.5g}"), "target": goal.target, "aim": goal.aim}
            print(json.dumps({"bench": self.bench, **line, "met": met, "missed_by": float(f"{goal.missed_by:.3g}")}))
            bound = f"{'at most' if goal.at_most else 'at least'} {goal.target:g}"
            verdict = "met" if met else f"missed by {goal.missed_by:.3g}"
            print(f"goal {goal.name}: {goal.value:.4g} ({bound}): {verdict}", file=sys.stderr)


class Goal(NamedTuple):
    """A bound of an issue.

    Attributes:
        name: What is bounded.
        value: What was measured.
        target: The bound.
        at_most: Whether it is an upper bound.
        aim: What we would like beyond it.
    """

    name: str
    value: float
    target: float
    at_most: bool = False
    aim: float | None = None

    @property
    def missed_by(self) -> float:
        """0 when it is met."""
        return max(0.0, self.value - self.target if self.at_most else self.target - self.value)
