"""Pairs of similar texts without comparing all pairs: MinHash-LSH finds candidates, exact Jaccard decides.

The search is cut into bands, which can be searched one by one and on different machines; what a search needs of the
texts is behind `Sketches`, in memory or on disk. MinHash: Broder 1997; banding: Leskovec, Rajaraman, Ullman, "Mining
of Massive Datasets", section 3.4.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate import kernels
from llm_flywheel.components.curate.kernels import I64, U8, U32
from llm_flywheel.components.curate.shingles import ShingleSets

F64 = NDArray[np.float64]

_MOST_HASHES = 160
_RECALL = 0.999
# All pairs of a bucket up to this size are compared; a larger bucket is compared with some leaders only, so that
# the work stays linear when thousands of rows come from one template.
_ALL_PAIRS_SIZE = 128
_LEADERS = 32
_CANDIDATES_AT_A_TIME = 400_000
_PAIRS_AT_A_TIME = 20_000
# How many of the four bit pairs of a byte are not zero.
_DIFFERENT = np.array([sum((byte >> at) & 3 != 0 for at in (0, 2, 4, 6)) for byte in range(256)], np.uint8)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Similar pairs, ``left < right``.

    Attributes:
        left: Shape (pairs): index of the earlier text.
        right: Shape (pairs): index of the later text.
        similarity: Shape (pairs), 0 to 1.
    """

    left: I64
    right: I64
    similarity: F64

    @classmethod
    def merged(cls, parts: Iterable["Pairs"]) -> "Pairs":
        """All pairs of all parts, each once, ordered by right and then left."""
        parts = [cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)), *parts]
        left, right = (np.concatenate([getattr(part, side) for part in parts]) for side in ("left", "right"))
        order = np.lexsort((left, right))
        left, right = left[order], right[order]
        fresh = np.ones(len(left), bool)
        fresh[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
        return cls(left[fresh], right[fresh], np.concatenate([part.similarity for part in parts])[order][fresh])


class Sketches(Protocol):
    """What a search knows of the texts, which it numbers from 0."""

    def keys(self, band: int) -> U32:
        """Shape (texts): equal for texts in the same bucket of this band."""
        ...

    def signatures(self, texts: I64) -> U8:
        """Shape (texts, bytes): two bits of each MinHash, see `sketch`."""
        ...

    def similarity(self, left: I64, right: I64) -> F64:
        """Shape (pairs): what decides; at most the Jaccard similarity of the sets behind the signatures.

        Below the threshold of the search any number below it will do.
        """
        ...

    def wanted(self, left: I64, right: I64) -> NDArray[np.bool_]:
        """Shape (pairs): whether anybody wants to know how similar they are.

        If it is none of the pairs of a text with later ones, it is none of those among the later ones.
        """
        ...


def banding(threshold: float) -> tuple[int, int]:
    """Number of bands and of hashes per band that find pairs at ``threshold`` with probability 0.999.

    The probability is 1 - (1 - t^rows)^bands; more rows per band mean fewer useless candidates, so the most rows
    that fit into 160 hashes are taken.
    """
    best = (_MOST_HASHES, 1)
    for rows in range(1, 9):
        hit = threshold**rows
        bands = 1 if hit >= _RECALL else math.ceil(math.log(1 - _RECALL) / math.log(1 - hit))
        if bands * rows <= _MOST_HASHES:
            best = (bands, rows)
    return best


def signature_bytes(threshold: float) -> int:
    """Bytes of a signature in `Sketch`."""
    bands, rows = banding(threshold)
    return -(-bands * rows // 4)


@dataclass(frozen=True, eq=False)
class Sketch:
    """Band keys and short signatures of some texts.

    Attributes:
        keys: Shape (bands, texts).
        signatures: Shape (texts, bytes): two bits of each MinHash (b-bit MinHash, Li and König 2010), four in a byte.
    """

    keys: U32
    signatures: U8


def sketch(sets: ShingleSets, threshold: float) -> Sketch:
    """Prepare texts for a search at ``threshold``."""
    bands, rows = banding(threshold)
    numbers = [kernels.mix(np.uint64(number)) for number in range(1, 2 * bands * rows + 1)]
    factors, addends = np.array(numbers, np.uint64).astype(np.uint32).reshape(2, -1)
    keys = np.empty((bands, len(sets)), np.uint32)
    signatures = np.empty((len(sets), signature_bytes(threshold)), np.uint8)
    kernels.sketches(sets.values, sets.offsets, factors | np.uint32(1), addends, rows, keys, signatures)
    return Sketch(keys, signatures)


class InMemory:
    """The `Sketches` of sets in memory."""

    def __init__(self, sets: ShingleSets, threshold: float) -> None:
        self._sets, self._threshold = sets, threshold
        self._sketch = sketch(sets, threshold)

    def keys(self, band: int) -> U32:
        """See `Sketches`."""
        keys: U32 = self._sketch.keys[band]
        return keys

    def signatures(self, texts: I64) -> U8:
        """See `Sketches`."""
        return self._sketch.signatures[texts]

    def similarity(self, left: I64, right: I64) -> F64:
        """See `Sketches`."""
        return self._sets.jaccard(left, right, self._threshold)

    def wanted(self, left: I64, right: I64) -> NDArray[np.bool_]:
        """See `Sketches`."""
        return np.ones(len(left), bool)


def similar_pairs(sets: ShingleSets, threshold: float) -> Pairs:
    """All pairs of texts in memory that are at least ``threshold`` similar (each with probability 0.999 or more).

    Args:
        sets: One shingle set per text.
        threshold: Least similarity, above 0 to 1.

    Returns:
        The pairs, ordered by right and then left; the same input gives the same pairs on every machine.
    """
    search = Search(InMemory(sets, threshold), threshold)
    found, crowds = search.in_bands(range(search.bands), search.crowded_keys())
    similar, _ = search.in_crowds(distinct(crowds))
    return Pairs.merged([found, similar])


def distinct(crowds: Iterable[I64]) -> list[I64]:
    """Each crowd once, in a fixed order."""
    return [crowd for _, crowd in sorted({crowd.tobytes(): crowd for crowd in crowds}.items())]


@dataclass(frozen=True)
class Search:
    """One search for similar pairs, in pieces that do not need each other's results."""

    sketches: Sketches
    threshold: float

    @property
    def bands(self) -> int:
        """Number of bands."""
        return banding(self.threshold)[0]

    def crowded_keys(self) -> list[U32]:
        """See `crowded`, per band."""
        return [crowded(self.sketches.keys(band)) for band in range(self.bands)]

    def in_bands(self, bands: range, crowded_keys: Sequence[U32]) -> tuple[Pairs, list[I64]]:
        """Similar pairs that share a bucket of one of these bands and none of a smaller-numbered one.

        Args:
            bands: Where to look.
            crowded_keys: Of all bands.

        Returns:
            The pairs, and the members of each bucket that is too full.
        """
        found, crowds = [], []
        for band in bands:
            for part in _in_buckets(self.sketches.keys(band)):
                if isinstance(part, tuple):
                    found.append(self._similar(*self._first_met(*part, band, crowded_keys)))
                else:
                    crowds.append(part)
        return Pairs.merged(found), crowds

    def _first_met(self, left: I64, right: I64, band: int, crowded_keys: Sequence[U32]) -> tuple[I64, I64]:
        chosen = self.sketches.wanted(left, right)
        left, right = left[chosen], right[chosen]
        for earlier in range(band):
            if not len(left):
                break
            keys = self.sketches.keys(earlier)
            met = (keys[left] == keys[right]) & ~np.isin(keys[left], crowded_keys[earlier])
            left, right = left[~met], right[~met]
        return left, right

    def in_crowds(self, crowds: Iterable[I64]) -> tuple[Pairs, I64]:
        """Compare all with the first, those that are not similar with the next, and so on for some rounds.

        Returns:
            Similar pairs; and the texts that were not compared with all others of their crowd. They may have met them
            elsewhere: in 40,000 texts from one template 27 % of the pairs were missed for this, but no connection:
            each text was linked to its cluster by other pairs.
        """
        found, rests = [], [np.empty(0, np.int64)]
        for crowd in crowds:
            rest = crowd
            for _ in range(_LEADERS):
                if len(rest) < 2:
                    break
                leader, others = np.full(len(rest) - 1, rest[0]), rest[1:]
                if not self.sketches.wanted(leader, others).any():
                    rest = rest[:0]
                    break
                found.append(self._similar(leader, others))
                rest = others[~np.isin(others, found[-1].right)]
            if len(rest) > 1:
                rests.append(rest)
        return Pairs.merged(found), np.unique(np.concatenate(rests))

    def _similar(self, left: I64, right: I64) -> Pairs:
        parts = []
        for at in range(0, len(left), _PAIRS_AT_A_TIME):
            one, other = left[at : at + _PAIRS_AT_A_TIME], right[at : at + _PAIRS_AT_A_TIME]
            different = _DIFFERENT[self.sketches.signatures(one) ^ self.sketches.signatures(other)].sum(axis=1)
            chosen = different <= self._most_different
            one, other = one[chosen], other[chosen]
            similarity = self.sketches.similarity(one, other)
            chosen = similarity >= self.threshold
            parts.append(Pairs(one[chosen], other[chosen], similarity[chosen]))
        return Pairs.merged(parts)

    @cached_property
    def _most_different(self) -> int:
        # Three of four bit pairs differ where MinHashes do; 4 standard deviations more are seen 3 times in 100,000.
        bands, rows = banding(self.threshold)
        share = 0.75 * (1 - self.threshold)
        return math.ceil(bands * rows * share + 4 * math.sqrt(bands * rows * share * (1 - share)))


def crowded(keys: U32) -> U32:
    """Keys of the buckets that are too full to compare all pairs in them, ascending."""
    ordered = np.sort(keys)
    last = ordered[_ALL_PAIRS_SIZE:]
    full: U32 = np.unique(last[last == ordered[: len(last)]])
    return full


def _buckets(keys: U32) -> Iterator[I64]:
    """Texts with equal keys: one array, shape (buckets, size), per size above one; members ascend."""
    numbered = np.sort((keys.astype(np.uint64) << np.uint64(32)) | np.arange(len(keys), dtype=np.uint64))
    order = (numbered & np.uint64(0xFFFFFFFF)).astype(np.int64)
    ordered = numbered >> np.uint64(32)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(keys)])
    sizes = np.diff(np.append(starts, len(keys)))
    for size in np.unique(sizes[sizes > 1]):
        yield order[starts[sizes == size][:, None] + np.arange(size)]


