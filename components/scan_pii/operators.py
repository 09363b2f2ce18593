"""What happens to a span that was found."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType, Span

OperatorName = Literal["mask", "redact", "keep_last4", "keep"]
Operator = Callable[[PiiType, str], str]

# The last four characters tell two of these apart without giving one away; of an address or a password they are
# a part of the content.
_TYPES_WITH_A_TAIL: frozenset[PiiType] = frozenset({"PHONE", "CREDIT_CARD", "US_SSN", "KR_RRN", "KR_FRN", "IBAN"})
_LEAST_FOR_A_TAIL = 9
# A masking can bring text together that is a find of its own; each round removes some, so this is never reached
# by real text. Whatever is left then, the gate counts.
_MOST_ROUNDS = 10


def mask(kind: PiiType, value: str) -> str:
    """A placeholder that names the type: ``[EMAIL]``."""
    return f"[{kind}]"


def redact(kind: PiiType, value: str) -> str:
    """Nothing."""
    return ""


def keep_last4(kind: PiiType, value: str) -> str:
    """A placeholder with the last four digits or letters of a number: ``[CREDIT_CARD:1111]``; others are masked."""
    tail = [char for char in value if char.isascii() and char.isalnum()]
    if kind not in _TYPES_WITH_A_TAIL or len(tail) < _LEAST_FOR_A_TAIL:
        return mask(kind, value)
    return f"[{kind}:{''.join(tail[-4:])}]"


OPERATORS: Mapping[OperatorName, Operator] = {"mask": mask, "redact": redact, "keep_last4": keep_last4}


class Masked(NamedTuple):
    """A text after masking.

    Attributes:
        text: The new text.
        counts: Replaced spans by type.
    """

    text: str
    counts: Counter[PiiType]


class Masker:
    """Replaces what a scanner finds, so that a second masking changes nothing.

    Args:
        scanner: Finds the spans.
        operator: What to do with a type that ``operators`` does not name.
        operators: What to do by type; ``keep`` leaves the text as it is.
    """

    def __init__(
        self, scanner: Scanner, operator: OperatorName = "mask", operators: Mapping[PiiType, OperatorName] | None = None
    ) -> None:
        self._scanner = scanner
        names = {kind: (operators or {}).get(kind, operator) for kind in scanner.types}
        self._operators: dict[PiiType, Operator] = {
            kind: OPERATORS[name] for kind, name in names.items() if name != "keep"
        }

    def mask(self, text: str, spans: list[Span] | None = None) -> Masked:
        """Replace every span whose type is not kept, and again what that uncovers.

        Args:
            text: Any string.
            spans: What the scanner finds in ``text``, when the caller has it already.

        Returns:
            The new text, in which everything outside the spans is as it was, and how many were replaced.
        """
        counts: Counter[PiiType] = Counter()
        for _ in range(_MOST_ROUNDS):
            spans = self._scanner.scan(text) if spans is None else spans
            wanted = [span for span in spans if span.type in self._operators]
            if not wanted:
                break
            counts.update(span.type for span in wanted)
            text = self._replaced(text, wanted)
            spans = None
        return Masked(text, counts)

    def _replaced(self, text: str, spans: list[Span]) -> str:
        parts: list[str] = []
        at = 0
        for span in spans:
            parts += (text[at : span.start], self._operators[span.type](span.type, text[span.start : span.end]))
            at = span.end
        return "".join([*parts, text[at:]])
