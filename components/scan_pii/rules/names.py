"""PERSON and ADDRESS: both start at a capitalised word, so one pass over the text serves the two."""

import re
from bisect import bisect_left
from collections.abc import Iterator

from llm_flywheel.components.scan_pii.rules import address, person, person_ko
from llm_flywheel.components.scan_pii.rules.remembered import Remembered
from llm_flywheel.components.scan_pii.spans import PiiType, Span

_HANGUL = re.compile("[가-힣]")
# A reader of scanned pages puts two blanks between words.
_WIDE = re.compile(r"  (?<=\S  )(?=\S)")
TYPES: frozenset[PiiType] = frozenset({"PERSON", "ADDRESS"})


def find(text: str) -> Iterator[Span]:
    """Names of persons and postal addresses; see `rules.rule.Rule`.

    Args:
        text: Folded text.

    Returns:
        Spans that may overlap: "Jackson Street" may be part of an address and hold a surname.
    """
    if "  " in text:
        wide = [match.start() for match in _WIDE.finditer(text)]
        if len(wide) > 2:
            kept = [at - removed for removed, at in enumerate(wide)]
            return (
                Span(span.start + bisect_left(kept, span.start), span.end + bisect_left(kept, span.end - 1), *span[2:])
                for span in _find(_WIDE.sub(" ", text))
            )
    return iter(_find(text))


def _find(text: str) -> list[Span]:
    ascii_only = text.isascii()
    found = address.by_word(text)
    small = ascii_only and text.islower()
    if small:
        found += address.small(text)
        text = text.title()
    done = 0
    known = _KNOWN
    for match in person.RUN.finditer(text):
        about = known[match.group()]
        if about is None:
            continue
        classes, pieces, before, behind = about
        if pieces:
            found += person.in_run(text, match, classes, pieces, small=small)
        if (before or behind) and match.end() > done:
            street = address.in_run(text, match, before, behind)
            if street:
                done = street.end
                found.append(street)
    if not ascii_only and _HANGUL.search(text):
        found += person_ko.find(text)
        found += address.korean(text)
    return found


def _about(run: str) -> tuple[str, list[person.Piece], bool, bool] | None:
    """What the words of a run say alone; none if it can be neither name nor street, as most runs."""
    classes, pieces = person.pieces_of(run)
    before, behind = address.signs(run.split(" "))
    return (classes, pieces, before, behind) if pieces or before or behind else None


_KNOWN = Remembered(_about, 1 << 15)
