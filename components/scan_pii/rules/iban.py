"""International bank account numbers (ISO 13616): country, length of that country, mod 97."""

import re
from collections.abc import Iterator

from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.rules.patterns import iban_lengths
from llm_flywheel.components.scan_pii.spans import Span

_CANDIDATE = re.compile(r"[A-Za-z]{2}(?<![A-Za-z0-9_]..)[0-9]{2}(?: ?-? ?[A-Za-z0-9]){11,30}", re.ASCII)


def find(text: str) -> Iterator[Span]:
    """Yield IBANs, compact or in groups, in either case.

    Args:
        text: Folded text.
    """
    at = 0
    while match := _CANDIDATE.search(text, at):
        end = _end(text, match.start())
        if end:
            yield Span(match.start(), end, "IBAN", 0.97)
        at = end or match.start() + 1


def _end(text: str, start: int) -> int:
    """Where the IBAN that begins at ``start`` ends, or 0 when its check fails."""
    wanted = iban_lengths().get(text[start : start + 2].upper(), 0)
    compact = ""
    for at in range(start, min(len(text), start + 3 * wanted)):
        char = text[at]
        if char not in " -":
            if not (char.isascii() and char.isalnum()):
                return 0
            compact += char
        if len(compact) == wanted:
            after = text[at + 1 : at + 2]
            alone = not (after.isascii() and after.isalnum()) and _well_grouped(text[start : at + 1])
            return at + 1 if alone and checksums.iban(compact.upper()) else 0
    return 0


def _well_grouped(value: str) -> bool:
    """In one piece, or in upper case and groups of four: words that follow each other are not an account."""
    groups = re.split("[ -]+", value)
    return len(groups) == 1 or (value.isupper() and all(len(group) == 4 for group in groups[:-1]))
