"""Quality filters: each decides about one conversation alone and returns None to keep it, or a reason to drop it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_flywheel.components.curate.config import CurateConfig

# In shorter texts these measures are noise: "Top-up?" is a quarter symbols, "no no no" repeats itself.
_SYMBOL_MIN_CHARS = 10
_REPEAT_MIN_WORDS = 12
_RUN = re.compile(r"(\S)\1{49,}")

_LETTER_DIGIT_SPACE = re.compile(r"[^\W_]|\s")


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
        repetition(config.max_repeated_share),
    ]


def first_reason(filters: Sequence[Filter], conversation: Conversation) -> str | None:
    """The first filter's reason to drop the conversation, or None to keep it."""
    return next((reason for ask in filters if (reason := ask(conversation))), None)


def has_question_and_answer() -> Filter:
    """Drop conversations without a user message (``no_question``) or that do not end with an answer (``no_answer``)."""

    def ask(conversation: Conversation) -> str | None:
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
    return 1 - len(_LETTER_DIGIT_SPACE.findall(text)) / len(text) if text else 0.0


def repetition(most: float) -> Filter:
    """Drop conversations with a message that repeats itself (``repetition``): word sequences or one character."""

    def ask(conversation: Conversation) -> str | None:
        repeats = any(_RUN.search(text) or repeated_share(text) > most for text in conversation.spoken)
        return "repetition" if repeats else None

    return ask


def repeated_share(text: str) -> float:
    """Share of three-word sequences, 0 to 1, that occurred before in the text; 0 for short texts.

    The measure of Gopher's repetition filter (Rae et al. 2021, arXiv:2112.11446, table A1), on word triples.
    """
    words = text.lower().split()
    if len(words) < _REPEAT_MIN_WORDS:
        return 0.0
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples)
