"""The loops over every letter, shingle and MinHash, compiled by numba.

The machine code is kept on disk: only the first start on a machine waits for the compiler, some seconds.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numba import njit  # type: ignore[import-untyped]
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

HASH_BITS = np.uint64(48)
"""A hash keeps 48 bits, so that a text's number fits beside it and one sort does for all; two texts of 1,000 words
agree in a shingle by chance once in 300 million pairs."""
SHORTENED = np.uint64(64) - HASH_BITS
"""Bits that a hash of 64 bits loses."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    try:
        made: _Function = njit(cache=True)(function)
    except RuntimeError:  # no folder to keep it in can be written
        made = njit(function)
    return made


@lru_cache(maxsize=1)
def letters() -> I32:
    """Shape (code points): the letter, digit or mark in lower case, or 0 for what separates words."""
    table = np.zeros(0x323B0, np.int32)  # behind CJK extension H only tags and variation selectors
    for code in range(len(table)):
        category = unicodedata.category(chr(code))
        if category[0] in "LMN" or category == "Pc":
            lower = chr(code).lower()
            table[code] = ord(lower) if len(lower) == 1 else code
    return table


@_compiled
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of splitmix64, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@_compiled
def shingles(characters: U32, offsets: I64, table: I32, words: int, codes: U64) -> int:
    """Hash every ``words`` consecutive words of each text; one that is shorter is one shingle.

    A text without a word is one shingle of all its characters.

    Args:
        characters: Code points of the texts, one behind the other.
        offsets: Shape (texts + 1): where each begins; at most 65,536 texts.
        table: See `letters`.
        words: Words per shingle.
        codes: Is filled with text and hash in one number; half of the characters and one per text are enough.

    Returns:
        How many codes there are.
    """
    made = 0
    hashes = np.empty(np.max(np.diff(offsets)) // 2 + 1, np.uint64)  # of the words of one text
    for text in range(len(offsets) - 1):
        number = np.uint64(text) << HASH_BITS
        count = 0
        word = np.uint64(0)
        begin, end = offsets[text], offsets[text + 1]
        for at in range(begin, end + 1):
            letter = 0  # also behind the end, so that the last word ends
            if at < end and characters[at] < len(table):
                letter = table[characters[at]]
            if letter:
                word = (word ^ np.uint64(letter)) * FACTOR
            elif word:
                hashes[count] = mix(word)
                word = np.uint64(0)
                count += 1
                if count >= words:
                    value = np.uint64(0)
                    for back in range(count - words, count):
                        value = value * FACTOR + hashes[back]
                    codes[made] = number | (mix(value) >> SHORTENED)
                    made += 1
        if count < words:
            value = np.uint64(0)
            for back in range(count):
                value = value * FACTOR + hashes[back]
            if not count:
                for at in range(begin, end):
                    value = value * FACTOR + np.uint64(characters[at])
            codes[made] = number | (mix(value) >> SHORTENED)
            made += 1
    return made


@_compiled
def unique(codes: U64, sizes: I64) -> int:
    """Move the hashes of sorted ``codes`` to its front, each once per text, and count them per text.

    Args:
        codes: Text number and hash, ascending.
        sizes: Shape (texts): is filled.

    Returns:
        How many hashes there are.
    """
    sizes[:] = 0
    made = 0
    last = ~np.uint64(0)
    for code in codes:
        if code != last:
            sizes[np.int64(code >> HASH_BITS)] += 1
            codes[made] = code & ((np.uint64(1) << HASH_BITS) - np.uint64(1))
            made += 1
            last = code
    return made


@_compiled
def common(values: U64, offsets: I64, left: I64, right: I64, least: float, result: I64) -> None:
    """Count the hashes that both texts of each pair have.

    Args:
        values: Hashes, ascending within a text.
        offsets: Shape (texts + 1).
        left: Shape (pairs): text.
        right: Shape (pairs): text.
        least: Jaccard similarity that a pair has to reach; for others the count stops early.
        result: Shape (pairs): is filled.
    """
    share = least / (1 + least) - 1e-9
    for pair in range(len(left)):
        one, one_end = offsets[left[pair]], offsets[left[pair] + 1]
        other, other_end = offsets[right[pair]], offsets[right[pair] + 1]
        # More hashes of one text alone, and too few are left for both.
        wanted = share * (one_end - one + other_end - other)
        one_most, other_most = one_end - wanted, other_end - wanted
        found = 0
        while one < one_end and other < other_end and one - found <= one_most and other - found <= other_most:
            mine, its = values[one], values[other]
            found += mine == its
            one += mine <= its
            other += its <= mine
        result[pair] = found


@_compiled
def sketches(values: U64, offsets: I64, factors: U32, addends: U32, rows: int, keys: U32, signatures: U8) -> None:
    """MinHash each text: least values of linear permutations of 32 bits (Bohman et al. 2000).

    Args:
        values: Hashes.
        offsets: Shape (texts + 1).
        factors: Shape (hashes), odd.
        addends: Shape (hashes).
        rows: Hashes per band.
        keys: Shape (bands, texts): is filled with a hash of the MinHashes of each band.
        signatures: Shape (texts, bytes): is filled with two bits of each MinHash, four in a byte.
    """
    least = np.empty(len(factors), np.uint32)
    for text in range(len(offsets) - 1):
        least[:] = np.uint32(0xFFFFFFFF)
        for at in range(offsets[text], offsets[text + 1]):
            value = np.uint32(values[at] >> np.uint64(16))
            for index in range(len(factors)):
                least[index] = min(least[index], np.uint32(value * factors[index] + addends[index]))
        for band in range(len(keys)):
            key = np.uint64(0)
            for index in range(band * rows, (band + 1) * rows):
                key = key * FACTOR + np.uint64(least[index])
            keys[band, text] = np.uint32(mix(key) >> np.uint64(32))
        signatures[text] = 0
        for index in range(len(factors)):
            # The low bits of a product hang on the low bits of its factors alone, the high ones of a minimum are
            # mostly zero.
            bits = np.uint32(least[index] * np.uint32(0x9E3779B1)) >> np.uint32(30)
            signatures[text, index // 4] |= np.uint8(bits << np.uint32(2 * (index % 4)))
