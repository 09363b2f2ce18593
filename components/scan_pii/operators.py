"""What happens to a span that was found."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.fakes import fake, pseudonym
from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType, Span

OperatorName = Literal["mask", "redact", "keep_last4", "pseudonym", "fake", "keep"]
Operator = Callable[[PiiType, str], str]

# The last four characters tell two of these apart without giving one away; of an address or a password they are
# a part of the content.
_TYPES_WITH_A_TAIL: frozenset[PiiType] = frozenset(
    {"PHONE", "CREDIT_CARD", "US_SSN", "KR_RRN", "KR_FRN", "IBAN", "BANK_ACCOUNT"}
)
_LEAST_FOR_A_TAIL = 9
# Shorter keys can be guessed (NIST SP 800-107: an HMAC is as strong as its key, 112 bits or more).
_SHORTEST_KEY = 16
# A masking can bring text together that is a find of its own. Redaction, which can do so on and on, gives way to a
# placeholder after a few rounds; the last bound is never reached by real text. Whatever is left then, the gate counts.
_ROUNDS_OF_REDACTION = 4
_MOST_ROUNDS = 10


def mask(kind: PiiType, value: str) -> str:
    """A placeholder that names the type: ``[EMAIL]``."""
    return f"[{kind}]"


def redact(kind: PiiType, value: str) -> str:
    """Nothing."""
    return ""


def keep_last4(kind: PiiType, value: str) -> str:
    """A placeholder with the last four digits of a number: ``[CREDIT_CARD:1111]``; other types are masked."""
    tail = [char for char in fold(value).text if char.isascii() and char.isdigit()]
    if kind not in _TYPES_WITH_A_TAIL or len(tail) < _LEAST_FOR_A_TAIL:
        return mask(kind, value)
    return f"[{kind}:{''.join(tail[-4:])}]"


class Masked(NamedTuple):
    """A text after masking.

    Attributes:
        text: The new text.
        counts: Replaced spans by type.
        left: What the scanner still finds in it: the types that are kept.
    """

    text: str
    counts: Counter[PiiType]
    left: Sequence[Span] = ()


class Masker:
    """Replaces what a scanner finds, so that a second masking changes nothing.

    Args:
        scanner: Finds the spans.
        operator: What to do with a type that ``operators`` does not name.
        operators: What to do by type; ``keep`` leaves the text as it is.
        key: Secret of ``pseudonym`` and ``fake`` (`Settings.pii_key`).

    Raises:
        FlywheelError: One of these two is wanted, and the key is missing or too short.
    """

    def __init__(
        self,
        scanner: Scanner,
        operator: OperatorName = "mask",
        operators: Mapping[PiiType, OperatorName] | None = None,
        *,
        key: str = "",
    ) -> None:
        self._scanner = scanner
        names = {kind: (operators or {}).get(kind, operator) for kind in scanner.types}
        keyed = sorted({"pseudonym", "fake"}.intersection(names.values()))
        if keyed and len(key) < _SHORTEST_KEY:
            raise FlywheelError(
                f"the operator {keyed[0]} needs a secret key of {_SHORTEST_KEY} characters or more in FLYWHEEL_PII_KEY",
                fix='export FLYWHEEL_PII_KEY="$(openssl rand -hex 32)", and keep it: another key gives other tokens',
                reason="pii_key",
            )
        secret = key.encode()
        by_name: dict[OperatorName, Operator] = {
            "mask": mask,
            "redact": redact,
            "keep_last4": keep_last4,
            "pseudonym": partial(pseudonym, secret),
            "fake": partial(fake, secret),
        }
        self._operators = {kind: by_name[name] for kind, name in names.items() if name != "keep"}
        self._fakes = frozenset(kind for kind, name in names.items() if name == "fake")
        # What stands in for a fake that looks like a find among the words around it.
        self._sure = {**self._operators, **dict.fromkeys(self._fakes, by_name["pseudonym"])}

    def mask(self, text: str, spans: Sequence[Span] | None = None) -> Masked:
        """Replace every span whose type is not kept, and again what that uncovers.

        Args:
            text: Any string.
            spans: What the scanner finds in ``text``, when the caller has it already.

        Returns:
            The new text, in which everything outside the spans is as it was, and how many were replaced.
        """
        return self.mask_between("", text, "", self._scanner.scan(text) if spans is None else spans)

    def mask_between(self, before: str, text: str, after: str, spans: Sequence[Span]) -> Masked:
        """Replace spans of a piece of a longer text.

        Args:
            before: What stands before the piece, already masked; it is only looked at.
            text: The piece.
            after: What comes after it, masked too.
            spans: What the scanner finds in the piece when it sees the original around it, relative to the piece.

        Returns:
            As `mask`, of the piece alone.
        """
        counts: Counter[PiiType] = Counter()
        operators = self._operators
        for number in range(_MOST_ROUNDS):
            wanted = [span for span in spans if span.type in operators]
            if not wanted:
                break
            counts.update(span.type for span in wanted)
            replaced = _replacements(text, wanted, operators)
            masked = _joined(text, wanted, replaced)
            spans = self._found(before, masked, after)
            if number == 0 and self._fakes and spans:
                replaced = self._without_found(text, wanted, replaced, spans)
                masked = _joined(text, wanted, replaced)
                spans = self._found(before, masked, after)
            text = masked
            operators = self._sure if number + 1 < _ROUNDS_OF_REDACTION else dict.fromkeys(self._operators, mask)
        return Masked(text, counts, spans)

    def replaced(self, text: str, spans: Sequence[Span]) -> str:
        """``text`` with its spans replaced once, whatever that uncovers."""
        wanted = [span for span in spans if span.type in self._operators]
        return _joined(text, wanted, _replacements(text, wanted, self._operators))

    def _found(self, before: str, text: str, after: str) -> list[Span]:
        """What a scan finds in ``text`` between its neighbours, relative to it."""
        shift, end = len(before), len(text)
        return [
            span._replace(start=max(0, span.start - shift), end=min(end, span.end - shift))
            for span in self._scanner.scan(before + text + after)
            if span.end > shift and span.start < shift + end
        ]

    def _without_found(self, text: str, spans: list[Span], replaced: list[str], found: Sequence[Span]) -> list[str]:
        """``replaced`` with a pseudonym for every fake that one of ``found`` touches in the masked text."""
        result: list[str] = []
        ends = [other.end for other in found]
        shift = 0
        for span, new in zip(spans, replaced, strict=True):
            start = span.start + shift
            end = start + len(new)
            shift = end - span.end
            at = bisect_right(ends, start)
            if span.type in self._fakes and at < len(found) and found[at].start < end:
                new = self._sure[span.type](span.type, text[span.start : span.end])
            result.append(new)
        return result


def _replacements(text: str, spans: Sequence[Span], operators: Mapping[PiiType, Operator]) -> list[str]:
    return [operators[span.type](span.type, text[span.start : span.end]) for span in spans]


def _joined(text: str, spans: Sequence[Span], replaced: Sequence[str]) -> str:
    parts: list[str] = []
    at = 0
    for span, new in zip(spans, replaced, strict=True):
        parts += (text[at : span.start], new)
        at = span.end
    return "".join([*parts, text[at:]])
