"""What a rule is: a pure function from folded text to spans, and the types it can find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llm_flywheel.components.scan_pii.spans import PiiType, Span

Find = Callable[[str], Iterator[Span]]


@dataclass(frozen=True)
class Rule:
    """One kind of rule.

    Attributes:
        types: What it can find; it runs when one of them is wanted.
        find: Yields spans of a text that went through `fold`; they may overlap. It must be linear in the text's
            length for any input, look at ASCII classes only (a Korean particle follows an entity without a space),
            and never match `fold.BLANK`.
    """

    types: frozenset[PiiType]
    find: Find


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a number is not a piece of a longer word, number, dotted or dashed code.

    A full stop or a dash after it is fine as long as no digit follows; Hangul may touch it on either side.

    Args:
        text: Folded text.
        start: First code point of the number.
        end: One past its last.
    """
    if start:
        before = text[start - 1]
        if before.isascii() and (before.isalnum() or before == "_"):
            return False
        if before in "-./" and start > 1 and text[start - 2].isascii() and text[start - 2].isdigit():
            return False
    after = text[end : end + 2]
    if not after:
        return True
    if after[0].isascii() and (after[0].isalnum() or after[0] == "_"):
        return False
    return not (after[0] in "-." and len(after) == 2 and after[1].isascii() and after[1].isdigit())
