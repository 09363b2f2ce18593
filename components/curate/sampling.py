"""Balanced sampling of the training split: which rows of too large groups go, by a seeded hash."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate.config import CurateConfig, Sampling
from llm_flywheel.components.curate.rows import Row, meta_of

_OTHERS = "*"
_NO_GROUP = "(none)"


def group_of(row: Row, config: CurateConfig) -> str:
    """The group of a row: its source, its language, or a value of its ``meta``; ``(none)`` when there is no value."""
    by = config.sampling.by
    if by == "source":
        return row.source or _NO_GROUP
    if by == "lang":
        return row.lang or _NO_GROUP
    value = meta_of(row.meta).get(by.removeprefix("meta."))
    if value is None or value == "":
        return _NO_GROUP
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def balance(groups: Sequence[str], keys: NDArray[np.uint64], config: CurateConfig) -> NDArray[np.bool_]:
    """Choose the rows that stay; the choice depends on keys, groups and seed, not on the order of the rows.

    Args:
        groups: Group of each row (n).
        keys: A hash of each row's id (n).
        config: Caps, weights and seed.

    Returns:
        Which rows stay (n).
    """
    numbers: dict[str, int] = {}
    group = np.fromiter((numbers.setdefault(name, len(numbers)) for name in groups), np.int64, len(groups))
    quota = quotas(Counter(groups), config.sampling)
    most = np.fromiter((quota[name] for name in numbers), np.int64, len(numbers))
    order = np.lexsort((_mixed(keys, config.seed), group))
    sizes = np.bincount(group, minlength=len(numbers))
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept: NDArray[np.bool_] = rank < most[group]
    return kept


def quotas(sizes: Counter[str], sampling: Sampling) -> dict[str, int]:
    """How many rows of each group stay.

    Weights are kept by taking rows away: the group that is smallest for its weight stays whole and sets the others.

    Args:
        sizes: Rows per group.
        sampling: Weights and the cap, which is applied after them.
    """
    others = sampling.weights.get(_OTHERS)
    weights = {name: weight for name in sizes if (weight := sampling.weights.get(name, others)) is not None}
    scale = min((sizes[name] / weight for name, weight in weights.items() if weight), default=0.0)
    most = sampling.max_rows if sampling.max_rows is not None else sizes.total()
    return {name: min(most, round(scale * weights[name]) if name in weights else size) for name, size in sizes.items()}


def _mixed(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Another order per seed: the finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195)."""
    mixed = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
