"""How far two distributions lie apart: the population stability index and the total variation distance."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_MOST_CATEGORIES = 20
# Siddiqi, Credit Risk Scorecards (Wiley 2006): below 0.1 no significant change, above 0.25 a significant one.
_SMALL, _LARGE = 0.10, 0.25


@dataclass(frozen=True)
class Shift:
    """One property of the rows in two datasets.

    Attributes:
        name: Of the property.
        labels: Of its bins.
        a: Rows per bin in the first dataset.
        b: The same in the second one.
        medians: Median in both, for a number.
        p95: 95th percentile in both, for a number.
    """

    name: str
    labels: Sequence[str]
    a: Sequence[int]
    b: Sequence[int]
    medians: tuple[int, int] | None = None
    p95: tuple[int, int] | None = None

    @property
    def psi(self) -> float:
        """`population_stability_index` of the second dataset against the first."""
        return population_stability_index(self.a, self.b)

    @property
    def tvd(self) -> float:
        """`total_variation` between both."""
        return total_variation(self.a, self.b)

    @property
    def verdict(self) -> str:
        """``none``, ``chance``, ``small``, ``moderate`` or ``large``."""
        if self.tvd == 0:
            return "none"
        if self.psi <= psi_by_chance(self.a, self.b):
            return "chance"
        return "small" if self.psi < _SMALL else "moderate" if self.psi < _LARGE else "large"


def population_stability_index(a: Sequence[int], b: Sequence[int]) -> float:
    """PSI = Σ (qᵢ - pᵢ) ln(qᵢ / pᵢ), with pᵢ and qᵢ the shares of bin i in ``a`` and in ``b``.

    Half a row is added to every bin, so that an empty one has a logarithm (Jeffreys' prior).
    Source: Siddiqi, Credit Risk Scorecards, Wiley 2006; it is the symmetric Kullback-Leibler divergence of Jeffreys.

    Args:
        a: Rows per bin.
        b: Rows per bin, of the same bins.
    """
    p, q = ((np.asarray(counts) + 0.5) / (sum(counts) + 0.5 * len(counts)) for counts in (a, b))
    return float(np.sum((q - p) * np.log(q / p)))


def total_variation(a: Sequence[int], b: Sequence[int]) -> float:
    """TVD = ½ Σ |pᵢ - qᵢ|: the share of rows that would have to change their bin, 0 to 1.

    Source: Levin, Peres, Wilmer, Markov Chains and Mixing Times, AMS 2009, proposition 4.2.
    """
    p, q = (np.asarray(counts) / sum(counts) for counts in (a, b))
    return float(np.abs(p - q).sum() / 2)


def psi_by_chance(a: Sequence[int], b: Sequence[int]) -> float:
    """The PSI that one in twenty pairs of samples of these sizes exceeds although nothing has shifted.

    PSI is about (1/n + 1/m) χ² with one degree of freedom less than bins (Yurdakul, Statistical Properties of
    Population Stability Index, Western Michigan University 2018); the quantile of χ² is Wilson's and Hilferty's (1931).
    """
    degrees = len(a) - 1
    if degrees < 1:
        return 0.0
    spread = 2 / (9 * degrees)
    chi_squared = degrees * (1 - spread + 1.645 * math.sqrt(spread)) ** 3
    return (1 / sum(a) + 1 / sum(b)) * chi_squared


def shift_of_numbers(name: str, a: Counter[int], b: Counter[int]) -> Shift:
    """Compare a number, in ten bins that each hold a tenth of the rows of ``a`` as nearly as equal values allow.

    Args:
        name: Of the number.
        a: Rows per value in the first dataset; not empty.
        b: The same in the second one.
    """
    edges = sorted({_quantile(a, tenth / 10) for tenth in range(1, 10)} - {max(a)})
    labels = ["all"]
    if edges:
        labels = [f"≤ {edges[0]:,}", *(_between(low, high) for low, high in pairwise(edges)), f"> {edges[-1]:,}"]
    medians, p95 = ((_quantile(a, share), _quantile(b, share)) for share in (0.5, 0.95))
    return Shift(name, labels, _binned(a, edges), _binned(b, edges), medians, p95)


def _between(low: int, high: int) -> str:
    return f"{high:,}" if high == low + 1 else f"{low + 1:,} to {high:,}"


def _quantile(counts: Counter[int], share: float) -> int:
    """The smallest value that at least ``share`` of the rows do not exceed."""
    values = sorted(counts)
    totals = np.cumsum([counts[value] for value in values])
    return values[int(np.searchsorted(totals, share * totals[-1] - 1e-9))]


def _binned(counts: Counter[int], edges: Sequence[int]) -> list[int]:
    bins = np.searchsorted(edges, list(counts))
    return [int(rows) for rows in np.bincount(bins, list(counts.values()), len(edges) + 1)]


def shift_of_categories(name: str, a: Counter[str], b: Counter[str]) -> Shift:
    """Compare a category; what is rarer than the 20 most frequent ones of both is one more bin.

    Args:
        name: Of the category.
        a: Rows per value in the first dataset.
        b: The same in the second one.
    """
    ordered = [label for label, _ in (a + b).most_common()]
    labels, rest = ordered[:_MOST_CATEGORIES], ordered[_MOST_CATEGORIES:]
    rows_a, rows_b = ([counts[label] for label in labels] for counts in (a, b))
    if rest:
        rows_a.append(sum(a[label] for label in rest))
        rows_b.append(sum(b[label] for label in rest))
        labels = [*labels, f"{len(rest):,} others"]
    return Shift(name, [label or "(none)" for label in labels], rows_a, rows_b)
