"""A value whose label stands apart from it: in the first row of a table, in a list of columns, in another tag.

It is read as ``label: value`` by the rules that know a word of the label. Nothing is found that they would not find in
that form, and a number that they would not find in that form is none.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from llm_flywheel.components.scan_pii.rules import bank, cues, names, numbers, person_labels, secret
from llm_flywheel.components.scan_pii.rules.rule import Find
from llm_flywheel.components.scan_pii.rules.vendors import key_words
from llm_flywheel.components.scan_pii.spans import NOTHING, PiiType, Span

TYPES: frozenset[PiiType] = numbers.TYPES | names.TYPES | {"SECRET"}

_NUMBER = re.compile(r"[0-9 ./()+-]+")
_OTHER_NUMBERS = cues.OTHER | cues.VERSION
_NUMBERS = (
    _OTHER_NUMBERS
    | bank.LABELS
    | cues.PHONE
    | cues.SSN
    | cues.RRN
    | cues.CARD
    | cues.PASSPORT
    | cues.LICENSE
    | cues.BRN
)


def is_label(text: str) -> bool:
    """Whether a rule knows a word of ``text`` as a label."""
    return bool(_readers(text))


def read(label: str, start: int, value: str) -> Iterator[Span]:
    """Yield what the label gives away, and as `NOTHING` a number that it explains.

    Args:
        label: Folded text of the label.
        start: Where the value stands.
        value: Folded text of the value.
    """
    readers = _readers(label) if value else ()
    if not readers:
        return
    lead = len(label) + 2
    labelled = f"{label}: {value}"
    found = [span for find in readers for span in find(labelled) if span.start >= lead]
    for span in found:
        yield span._replace(start=span.start - lead + start, end=span.end - lead + start)
    if not found and _NUMBER.fullmatch(value) and cues.before(label, len(label), _NUMBERS)[0] & _OTHER_NUMBERS:
        yield Span(start, start + len(value), NOTHING, 1.0)


@lru_cache(maxsize=1 << 12)
def _readers(label: str) -> tuple[Find, ...]:
    """The rules for which ``label`` says something of the value behind it."""
    finds: list[Find] = []
    if cues.before(label, len(label), _NUMBERS)[0]:
        finds.append(numbers.find)
    if any(piece in label.lower() for piece in key_words()):
        finds.append(secret.find)
    if person_labels.label(label) == 2 or "ddress" in label or "주소" in label:
        finds.append(names.find)
    return tuple(finds)
