"""The engine: text in, spans of personal data out. Pure, and compiled once from what is wanted."""

import re
from collections.abc import Iterable, Sequence

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.rules.registry import RULES
from llm_flywheel.components.scan_pii.spans import PII_TYPES, PiiType, Span, resolve


class Scanner:
    """Finds personal data and secrets in a text.

    Args:
        types: What to look for.
        allow_list: Values that are nobody's secret, compared without case; ``*`` stands for anything
            (``*@example.com``, ``010-0000-*``).
        min_score: Spans below this are not reported.

    Example:
        >>> Scanner().scan("제 번호는 010-2345-6789입니다")
        [Span(start=6, end=19, type='PHONE', score=0.85)]
    """

    def __init__(
        self, types: Iterable[PiiType] = PII_TYPES, allow_list: Sequence[str] = (), min_score: float = 0.5
    ) -> None:
        self.types = frozenset(types)
        self._rules = tuple(rule.find for rule in RULES if rule.types & self.types)
        self._allowed = _allowed(allow_list)
        self._min_score = min_score

    def scan(self, text: str) -> list[Span]:
        """Find what is in ``text``.

        Args:
            text: Any string; lone surrogates and control characters are fine.

        Returns:
            Disjoint spans in the order of the text, in code points of ``text`` itself; overlaps are settled as
            `resolve` says. Placeholders that a masking left are never found again.
        """
        folded = fold(text)
        found = [
            span
            for find in self._rules
            for span in find(folded)
            if span.score >= self._min_score and span.type in self.types
        ]
        if self._allowed and found:
            found = [span for span in found if not self._allowed.fullmatch(folded, span.start, span.end)]
        return resolve(found)


def _allowed(values: Sequence[str]) -> re.Pattern[str] | None:
    if not values:
        return None
    patterns = [re.escape(fold(value)).replace(r"\*", ".*") for value in values]
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)
