"""Word shingles of many texts at once, as sorted sets of 64-bit hashes in numpy arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

# A hash keeps 48 bits, so that a text's or pair's number fits beside it and one sort does for all; two texts of 1,000
# words agree in a shingle by chance once in 300 million pairs.
_HASH_BITS = np.uint64(48)
_PAIRS_AT_A_TIME = 1 << 16
_SHINGLES_AT_A_TIME = 1 << 21


def mix(values: U64) -> U64:
    """Scramble 64-bit values (the finaliser of splitmix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = values ^ (values >> np.uint64(31))
    return mixed


@dataclass(frozen=True, eq=False)
class ShingleSets:
    """One set of shingles per text, none empty.

    Attributes:
        offsets: Shape (texts + 1): the set of text i is ``values[offsets[i]:offsets[i + 1]]``.
        values: Hashes of 48 bits, ascending and unique within a text.
    """

    offsets: I64
    values: U64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> I64:
        """Shape (texts): number of shingles."""
        return np.diff(self.offsets)

    def take(self, texts: I64) -> "ShingleSets":
        """The sets of these texts, in this order."""
        sizes = self.sizes[texts]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return ShingleSets(offsets, self.values[_places(self.offsets[texts], sizes)])

    def jaccard(self, left: I64, right: I64) -> NDArray[np.float64]:
        """Jaccard similarity of pairs of texts.

        Args:
            left: Shape (pairs): indices of texts.
            right: Shape (pairs).

        Returns:
            Shape (pairs): size of the intersection over size of the union.
        """
        parts = [
            self._jaccard(left[begin:end], right[begin:end])
            for begin, end in batches(self.sizes[left] + self.sizes[right])
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _jaccard(self, left: I64, right: I64) -> NDArray[np.float64]:
        # A shingle of both sides stands twice when all (pair, shingle) are sorted.
        sides = [self.take(left), self.take(right)]
        pairs = np.arange(len(left), dtype=np.uint64) << _HASH_BITS
        both = np.sort(np.concatenate([np.repeat(pairs, side.sizes) | side.values for side in sides]))
        twice = both[1:][both[1:] == both[:-1]] >> _HASH_BITS
        common = np.bincount(twice.astype(np.int64), minlength=len(left))
        similarity: NDArray[np.float64] = common / (sides[0].sizes + sides[1].sizes - common)
        return similarity


def batches(sizes: I64) -> Iterator[tuple[int, int]]:
    """Cut consecutive items so that a batch has at most 65,536 items and, but for a single item, 2 million shingles."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        full = int(np.searchsorted(ends, ends[begin] - sizes[begin] + _SHINGLES_AT_A_TIME, "right"))
        end = min(max(full, begin + 1), begin + _PAIRS_AT_A_TIME)
        yield begin, min(end, len(sizes))
        begin = end


def _places(starts: I64, sizes: I64) -> I64:
    """Indices of all members of ragged rows that lie one after the other in a flat array."""
    ends = np.cumsum(sizes)
    places: I64 = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)
    return places


def shingle_sets(texts: Sequence[str], words: int) -> ShingleSets:
    """Shingles of ``words`` consecutive words; letter case and punctuation do not count.

    A text with fewer words is one shingle; a text without any letter or digit is one shingle of its own characters.
    """
    hashes, counts = _word_hashes(texts)
    starts = np.cumsum(counts) - counts
    spans = np.minimum(counts, words)
    sizes = counts - spans + 1
    text = np.repeat(np.arange(len(counts)), sizes)
    first = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)
    span = spans[text]
    values = np.zeros(len(first), np.uint64)
    for position in range(words):
        inside = position < span
        values[inside] = mix(values[inside] * np.uint64(0x9E3779B97F4A7C15) + hashes[first[inside] + position])
    return _as_sets(text, values, len(counts))


def joined(left: ShingleSets, right: ShingleSets) -> ShingleSets:
    """Sets that hold both sets of each text, as different shingles."""
    text = np.concatenate([np.repeat(np.arange(len(part)), part.sizes) for part in (left, right)])
    values = np.concatenate([mix(left.values), mix(~right.values)])
    return _as_sets(text, values, len(left))


def _as_sets(text: I64, values: U64, count: int) -> ShingleSets:
    found = [np.empty(0, np.uint64)]
    sizes = [np.empty(0, np.int64)]
    for begin in range(0, count, _PAIRS_AT_A_TIME):
        number = min(_PAIRS_AT_A_TIME, count - begin)
        inside = slice(None) if number == count else (text >= begin) & (text < begin + number)
        codes = np.sort(((text[inside] - begin).astype(np.uint64) << _HASH_BITS) | (values[inside] >> np.uint64(16)))
        codes = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
        sizes.append(np.bincount((codes >> _HASH_BITS).astype(np.int64), minlength=number))
        found.append(codes & ((np.uint64(1) << _HASH_BITS) - np.uint64(1)))
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.concatenate(sizes), out=offsets[1:])
    return ShingleSets(offsets, np.concatenate(found))


def _word_hashes(texts: Sequence[str]) -> tuple[U64, I64]:
    """Hash of each word of all texts, and the number of words per text (at least one)."""
    series = pl.Series("text", texts, dtype=pl.String)
    cleaned = series.str.to_lowercase().str.replace_all(r"[^\w]+", " ").str.strip_chars()
    frame = pl.DataFrame({"text": series, "cleaned": cleaned})
    words = frame.select(
        pl.when(pl.col("cleaned") == "").then(pl.concat_list("text")).otherwise(pl.col("cleaned").str.split(" "))
    ).to_series()
    each = words.explode()
    vocabulary = each.unique()
    # polars' own hash may change between versions; a dataset version must not.
    hashes = [xxhash.xxh3_64_intdigest(word.encode()) for word in vocabulary]
    table = pl.DataFrame({"word": vocabulary, "hash": pl.Series(hashes, dtype=pl.UInt64)})
    found = pl.DataFrame({"word": each}).join(table, on="word", how="left", maintain_order="left")["hash"]
    return found.to_numpy().astype(np.uint64), words.list.len().to_numpy().astype(np.int64)
