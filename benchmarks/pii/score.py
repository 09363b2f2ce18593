"""Scores found spans against labelled ones: ``python score.py GOLD.jsonl SPANS.jsonl [--errors TYPE]``."""

import argparse
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

NOT_PATTERN = frozenset(("PERSON", "ADDRESS", "EMAIL_OBFUSCATED", "BANK_ACCOUNT"))
"""Types that a format does not define: left out of the micro scores and of the leak."""


OTHER = "OTHER"
"""Type of a found span that the labels do not know, such as a date: it covers text, and is neither right nor wrong."""


class Mark(NamedTuple):
    """A labelled or a found piece of personal data, in code points of its text."""

    start: int
    end: int
    type: str


@dataclass
class Document:
    """One labelled text.

    Attributes:
        id: What the found spans name it by.
        text: The text.
        gold: What is in it, in order.
        ignore: Ranges where a hit is neither right nor wrong.
    """

    id: str
    text: str
    gold: list[Mark]
    ignore: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Counts:
    """Hits and misses of one type.

    Attributes:
        right: Found spans that overlap a labelled one of their type.
        found: Found spans that count.
        hit: Labelled spans that a found one of their type overlaps.
        exact: Labelled spans found with both bounds right.
        gold: Labelled spans.
    """

    right: int = 0
    found: int = 0
    hit: int = 0
    exact: int = 0
    gold: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            *(mine + theirs for mine, theirs in zip(asdict(self).values(), asdict(other).values(), strict=True))
        )

    @property
    def precision(self) -> float:
        """Share of the found spans that are right; 1 when nothing was to be found nor was."""
        return self.right / self.found if self.found else float(not self.gold)

    @property
    def recall(self) -> float:
        """Share of the labelled spans that were found."""
        return self.hit / self.gold if self.gold else float(not self.found)

    @property
    def f1(self) -> float:
        """Of precision and recall."""
        return _harmonic(self.precision, self.recall)

    @property
    def strict_f1(self) -> float:
        """Where only exact bounds count."""
        return 2 * self.exact / (self.found + self.gold) if self.found + self.gold else 1.0


class Errors(NamedTuple):
    """What went wrong in one document."""

    missed: list[Mark]
    false: list[Mark]


@dataclass
class Score:
    """The whole result.

    Attributes:
        types: Per type.
        leak: Share of the characters of labelled pattern types under no found span at all.
        over: Share of the characters under no label and in no ignored range that a found span covers.
    """

    types: dict[str, Counts]
    leak: float
    over: float

    @property
    def pattern(self) -> Counts:
        """All types but `NOT_PATTERN`, summed."""
        return sum((counts for name, counts in self.types.items() if name not in NOT_PATTERN), Counts())


def score(documents: Iterable[Document], found: dict[str, list[Mark]]) -> Score:
    """Compare.

    Args:
        documents: The labelled texts.
        found: Spans by document id; a document without an entry has none.

    Returns:
        Precision counts found spans, recall counts labelled ones, both by overlap with the same type.
    """
    types: dict[str, Counts] = {}
    leaked = secret = masked = plain = 0
    for document in documents:
        marks = found.get(document.id, [])
        kept = counting(document, marks)
        errors = mistakes(document, marks)
        exact = set(kept)
        for mark in document.gold:
            counts = types.setdefault(mark.type, Counts())
            counts.gold += 1
            counts.exact += mark in exact
            counts.hit += 1
        for mark in errors.missed:
            types[mark.type].hit -= 1
        for mark in kept:
            counts = types.setdefault(mark.type, Counts())
            counts.found += 1
            counts.right += 1
        for mark in errors.false:
            types[mark.type].right -= 1
        covered = _painted(mark[:2] for mark in marks)
        private = _painted(mark[:2] for mark in document.gold if mark.type not in NOT_PATTERN)
        neutral = _painted(mark[:2] for mark in document.gold) | _painted(document.ignore)
        secret += len(private)
        leaked += len(private - covered)
        plain += len(document.text) - len(neutral)
        masked += len(covered - neutral)
    return Score(types, leaked / secret if secret else 0.0, masked / plain if plain else 0.0)


