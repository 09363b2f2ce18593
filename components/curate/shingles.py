"""Word shingles of many texts at once, as sorted sets of 48-bit hashes in numpy arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llm_flywheel.components.curate import kernels
from llm_flywheel.components.curate.kernels import I64, U64

_PAIRS_AT_A_TIME = 1 << 16
_TEXTS_AT_A_TIME = 500  # what stays in the cache of a core; a text's number has 16 bits
_SHINGLES_AT_A_TIME = 1 << 21


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

    def jaccard(self, left: I64, right: I64, least: float = 0) -> NDArray[np.float64]:
        """Jaccard similarity of pairs of texts.

        Args:
            left: Shape (pairs): indices of texts.
            right: Shape (pairs).
            least: For pairs below it, any number below it will do.

        Returns:
            Shape (pairs): size of the intersection over size of the union.
        """
        common = np.empty(len(left), np.int64)
        kernels.common(self.values, self.offsets, left, right, float(least), common)
        similarity: NDArray[np.float64] = common / (self.sizes[left] + self.sizes[right] - common)
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


def shingle_sets(texts: Sequence[str], words: int) -> ShingleSets:
    """Shingles of ``words`` consecutive words; letter case and punctuation do not count.

    A text with fewer words is one shingle; a text without any letter or digit is one shingle of its own characters.

    Args:
        texts: Any texts.
        words: At least one.
    """
    # As much as there can be; memory that is never written is never taken.
    values = np.empty(sum(map(len, texts)) // 2 + len(texts), np.uint64)
    offsets = np.zeros(len(texts) + 1, np.int64)
    made = 0
    for begin in range(0, len(texts), _TEXTS_AT_A_TIME):
        some = texts[begin : begin + _TEXTS_AT_A_TIME]
        characters = np.frombuffer("".join(some).encode("utf-32-le", "surrogatepass"), np.uint32)
        ends = np.cumsum([0, *map(len, some)])
        count = kernels.shingles(characters, ends, kernels.letters(), words, values[made:])
        made += _unique(values[made : made + count], offsets[begin + 1 :][: len(some)])
    return ShingleSets(np.cumsum(offsets), values[:made])


def joined(left: ShingleSets, right: ShingleSets) -> ShingleSets:
    """Sets that hold both sets of each text, as different shingles."""
    values = np.empty(len(left.values) + len(right.values), np.uint64)
    offsets = np.zeros(len(left) + 1, np.int64)
    made = 0
    for begin in range(0, len(left), _TEXTS_AT_A_TIME):
        end = min(begin + _TEXTS_AT_A_TIME, len(left))
        count = made
        for side, sets in enumerate((left, right)):
            own = sets.values[sets.offsets[begin] : sets.offsets[end]]
            if side:  # other hashes than on the left
                own = (own * kernels.FACTOR) >> kernels.SHORTENED
            number = np.arange(end - begin, dtype=np.uint64) << kernels.HASH_BITS
            values[count : count + len(own)] = np.repeat(number, sets.sizes[begin:end]) | own
            count += len(own)
        made += _unique(values[made:count], offsets[begin + 1 : end + 1])
    return ShingleSets(np.cumsum(offsets), values[:made])


def _unique(codes: U64, sizes: I64) -> int:
    codes.sort()
    return kernels.unique(codes, sizes)
