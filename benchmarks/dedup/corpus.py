"""Documents with planted copies: which is a copy of which, and what was done to it, is known.

Words are drawn by Zipf's law from a made-up vocabulary, a third of it Hangul; a tenth of the originals ends with one of
twenty paragraphs that they share, as footers and disclaimers do. The same seed gives the same documents.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

KINDS = {
    "exact": 0.0, "0.5 % edits": 0.005, "1 % edits": 0.01, "2 % edits": 0.02, "5 % edits": 0.05, "10 % edits": 0.1,
    "20 % edits": 0.2, "appended": 0.0,
}  # fmt: skip
"""What is done to a copy, and how many of its words are replaced (6 of 10), deleted (2) or inserted (2)."""
_COPIES = 0.2
_WITH_FOOTER = 0.1
_VOCABULARY = 50_000
_ORIGINALS = 10_000
"""Originals that a copy may be of at any time, so that memory does not grow."""


class Document(NamedTuple):
    """A text, the number of the document that it is a copy of, -1 for none, and what was done to it."""

    text: str
    copy_of: int
    kind: str


def documents(count: int, seed: int = 1) -> Iterator[Document]:
    """Make documents of 20 to 600 words, some 720 bytes on average; a fifth are copies of an earlier one."""
    words = _Words(np.random.default_rng(seed))
    random = words.random
    footers = [words.draw(int(random.integers(12, 40))) for _ in range(20)]
    originals: list[tuple[int, list[int]]] = []
    for number in range(count):
        if originals and random.random() < _COPIES:
            copy_of, body = originals[int(random.integers(len(originals)))]
            kind = list(KINDS)[int(random.integers(len(KINDS)))]
            yield Document(words.text(words.edited(body, kind)), copy_of, kind)
            continue
        body = words.draw(int(np.clip(random.lognormal(4.5, 0.55), 20, 600)))
        if random.random() < _WITH_FOOTER:
            body += footers[int(random.integers(len(footers)))]
        place = len(originals) if len(originals) < _ORIGINALS else int(random.integers(_ORIGINALS))
        originals[place : place + 1] = [(number, body)]
        yield Document(words.text(body), -1, "")


class _Words:
    """Words as numbers, the most frequent one first."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        weights = 1 / (np.arange(_VOCABULARY) + 2.7)
        self._limits = np.cumsum(weights / weights.sum())
        self._spelled = [self._spell(number) for number in range(_VOCABULARY)]

    def draw(self, count: int) -> list[int]:
        found = np.searchsorted(self._limits, self.random.random(count))
        numbers: list[int] = np.minimum(found, _VOCABULARY - 1).tolist()
        return numbers

    def edited(self, body: list[int], kind: str) -> list[int]:
        if kind == "appended":
            return body + self.draw(max(1, len(body) // 10))
        edits = int(np.ceil(KINDS[kind] * len(body)))
        body = list(body)
        for at in sorted(self.random.choice(len(body), edits, replace=False).tolist(), reverse=True):
            action = self.random.random()
            removed, added = (1, 1) if action < 0.6 else (1, 0) if action < 0.8 else (0, 1)
            body[at : at + removed] = self.draw(added)
        return body

    def text(self, body: list[int]) -> str:
        """Sentences of ten words."""
        spelled = [self._spelled[number] for number in body]
        return ". ".join(" ".join(spelled[at : at + 10]).capitalize() for at in range(0, len(spelled), 10)) + "."

    def _spell(self, number: int) -> str:
        """Frequent words are short."""
        syllables = 1 + int(np.log10(number + 1) + self.random.random()) // 2 + int(self.random.integers(2))
        if number % 3 == 0:
            return "".join(chr(0xAC00 + int(self.random.integers(11_172))) for _ in range(syllables + 1))
        letters = ("bcdfghjklmnprstvw", "aeiou", "nrstlm")
        picks = [letters[at][int(self.random.integers(len(letters[at])))] for _ in range(syllables) for at in range(3)]
        return "".join(picks)
