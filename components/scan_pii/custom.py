"""Recognisers that a person declares, in the very shape of a Presidio recogniser file.

Patterns run on RE2, whose time is linear whatever the pattern, and one RE2 set says in a single pass which of them a
text can match at all, so that a hundred recognisers cost little more than none.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii import checksums
from llm_flywheel.components.scan_pii.spans import Span

ValidatorName = Literal["luhn", "iban", "kr_rrn", "kr_brn"]
_VALIDATORS: dict[ValidatorName, Callable[[str], bool]] = {
    "luhn": lambda value: value.isdigit() and checksums.luhn(value),
    "iban": lambda value: 15 <= len(value) <= 34 and value.isalnum() and checksums.iban(value.upper()),
    "kr_rrn": lambda value: value.isdigit() and len(value) == 13 and checksums.rrn(value),
    "kr_brn": lambda value: value.isdigit() and len(value) == 10 and checksums.brn(value),
}
# Presidio's LemmaContextAwareEnhancer: a context word adds this much, and lifts to at least that much.
_CONTEXT_BONUS, _LEAST_WITH_CONTEXT = 0.35, 0.4
_CONTEXT_WINDOW = 60
# A long text is matched in pieces with some text around them, so that one greedy pattern cannot read all of it again
# for every match. A match longer than `_LONGEST` is cut.
_CHUNK, _BEFORE, _LONGEST = 8_192, 64, 1_024
# A bound, not what is used: 60,000 names need up to a hundred megabytes, and a pattern that needs 8 is a mistake.
_MOST_MEMORY, _MOST_MEMORY_OF_A_PATTERN = 128 << 20, 8 << 20
# A pattern that reads its input once needs a tenth of a millisecond for a probe of this length.
_PROBE, _LONGEST_PROBE_S = 8_192, 0.05
_SMALLER = "leave words out of the deny_list, such as names that the rules find anyway"
_REPEATED_REPEAT = re.compile(r"\((?:\?:|\?P?<\w+>)?(?:\\.|\[\^?\]?[^\]]*\]|[^()\\\[])[+*]\)(?:[+*]|\{\d+,\})")


class CustomPattern(Section):
    """One regular expression of a recogniser."""

    name: str = Field(default="", description="shown in error messages")
    regex: str = Field(min_length=1, description="RE2 syntax, case-insensitive; no look-around, no back references")
    score: float = Field(default=0.5, ge=0, le=1, description="how sure a match alone is")


class CustomRecogniser(Section):
    r"""One recogniser, as an entry of Presidio's ``recognizers:`` list.

    Example:
        >>> employee = CustomRecogniser(
        ...     name="employee", supported_entity="EMPLOYEE_ID", patterns=[CustomPattern(regex=r"\bE-\d{6}\b")]
        ... )
    """

    name: str = Field(min_length=1, description="shown in error messages")
    supported_entity: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,40}$", description="type of what it finds")
    patterns: list[CustomPattern] = Field(default_factory=list, description="any of these")
    deny_list: list[str] = Field(default_factory=list, description="words to find as they are, whole words only")
    deny_list_score: float = Field(default=1.0, ge=0, le=1, description="how sure a word of the deny list is")
    context: list[str] = Field(default_factory=list, description="words before a match that make it surer by 0.35")
    validator: ValidatorName | None = Field(
        default=None, description="check digits: a match that fails is dropped, one that passes scores 1"
    )
    supported_language: str = Field(default="", description="for Presidio only; our rules apply to every language")
    supported_languages: list[Any] = Field(default_factory=list, description="for Presidio only")
    type: Literal["custom"] = Field(default="custom", description="for Presidio only")
    enabled: bool = Field(default=True, description="false leaves it out")

    @model_validator(mode="after")
    def _finds_something(self) -> "CustomRecogniser":
        if not self.patterns and not any(word.strip() for word in self.deny_list):
            raise ValueError(f"recogniser {self.name!r} has neither patterns nor a deny_list")
        return self


class _Compiled(NamedTuple):
    regex: Any
    score: float
    whole_words: bool
    recogniser: CustomRecogniser


class CustomRule:
    """The compiled recognisers of a configuration, as one rule.

    Args:
        recognisers: In the order of the file.

    Raises:
        FlywheelError: A pattern is not RE2, matches the empty text, or reads its input again and again, or a deny list
            is too large; the message names the recogniser and holds no word of a deny list.
    """

    def __init__(self, recognisers: Sequence[CustomRecogniser]) -> None:
        import re2

        self._compiled: list[_Compiled] = []
        options = re2.Options()
        options.max_mem = _MOST_MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for recogniser in recognisers:
            if not recogniser.enabled:
                continue
            for pattern in recogniser.patterns:
                self._add(recogniser, pattern.regex, pattern.score, whole_words=False)
            # RE2 takes the first alternative that fits: a word has to come before its own beginning. And it shares
            # the beginnings of neighbours, without which a list of thousands is fifty times slower.
            words = sorted(filter(None, map(str.strip, recogniser.deny_list)), key=str.lower, reverse=True)
            if words:
                self._add(recogniser, "|".join(map(re2.escape, words)), recogniser.deny_list_score, whole_words=True)
        try:
            if self._compiled:
                self._set.Compile()
        except re2.error:
            names = ", ".join(repr(item.recogniser.name) for item in self._compiled)
            raise _refused(f"too large together: {names}", _SMALLER) from None

    @property
    def types(self) -> frozenset[str]:
        """The types it can find."""
        return frozenset(item.recogniser.supported_entity for item in self._compiled)

    def _add(self, recogniser: CustomRecogniser, regex: str, score: float, whole_words: bool) -> None:
        import re2

        # The flags that Presidio compiles with.
        pattern = f"(?ims:{regex})"
        options = re2.Options()
        options.max_mem = _MOST_MEMORY if whole_words else _MOST_MEMORY_OF_A_PATTERN
        options.log_errors = False
        try:
            if _REPEATED_REPEAT.search(regex):
                raise ValueError("a repeat of nothing but a repeat, such as (a+)+, means the same as one repeat")
            compiled = re2.compile(pattern.encode(), options)
            if compiled.search(b"") is not None:
                raise ValueError("it matches the empty text")
            _probe(compiled, regex)
            self._set.Add(pattern.encode())
        except (re2.error, ValueError) as error:
            if whole_words:  # its words are real names
                raise _refused(f"recogniser {recogniser.name!r}: its deny_list is too large", _SMALLER) from None
            why = error.args[0] if error.args else "invalid"
            raise _refused(
                f"pattern {regex!r} of recogniser {recogniser.name!r} is refused: "
                + (why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)),
                "use RE2 syntax (no look-around, no back references) that matches a bounded piece of text",
            ) from None
        self._compiled.append(_Compiled(compiled, score, whole_words, recogniser))

    def find(self, text: str) -> Iterator[Span]:
        """Yield what the recognisers match.

        Args:
            text: Folded text.
        """
        for at in range(0, len(text), _CHUNK):
            first = max(0, at - _BEFORE)
            for start, end, kind, score in self._in_chunk(text[first : at + _CHUNK + _LONGEST]):
                if at <= first + start < at + _CHUNK:
                    yield Span(first + start, first + end, kind, score)

    def _in_chunk(self, text: str) -> Iterator[Span]:
        data = text.encode("utf-8", "replace")
        for number in self._set.Match(data) or ():
            yield from _matches(self._compiled[number], text, data)


def _refused(what: str, fix: str) -> FlywheelError:
    return FlywheelError(what, where="scan_pii.custom", fix=fix, reason="custom_recogniser")


def _matches(item: _Compiled, text: str, data: bytes) -> Iterator[Span]:
    same = len(data) == len(text)
    at = byte = 0
    for match in item.regex.finditer(data):
        first, last = match.span()
        if first == last:
            continue
        if same:
            start, end = first, last
        else:
            start = at + len(data[byte:first].decode("utf-8", "ignore"))
            end = start + len(data[first:last].decode("utf-8", "ignore"))
            at, byte = end, last
        score = _score(item, text, start, end)
        if score:
            yield Span(start, end, item.recogniser.supported_entity, score)


def _score(item: _Compiled, text: str, start: int, end: int) -> float:
    recogniser = item.recogniser
    if "\0" in text[start:end] or (item.whole_words and not _is_whole(text, start, end)):
        return 0.0
    if recogniser.validator:
        return 1.0 if _VALIDATORS[recogniser.validator](re.sub(r"[\s.-]", "", text[start:end])) else 0.0
    if recogniser.context:
        before = text[max(0, start - _CONTEXT_WINDOW) : start].lower()
        if any(word.lower() in before for word in recogniser.context):
            return min(1.0, max(item.score + _CONTEXT_BONUS, _LEAST_WITH_CONTEXT))
    return item.score


def _is_whole(text: str, start: int, end: int) -> bool:
    around = text[max(0, start - 1) : start], text[end : end + 1]
    return not any(char.isascii() and (char.isalnum() or char == "_") for char in around)


def _probe(regex: Any, source: str) -> None:
    """Refuse a pattern that starts over behind each of its matches: it would be quadratic up to the chunk's end."""
    for char in sorted({char for char in source if char.isascii() and char.isalnum()} | set("a1 "))[:40]:
        text = char.encode() * _PROBE
        started = time.process_time()
        for _ in regex.finditer(text):
            if time.process_time() - started > _LONGEST_PROBE_S:
                raise ValueError(f"on {_PROBE:,} times {char!r} it reads the same text again and again")
