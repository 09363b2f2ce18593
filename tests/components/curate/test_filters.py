import pytest

from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.filters import Conversation, filters_for, first_reason

LONG = "we wait for the card since monday and nobody at the bank can say when it comes"


def talk(*turns: tuple[str, str], lang: str = "en") -> Conversation:
    return Conversation([{"role": role, "content": content} for role, content in turns], lang)


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (talk(("user", LONG), ("assistant", "card_arrival")), None),
        (talk(("user", "야"), ("assistant", "네"), lang="ko"), None),
        (talk(("user", "Top-up?"), ("assistant", "£")), None),
        (talk(("user", "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ"), ("assistant", "즐겁군요"), lang="ko"), None),
        (talk(("user", "hi"), ("assistant", "x = {a: [1, 2], b: (3,)}; f(x)")), None),
        (talk(("assistant", "yo")), "no_question"),
        (talk(("user", "hi")), "no_answer"),
        (talk(("user", "hi"), ("assistant", "yo"), ("user", "and?")), "no_answer"),
        (talk(("user", ""), ("user", "hi"), ("assistant", "yo")), "user_too_short"),
        (talk(("user", "x" * 101), ("assistant", "yo")), "user_too_long"),
        (talk(("user", "hi"), ("assistant", ""), ("user", "hi"), ("assistant", "yo")), "assistant_too_short"),
        (talk(("user", "hi"), ("assistant", "x" * 101)), "assistant_too_long"),
        (talk(("user", "wo ist sie"), ("assistant", "da"), lang="de"), "language"),
        (talk(("user", "#!@$%^&*()__=+ what"), ("assistant", "yo")), "symbols"),
        (talk(("user", "hi"), ("assistant", "no way " * 12)), "repetition"),
        (talk(("user", "a" + "!" * 3 + "h" * 60), ("assistant", "yo")), "repetition"),
    ],
)
def test_the_first_reason_counts(conversation: Conversation, reason: str | None) -> None:
    config = CurateConfig(languages=["en", "ko"], max_user_chars=100, max_answer_chars=100)
    assert first_reason(filters_for(config), conversation) == reason


def test_a_length_at_the_limit_is_kept_and_an_empty_list_allows_every_language() -> None:
    config = CurateConfig(min_user_chars=3, max_user_chars=3)
    assert first_reason(filters_for(config), talk(("user", "abc"), ("assistant", "x"), lang="xx")) is None