def _in_buckets(keys: U32) -> Iterator[tuple[I64, I64] | I64]:
    """All pairs in the buckets, many at a time; and the members of each bucket that is too full for that."""
    waiting: list[tuple[I64, I64]] = []
    for members in _buckets(keys):
        if members.shape[1] > _ALL_PAIRS_SIZE:
            yield from members
            continue
        first, second = np.triu_indices(members.shape[1], 1)
        step = max(1, _CANDIDATES_AT_A_TIME // len(first))
        for at in range(0, len(members), step):
            some = members[at : at + step]
            waiting.append((some[:, first].ravel(), some[:, second].ravel()))
            if sum(len(left) for left, _ in waiting) >= _CANDIDATES_AT_A_TIME:
                yield _together(waiting)
                waiting = []
    if waiting:
        yield _together(waiting)


def _together(pairs: list[tuple[I64, I64]]) -> tuple[I64, I64]:
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])


def first_of_each(pairs: Pairs) -> dict[int, int]:
    """Choose what to drop so that no two kept texts are similar: a text is dropped if a kept earlier one is similar.

    Args:
        pairs: Ordered by right and then left.

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


def clusters(count: int, pairs: Pairs) -> I64:
    """Connected components by union-find.

    Returns:
        Shape (count): per text the smallest index of its component.
    """
    members, places = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    parent = list(range(len(members)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for left, right in places.reshape(2, -1).T.tolist():
        one, other = root(left), root(right)
        if one != other:
            parent[max(one, other)] = min(one, other)
    component = np.arange(count)
    component[members] = members[[root(item) for item in range(len(members))]]
    return component
