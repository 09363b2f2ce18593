"""Pairs of similar texts without comparing all pairs: MinHash-LSH finds candidates, exact Jaccard decides.

MinHash: Broder 1997; banding: Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate.shingles import I64, U64, ShingleSets, mix

Similarity = Callable[[I64, I64], NDArray[np.float64]]

_MOST_HASHES = 256
_RECALL = 0.999
# All pairs of a bucket up to this size are compared; a larger bucket is compared with some leaders only, so that
# the work stays linear when thousands of rows come from one template.
_ALL_PAIRS_SIZE = 128
_LEADERS = 32
_PAIRS_AT_A_TIME = 20_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Similar pairs, each once, ``left < right``, ordered by right and then left.

    Attributes:
        left: Shape (pairs): index of the earlier text.
        right: Shape (pairs): index of the later text.
        similarity: Shape (pairs), 0 to 1.
        uncompared: Texts of over-full buckets that were not compared with all others there; they may have met them in
            other buckets. In 40,000 texts from one template 27 % of the pairs were missed for this, but no connection:
            each text was linked to its cluster by other pairs.
    """

    left: I64
    right: I64
    similarity: NDArray[np.float64]
    uncompared: int = 0

    def at_least(self, threshold: float) -> "Pairs":
        """Only pairs with this similarity or more."""
        chosen = self.similarity >= threshold
        return Pairs(self.left[chosen], self.right[chosen], self.similarity[chosen], self.uncompared)


def banding(threshold: float) -> tuple[int, int]:
    """Number of bands and of hashes per band that find pairs at ``threshold`` with probability 0.999.

    The probability is 1 - (1 - t^rows)^bands; more rows per band mean fewer useless candidates, so the most rows
    that fit into 256 hashes are taken.
    """
    best = (_MOST_HASHES, 1)
    for rows in range(1, 9):
        hit = threshold**rows
        bands = 1 if hit >= _RECALL else math.ceil(math.log(1 - _RECALL) / math.log(1 - hit))
        if bands * rows <= _MOST_HASHES:
            best = (bands, rows)
    return best