def counting(document: Document, found: Iterable[Mark]) -> list[Mark]:
    """Found spans that are right or wrong.

    Not those of type `OTHER`, nor those in an ignored range, nor an e-mail within a spelled-out one.
    """
    gold = _Index(document.gold)
    ignored = _Index(Mark(start, end, "") for start, end in document.ignore)
    return [
        mark
        for mark in found
        if gold.overlaps(mark, mark.type)
        or not (
            mark.type == OTHER
            or ignored.overlaps(mark)
            or (mark.type == "EMAIL" and gold.overlaps(mark, "EMAIL_OBFUSCATED"))
        )
    ]


def mistakes(document: Document, found: Iterable[Mark]) -> Errors:
    """Labelled spans that nothing of their type overlaps, and found spans that overlap no label of their type."""
    kept = counting(document, found)
    gold, hits = _Index(document.gold), _Index(kept)
    return Errors(
        [mark for mark in document.gold if not hits.overlaps(mark, mark.type)],
        [mark for mark in kept if not gold.overlaps(mark, mark.type)],
    )


class _Index:
    """Answers "does anything overlap this", for all types together or for one."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        self._by_type: dict[str | None, list[Mark]] = {}
        for mark in sorted(marks):
            self._by_type.setdefault(mark.type, []).append(mark)
            self._by_type.setdefault(None, []).append(mark)
        self._longest = max((mark.end - mark.start for mark in self._by_type.get(None, ())), default=0)

    def overlaps(self, mark: Mark, kind: str | None = None) -> bool:
        marks = self._by_type.get(kind, [])
        first = bisect_left(marks, (mark.start - self._longest,))
        last = bisect_left(marks, (mark.end,))
        return any(other.end > mark.start for other in marks[first:last])


def _painted(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def read_gold(path: Path) -> Iterator[Document]:
    """Read JSON lines ``{"id", "text", "spans": [{"start", "end", "type"}], "ignore": [[start, end]]}``."""
    for row in _rows(path):
        gold = [Mark(span["start"], span["end"], span["type"]) for span in row["spans"]]
        yield Document(row["id"], row["text"], sorted(gold), [(start, end) for start, end in row.get("ignore", [])])


def read_spans(path: Path) -> dict[str, list[Mark]]:
    """Read JSON lines ``{"id", "spans": [{"start", "end", "type"}]}``."""
    return {row["id"]: [Mark(span["start"], span["end"], span["type"]) for span in row["spans"]] for row in _rows(path)}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def table(result: Score) -> Iterator[str]:
    """The lines a person reads."""
    yield f"{'type':20}{'gold':>7}{'found':>7}{'P':>8}{'R':>8}{'F1':>8}{'strict':>8}"
    for name, counts in [*sorted(result.types.items()), ("pattern", result.pattern)]:
        yield (
            f"{name:20}{counts.gold:7}{counts.found:7}{counts.precision:8.4f}{counts.recall:8.4f}"
            f"{counts.f1:8.4f}{counts.strict_f1:8.4f}"
        )
    yield f"leak {result.leak:.5f}  over-masking {result.over:.5f}"


def error_lines(documents: Iterable[Document], found: dict[str, list[Mark]], kind: str) -> Iterator[str]:
    """Every miss and false alarm of one type with what stands around it. For synthetic text only: it is shown raw."""
    for document in documents:
        for label, marks in zip(("MISS ", "FALSE"), mistakes(document, found.get(document.id, [])), strict=True):
            for mark in marks:
                if mark.type == kind:
                    before, value, after = (
                        document.text[max(0, mark.start - 40) : mark.start],
                        document.text[mark.start : mark.end],
                        document.text[mark.end : mark.end + 30],
                    )
                    yield f"{label} {document.id} {before!r} >>{value!r}<< {after!r}"


def main() -> None:
    """Print the table, or with ``--errors`` what one type got wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gold", type=Path)
    parser.add_argument("spans", type=Path)
    parser.add_argument("--errors", metavar="TYPE")
    arguments = parser.parse_args()
    documents, found = list(read_gold(arguments.gold)), read_spans(arguments.spans)
    for line in error_lines(documents, found, arguments.errors) if arguments.errors else table(score(documents, found)):
        print(line)


if __name__ == "__main__":
    main()
