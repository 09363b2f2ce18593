"""Quality filters: each decides about one conversation alone and returns None to keep it, or a reason to drop it.

All are linear in the length of the text. Measures that are noise on short text do not look at it, so that good short
chat ("Top-up?", "ㅋㅋㅋ") stays.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import re2

from llm_flywheel.components.common.config import bind, load_yaml
from llm_flywheel.components.curate.config import ActionName, CurateConfig, Repetition, WordList

_SHIPPED_LISTS = Path(__file__).with_name("word_lists.yaml")

# In shorter texts these measures are noise: "Top-up?" is a quarter symbols, "no no no" repeats itself.
_SYMBOL_MIN_CHARS = 10
_REPEAT_MIN_WORDS = 12
_REPEAT_MIN_LINES = 4
_REPEAT_MIN_PARAGRAPHS = 3
# Words of this many characters are no words but text without spaces; it is then measured by characters.
_UNSPACED_WORD = 25
_UNSPACED_CHARS = 8

# A first look that is several times as fast as the categories \w and \s.
_NOT_PLAIN = re.compile(r"[^ \na-zA-Z0-9가-힣]+")
_SYMBOL = re.compile(r"[^\w\s]|_")


@dataclass(frozen=True)
class Conversation:
    """What a filter sees.

    Attributes:
        messages: Normalised messages.
        lang: Language of the row.
    """

    messages: Sequence[Mapping[str, str]]
    lang: str

    def of(self, role: str) -> list[str]:
        """All texts of one role, in order."""
        return [message["content"] for message in self.messages if message["role"] == role]

    @cached_property
    def spoken(self) -> list[str]:
        """Texts of the user and the assistant."""
        return [message["content"] for message in self.messages if message["role"] != "system"]


Filter = Callable[[Conversation], str | None]


def filters_for(config: CurateConfig) -> list[Filter]:
    """The filters in the order they are asked; the first reason counts."""
    return [
        has_question_and_answer(),
        length("user", config.min_user_chars, config.max_user_chars),
        length("assistant", config.min_answer_chars, config.max_answer_chars),
        language(config.languages),
        symbols(config.max_symbol_share),
        repetition(config.repetition),
        Phrases(config, "drop"),
    ]


def first_reason(filters: Sequence[Filter], conversation: Conversation) -> str | None:
    """The first filter's reason to drop the conversation, or None to keep it."""
    return next((reason for ask in filters if (reason := ask(conversation))), None)


def has_question_and_answer() -> Filter:
    """Drop conversations without a user message (``no_question``) or that do not end with an answer (``no_answer``).

    A lone message of the assistant is a plain text, and stays.
    """

    def ask(conversation: Conversation) -> str | None:
        if [message["role"] for message in conversation.messages] == ["assistant"]:
            return None if conversation.messages[0]["content"] else "no_answer"
        if not any(text for text in conversation.of("user")):
            return "no_question"
        last = conversation.messages[-1]
        return None if last["role"] == "assistant" and last["content"] else "no_answer"

    return ask


def length(role: str, least: int, most: int) -> Filter:
    """Drop conversations with a message of ``role`` outside ``least`` to ``most`` characters.

    Reasons: ``<role>_too_short``, ``<role>_too_long``.
    """

    def ask(conversation: Conversation) -> str | None:
        lengths = [len(text) for text in conversation.of(role)]
        if any(value < least for value in lengths):
            return f"{role}_too_short"
        return f"{role}_too_long" if any(value > most for value in lengths) else None

    return ask


def language(allowed: Sequence[str]) -> Filter:
    """Drop conversations in a language that is not allowed (``language``); an empty list allows all."""

    def ask(conversation: Conversation) -> str | None:
        return "language" if allowed and conversation.lang not in allowed else None

    return ask


def symbols(most: float) -> Filter:
    """Drop conversations with a message that is mostly symbols (``symbols``)."""

    def ask(conversation: Conversation) -> str | None:
        texts = [text for text in conversation.spoken if len(text) >= _SYMBOL_MIN_CHARS]
        return "symbols" if any(symbol_share(text) > most for text in texts) else None

    return ask


def symbol_share(text: str) -> float:
    """Share of characters, 0 to 1, that are no letter, digit or white space."""
    return len(_SYMBOL.findall("".join(_NOT_PLAIN.findall(text)))) / len(text) if text else 0.0