def minhash(sets: ShingleSets, hashes: int) -> NDArray[np.uint32]:
    """Signatures, shape (texts, hashes), by multiply-shift hashing (Dietzfelbinger et al. 1997)."""
    constants = mix(np.arange(1, 2 * hashes + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    factors, addends = constants[:hashes] | np.uint64(1), constants[hashes:]
    signatures = np.empty((hashes, len(sets)), np.uint32)
    for index in range(hashes):
        values = ((sets.values * factors[index] + addends[index]) >> np.uint64(32)).astype(np.uint32)
        signatures[index] = np.minimum.reduceat(values, sets.offsets[:-1])
    return np.ascontiguousarray(signatures.T)


def similar_pairs(sets: ShingleSets, threshold: float, similarity: Similarity | None = None) -> Pairs:
    """All pairs of texts that are at least ``threshold`` similar (each with probability 0.999 or more).

    Args:
        sets: One shingle set per text.
        threshold: Least similarity, above 0 to 1.
        similarity: Decides about candidates; the sets' Jaccard similarity by default. It must not be above that,
            or pairs would be missed.

    Returns:
        The pairs; the same input gives the same pairs on every machine.
    """
    if len(sets) < 2:
        return _collect([], 0, len(sets))
    search = _Search(sets, threshold, similarity or sets.jaccard)
    found = [pairs for band in range(search.bands) for pairs in search.in_buckets(band)]
    uncompared: set[int] = set()
    for crowd in search.crowds.values():
        similar, rest = search.in_crowd(crowd)
        found += similar
        uncompared.update(rest.tolist())
    return _collect(found, len(uncompared), len(sets))


@dataclass(frozen=True, eq=False)
class _Found:
    left: I64
    right: I64
    similarity: NDArray[np.float64]


class _Search:
    """One search for similar pairs.

    Attributes:
        bands: Number of bands.
        crowds: Buckets too full to compare all pairs, met so far; equal ones once.
    """

    def __init__(self, sets: ShingleSets, threshold: float, similarity: Similarity) -> None:
        self.bands, self._rows = banding(threshold)
        self._signatures = minhash(sets, self.bands * self._rows)
        self._threshold = threshold
        self._similarity = similarity
        self._crowded = np.zeros((len(sets), self.bands), bool)
        self.crowds: dict[bytes, I64] = {}
        # The share of equal hashes estimates the similarity; 4.5 standard deviations below it misses 3 in a million.
        hashes = self.bands * self._rows
        spread = math.sqrt(threshold * (1 - threshold) / hashes)
        self._least_equal = math.floor(hashes * (threshold - 4.5 * spread))

    def in_buckets(self, band: int) -> Iterator[_Found]:
        """Similar pairs that share a bucket of this band and no smaller-numbered one."""
        for members in _buckets(self._keys(band)):
            if members.shape[1] > _ALL_PAIRS_SIZE:
                self._crowded[members, band] = True
                self.crowds.update({row.tobytes(): row for row in members})
                continue
            first, second = np.triu_indices(members.shape[1], 1)
            step = max(1, _PAIRS_AT_A_TIME // len(first))
            for at in range(0, len(members), step):
                some = members[at : at + step]
                yield self._similar(some[:, first].ravel(), some[:, second].ravel(), band)

    def in_crowd(self, crowd: I64) -> tuple[list[_Found], I64]:
        """Compare all with the first, those that are not similar with the next, and so on for some rounds.

        Returns:
            Similar pairs, and the texts that were left over.
        """
        rest, found = crowd, []
        for _ in range(_LEADERS):
            if len(rest) < 2:
                break
            leader, others = rest[0], rest[1:]
            found.append(self._similar(np.full(len(others), leader), others, 0))
            rest = others[~np.isin(others, found[-1].right)]
        return found, rest if len(rest) > 1 else rest[:0]

    def _keys(self, band: int) -> U64:
        keys = np.zeros(len(self._signatures), np.uint64)
        for column in range(band * self._rows, (band + 1) * self._rows):
            keys = mix(keys * np.uint64(0x9E3779B97F4A7C15) + self._signatures[:, column].astype(np.uint64))
        return keys

    def _similar(self, left: I64, right: I64, band: int) -> _Found:
        parts = [
            self._promising(left[at : at + _PAIRS_AT_A_TIME], right[at : at + _PAIRS_AT_A_TIME], band)
            for at in range(0, len(left), _PAIRS_AT_A_TIME)
        ]
        left, right = (np.concatenate(side) for side in zip(*parts, strict=True))
        similarity = self._similarity(left, right)
        chosen = similarity >= self._threshold
        return _Found(left[chosen], right[chosen], similarity[chosen])

    def _promising(self, left: I64, right: I64, band: int) -> tuple[I64, I64]:
        equal = self._signatures[left] == self._signatures[right]
        chosen = np.count_nonzero(equal, axis=1) >= self._least_equal
        left, right, equal = left[chosen], right[chosen], equal[chosen]
        met = equal[:, : band * self._rows].reshape(len(left), band, self._rows).all(axis=2)
        fresh = ~(met & ~self._crowded[left, :band]).any(axis=1)
        return left[fresh], right[fresh]


def _buckets(keys: U64) -> Iterator[I64]:
    """Texts with equal keys: one array, shape (buckets, size), per size above one; members ascend."""
    order = np.argsort(keys, kind="stable").astype(np.int64)
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(np.concatenate([starts, [len(keys)]]))
    for size in np.unique(sizes[sizes > 1]):
        yield order[starts[sizes == size][:, None] + np.arange(size)]


def _collect(found: list[_Found], uncompared: int, count: int) -> Pairs:
    left, right = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, side) for part in found)]) for side in ("left", "right")
    )
    similarity = np.concatenate([np.empty(0), *(part.similarity for part in found)])
    # A pair of two crowds is found in each of them.
    codes, first = np.unique(right * count + left, return_index=True)
    return Pairs(codes % max(1, count), codes // max(1, count), similarity[first], uncompared)


def first_of_each(pairs: Pairs) -> dict[int, int]:
    """Choose what to drop so that no two kept texts are similar: a text is dropped if a kept earlier one is similar.

    Returns:
        Index of each dropped text, and of the kept text it duplicates (the most similar, then the earliest).
    """
    dropped: dict[int, int] = {}
    best = 0.0
    for left, right, similarity in zip(
        pairs.left.tolist(), pairs.right.tolist(), pairs.similarity.tolist(), strict=True
    ):
        if left in dropped:
            continue
        if right not in dropped or similarity > best:
            dropped[right], best = left, similarity
    return dropped


def clusters(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Connected components by union-find.

    Returns:
        Per text the smallest index of its component.
    """
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for left, right in links:
        one, other = root(left), root(right)
        if one != other:
            parent[max(one, other)] = min(one, other)
    return [root(item) for item in range(count)]
