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