def repetition(limits: Repetition) -> Filter:
    """Drop conversations with a message that repeats itself.

    Reasons: ``repeated_characters``, ``repeated_paragraphs``, ``repeated_lines``, ``repeated_words``.
    """
    run = re.compile(rf"(\S)\1{{{limits.max_run - 1}}}")
    # A run spans four of the characters at a quarter of its length from each other: few texts need the slow search.
    stride, hint = max(1, limits.max_run // 4), re.compile(rf"(\S)\1{{{min(limits.max_run, 4) - 1}}}")

    def ask(conversation: Conversation) -> str | None:
        for text in conversation.spoken:
            if hint.search(text[::stride]) and run.search(text):
                return "repeated_characters"
            if repeated_share(text.split("\n\n"), _REPEAT_MIN_PARAGRAPHS) > limits.max_paragraph_share:
                return "repeated_paragraphs"
            if repeated_share(text.split("\n"), _REPEAT_MIN_LINES) > limits.max_line_share:
                return "repeated_lines"
            if repeats_ngrams(text, limits.max_ngram_share):
                return "repeated_words"
        return None

    return ask


def repeated_share(parts: Sequence[str], least: int) -> float:
    """Share of characters, 0 to 1, in parts that occurred before; 0 for fewer than ``least`` parts.

    "Duplicate line (paragraph) character fraction" of Gopher (Rae et al. 2021, arXiv:2112.11446, table A1).
    """
    if len(parts) < least:
        return 0.0
    parts = [part for part in map(str.strip, parts) if part]
    total = sum(map(len, parts))
    return 1 - sum(map(len, set(parts))) / total if len(parts) >= least else 0.0


def repeats_ngrams(text: str, most: float) -> bool:
    """Whether more than a share ``most`` of the three-word sequences occurred before in the text; not for short texts.

    The duplicate n-gram measure of Gopher (table A1), on triples. Text without spaces is measured by sequences of
    eight characters.
    """
    words: Sequence[str] = text.lower().split()
    size = 3
    if len(text) > _UNSPACED_WORD * (len(words) + 1):
        words, size = text, _UNSPACED_CHARS
    elif len(words) < _REPEAT_MIN_WORDS:
        return False
    sequences = len(words) - size + 1
    # A sequence that occurred before begins with a word that did: mostly there is no need to build the sequences.
    if len(words) - len(set(words)) <= most * sequences:
        return False
    distinct = len({tuple(words[at : at + size]) for at in range(sequences)})
    return sequences - distinct > most * sequences


class Phrases:
    """Looks for the phrases of all word lists with one action, in one pass over each message.

    The reason is the name of the list. ``boilerplate`` needs more than a phrase: the lines that hold one must be more
    than ``max_boilerplate_share`` of the message.

    Args:
        config: Word lists and what to do with them.
        action: Which of them to use: ``drop`` or ``flag``.
    """

    def __init__(self, config: CurateConfig, action: ActionName) -> None:
        self._config, self._action = config, action
        lists = {name: item for name, item in word_lists(config).items() if item.action == action}
        self._patterns = {
            role: [(name, pattern) for name, item in lists.items() if role in item.roles for pattern in item.patterns]
            for role in ("user", "assistant")
        }
        self._sets = {role: _pattern_set([p for _, p in pairs]) for role, pairs in self._patterns.items() if pairs}
        self._boilerplate = _pattern_set(lists["boilerplate"].patterns if "boilerplate" in lists else [])

    def __call__(self, conversation: Conversation) -> str | None:
        """The name of the first list that a message of the conversation is on, or None."""
        return next(self._hits(conversation), None)

    def all(self, conversation: Conversation) -> set[str]:
        """The names of all lists that a message of the conversation is on."""
        return set(self._hits(conversation))

    def _hits(self, conversation: Conversation) -> Iterator[str]:
        for message in conversation.messages:
            role, text = message["role"], message["content"]
            found = self._sets[role].Match(text) if role in self._sets else None
            for name in dict.fromkeys(self._patterns[role][index][0] for index in sorted(found or ())):
                if name != "boilerplate" or self._mostly_boilerplate(text):
                    yield name

    def _mostly_boilerplate(self, text: str) -> bool:
        lines = [line for line in text.split("\n") if line]
        hit: int = sum(len(line) for line in lines if self._boilerplate.Match(line))
        return hit > self._config.max_boilerplate_share * sum(map(len, lines))

    def __reduce__(self) -> tuple[type["Phrases"], tuple[CurateConfig, ActionName]]:
        return Phrases, (self._config, self._action)  # a compiled pattern set cannot be pickled


def word_lists(config: CurateConfig) -> dict[str, WordList]:
    """The shipped lists with the config's actions, and the config's own lists; an own list replaces a shipped one."""
    lists = dict(_shipped_lists())
    for name, item in config.word_lists.items():
        lists[name] = item if isinstance(item, WordList) else lists[name].model_copy(update={"action": item})
    return lists


@cache
def _shipped_lists() -> Mapping[str, WordList]:
    values = load_yaml(_SHIPPED_LISTS)
    return {name: bind(WordList, item, where=f"{_SHIPPED_LISTS}: {name}") for name, item in values.items()}


def _pattern_set(patterns: Sequence[str]) -> Any:
    """An RE2 set: all patterns in one pass, linear in the length of the text."""
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.max_mem = 1 << 26  # beyond its memory a set finds nothing
    result = re2.Set.SearchSet(options)
    for pattern in patterns:
        result.Add(pattern)
    result.Compile()
    return result
