"""The engine: text in, spans of personal data out. Pure, and compiled once from what is wanted."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from llm_flywheel.components.scan_pii.fold import Folded, fold, placeholder
from llm_flywheel.components.scan_pii.rules.registry import RULES
from llm_flywheel.components.scan_pii.spans import NOTHING, PII_TYPES, PiiType, Span, resolve

if TYPE_CHECKING:
    from llm_flywheel.components.scan_pii.custom import CustomRecogniser
    from llm_flywheel.components.scan_pii.ner import NerBackend

_AT_ONCE = 200


class Scanner:
    """Finds personal data and secrets in a text.

    Args:
        types: What to look for; the types of ``custom`` are always among it.
        allow_list: Values that are nobody's secret, compared without case; ``*`` stands for anything
            (``*@example.com``, ``010-0000-*``).
        min_score: Spans below this are not reported.
        min_scores: Another bound for some types.
        custom: Recognisers beside the built-in rules.
        ner: A model for names and addresses beside the rules.

    Raises:
        FlywheelError: A custom recogniser's pattern is refused.

    Example:
        >>> Scanner().scan("제 번호는 010-2345-6789입니다")
        [Span(start=6, end=19, type='PHONE', score=0.85)]
    """

    def __init__(
        self,
        types: Iterable[PiiType] = PII_TYPES,
        allow_list: Sequence[str] = (),
        min_score: float = 0.5,
        *,
        min_scores: Mapping[PiiType, float] | None = None,
        custom: Sequence["CustomRecogniser"] = (),
        ner: "NerBackend | None" = None,
    ) -> None:
        built_in = frozenset(types)
        rules = [rule.find for rule in RULES if rule.types & built_in]
        self.types = built_in
        if custom:
            from llm_flywheel.components.scan_pii.custom import CustomRule

            rule = CustomRule(custom)
            rules.append(rule.find)
            self.types |= rule.types
        if ner is not None:
            rules.append(ner.find)
        self._rules = tuple(rules)
        self._least = {kind: (min_scores or {}).get(kind, min_score) for kind in self.types} | {NOTHING: 0}
        self._placeholders = placeholder(self.types.union(PII_TYPES))
        self._allowed = _allowed(allow_list)

    def scan(self, text: str) -> list[Span]:
        """Find what is in ``text``.

        Args:
            text: Any string; lone surrogates and control characters are fine.

        Returns:
            Disjoint spans in the order of the text, in code points of ``text`` itself; overlaps are settled as
            `resolve` says. Placeholders that a masking left are never found again.
        """
        return self._scan_part([text])[0]

    def scan_all(self, texts: Sequence[str]) -> list[list[Span]]:
        """Find what is in each of some texts, a fifth faster than one by one: each rule stays in the caches.

        Args:
            texts: Any strings.

        Returns:
            Per text what `scan` gives.
        """
        parts = (texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE))
        return [spans for part in parts for spans in self._scan_part(part)]

    def _scan_part(self, texts: Sequence[str]) -> list[list[Span]]:
        views = [fold(text, self._placeholders) for text in texts]
        found: list[list[Span]] = [[] for _ in texts]
        least = self._least
        for find in self._rules:
            for view, spans in zip(views, found, strict=True):
                # A type that is not wanted has no bound: nothing reaches 2.
                spans += [span for span in find(view[0]) if span[3] >= least.get(span[2], 2)]
        return [self._settled(view, spans) if spans else spans for view, spans in zip(views, found, strict=True)]

    def _settled(self, folded: Folded, found: list[Span]) -> list[Span]:
        if self._allowed:
            found = [span for span in found if not self._allowed.fullmatch(folded.text, span.start, span.end)]
        settled = [span for span in resolve(found) if span[2]]
        if folded.starts is None:
            return settled
        return [Span(*folded.original(span.start, span.end), span.type, span.score) for span in settled]


def _allowed(values: Sequence[str]) -> re.Pattern[str] | None:
    if not values:
        return None
    patterns = [re.escape(fold(value).text).replace(r"\*", ".*") for value in values]
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)
