"""Word shingles of many texts at once, as sorted sets of 64-bit hashes in numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_PAIRS_AT_A_TIME = 100_000


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
        values: Hashes, ascending and unique within a text.
    """

    offsets: I64
    values: U64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> I64:
        """Shape (texts): number of shingles."""
        return np.diff(self.offsets)

    @cached_property
    def _tokens(self) -> tuple[I64, int]:
        """Per value a dense number of its hash, and how many there are."""
        distinct, numbers = np.unique(self.values, return_inverse=True)
        return numbers.astype(np.int64), len(distinct)

    @cached_property
    def _codes(self) -> I64:
        """(text, token) as one ascending number, so that membership is a binary search."""
        tokens, count = self._tokens
        texts = np.repeat(np.arange(len(self), dtype=np.int64), self.sizes)
        codes: I64 = texts * count + tokens
        return codes

    def jaccard(self, left: I64, right: I64) -> NDArray[np.float64]:
        """Jaccard similarity of pairs of texts.

        Args:
            left: Shape (pairs): indices of texts.
            right: Shape (pairs).

        Returns:
            Shape (pairs): size of the intersection over size of the union.
        """
        parts = [
            self._jaccard(left[at : at + _PAIRS_AT_A_TIME], right[at : at + _PAIRS_AT_A_TIME])
            for at in range(0, len(left), _PAIRS_AT_A_TIME)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _jaccard(self, left: I64, right: I64) -> NDArray[np.float64]:
        tokens, count = self._tokens
        swap = self.sizes[left] > self.sizes[right]
        small, large = np.where(swap, right, left), np.where(swap, left, right)
        sizes = self.sizes[small]
        pair = np.repeat(np.arange(len(small)), sizes)
        ends = np.cumsum(sizes)
        place = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(self.offsets[small], sizes)
        wanted = large[pair] * count + tokens[place]
        found = np.minimum(np.searchsorted(self._codes, wanted), len(self._codes) - 1)
        common = np.bincount(pair, self._codes[found] == wanted, len(small))
        similarity: NDArray[np.float64] = common / (self.sizes[left] + self.sizes[right] - common)
        return similarity


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
    values = np.concatenate([left.values, mix(right.values + np.uint64(1))])
    return _as_sets(text, values, len(left))


def _as_sets(text: NDArray[Any], values: U64, count: int) -> ShingleSets:
    order = np.lexsort((values, text))
    text, values = text[order], values[order]
    fresh = np.ones(len(values), bool)
    fresh[1:] = (text[1:] != text[:-1]) | (values[1:] != values[:-1])
    sizes = np.bincount(text[fresh], minlength=count)
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return ShingleSets(offsets, values[fresh])


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
