import pickle
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import SHIPPED_LISTS, CurateConfig
from llm_flywheel.components.curate.filters import Conversation, Phrases, filters_for, first_reason, word_lists

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
        (talk(("assistant", "yo")), None),
        (talk(("system", "be kind"), ("assistant", "yo")), "no_question"),
        (talk(("user", "hi")), "no_answer"),
        (talk(("user", "hi"), ("assistant", "yo"), ("user", "and?")), "no_answer"),
        (talk(("user", ""), ("user", "hi"), ("assistant", "yo")), "user_too_short"),
        (talk(("user", "x" * 101), ("assistant", "yo")), "user_too_long"),
        (talk(("user", "hi"), ("assistant", ""), ("user", "hi"), ("assistant", "yo")), "assistant_too_short"),
        (talk(("user", "hi"), ("assistant", "x" * 101)), "assistant_too_long"),
        (talk(("user", "wo ist sie"), ("assistant", "da"), lang="de"), "language"),
        (talk(("user", "#!@$%^&*()__=+ what"), ("assistant", "yo")), "symbols"),
        (talk(("user", "hi"), ("assistant", "no way " * 12)), "repeated_words"),
        (talk(("user", "사랑해요" * 20), ("assistant", "네"), lang="ko"), "repeated_words"),
        (talk(("user", "a" + "!" * 3 + "h" * 60), ("assistant", "yo")), "repeated_characters"),
        (talk(("user", "가" * 49), ("assistant", "네"), lang="ko"), None),
    ],
)
def test_the_first_reason_counts(conversation: Conversation, reason: str | None) -> None:
    config = CurateConfig(languages=["en", "ko"], max_user_chars=100, max_answer_chars=100)
    assert first_reason(filters_for(config), conversation) == reason


def test_a_length_at_the_limit_is_kept_and_an_empty_list_allows_every_language() -> None:
    config = CurateConfig(min_user_chars=3, max_user_chars=3)
    assert first_reason(filters_for(config), talk(("user", "abc"), ("assistant", "x"), lang="xx")) is None


LIST = "\n".join(["buy now and save", "- red", "- blue", "- green", "- yellow"])
CODE = """for a in x:
    if a:
        print(a)
    else:
        return
for b in y:
    if b:
        log(b)
    else:
        return
"""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (f"{LONG}\n{LONG} again\nthis is new\nand so is this", None),
        ("\n".join(["buy now and save"] * 3), None),  # three lines are no measure
        ("\n".join([*["buy now and save"] * 4, "that is all", "for today"]), "repeated_lines"),
        ("\n\n".join([LIST, "something else", LIST]), "repeated_paragraphs"),
        (LIST, None),
        (CODE, None),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 3 |\n| 1 | 2 |", None),
        ("0f3a9c7e51d28b64" + "7c1e9d0b35f8a246" + "e4b7a91c6d3f0852", None),
        ("사랑은 오래 참고 사랑은 온유하며 시기하지 아니하며 사랑은 자랑하지 아니하며 교만하지 아니하며", None),
    ],
)
def test_repetition(answer: str, reason: str | None) -> None:
    assert first_reason(filters_for(CurateConfig()), talk(("user", "hi"), ("assistant", answer))) == reason


def test_the_limits_of_repetition_are_settings() -> None:
    config = CurateConfig.model_validate({"repetition": {"max_ngram_share": 1, "max_run": 4}})
    assert first_reason(filters_for(config), talk(("user", "hi"), ("assistant", "no way " * 12))) is None
    assert first_reason(filters_for(config), talk(("user", "hmmmm"), ("assistant", "no"))) == "repeated_characters"
    assert first_reason(filters_for(config), talk(("user", "hmmm"), ("assistant", "no"))) is None


BANNER = "We use cookies to improve your experience. Accept all cookies"
COPYRIGHT = "저작권자 © 한국신문, 무단 전재 및 재배포 금지"
ARTICLE = "The council met on Monday and agreed to build a new bridge over the river before the winter begins. " * 2


@pytest.mark.parametrize(
    ("user", "answer", "reason"),
    [
        ("summarise", BANNER, "boilerplate"),
        (BANNER, "ok", "boilerplate"),
        ("요약해줘", COPYRIGHT, "boilerplate"),
        ("요약해줘", "[광고] 지금 구매하면 반값", "boilerplate"),
        ("news", "Home | News | Sport\nSkip to main content", "boilerplate"),
        ("news", f"{ARTICLE}\nAll rights reserved.", None),
        (f"기사 본문입니다. {ARTICLE}\n{COPYRIGHT}", "요약", None),
        ("How do I accept cookies on this site?", "Choose 'accept' at the bottom.", None),
        ("쿠키가 뭐예요?", "웹사이트가 저장하는 작은 파일입니다.", None),
        ("광고는 얼마예요?", "한 달에 십만 원입니다.", None),
        ("Who holds the copyright?", "The author does.", None),
        ("what do you feel?", "As an AI language model, I have no feelings.", "ai_disclaimer"),
        ("who are you?", "I was trained by OpenAI.", "ai_disclaimer"),
        ("감정이 있나요?", "저는 AI 언어 모델이라 감정이 없습니다.", "ai_disclaimer"),
        ("기분 어때?", "인공지능 언어 모델로서 기분을 느끼지 못합니다.", "ai_disclaimer"),
        ("As an AI language model, what do you feel?", "Nothing.", None),
        ("AI 언어 모델이 뭐야?", "글을 이어 쓰는 프로그램이에요.", None),
        ("What is a large language model?", "A program that predicts the next word.", None),
    ],
)
def test_word_lists_drop_what_is_mostly_boilerplate_and_other_assistants(
    user: str, answer: str, reason: str | None
) -> None:
    assert first_reason(filters_for(CurateConfig()), talk(("user", user), ("assistant", answer))) == reason


@pytest.mark.parametrize(
    ("user", "answer", "flags"),
    [
        ("how to?", "I'm sorry, but I can't assist with that request.", {"refusal"}),
        ("how to?", "Sorry, I am unable to help.", {"refusal"}),
        ("알려줘", "죄송하지만 그 요청은 도와드릴 수 없습니다.", {"refusal"}),
        ("알려줘", "미안하지만 알려 드리기 어렵습니다.", {"refusal"}),
        ("where is it", "I'm sorry to hear that. It comes on Monday.", set()),
        ("배송은요?", "죄송합니다. 내일 도착합니다.", set()),
        ("where is my fucking card", "It comes on Monday.", {"toxicity"}),
        ("야 이 병신아", "진정하세요.", {"toxicity"}),
        ("씨발 뭐야", "진정하세요.", {"toxicity"}),
        ("I live in Scunthorpe and passed my assessment", "Well done.", set()),
        ("시발점이 어디인가요? 불이 꺼져 있어요", "허리띠를 졸라 매세요. 언젠간 닥쳐올 순간이에요.", set()),
        ("새끼 고양이와 개나리", "귀엽네요.", set()),
    ],
)
def test_refusals_and_swear_words_are_flagged_not_dropped(user: str, answer: str, flags: set[str]) -> None:
    talked = talk(("user", user), ("assistant", answer))
    assert first_reason(filters_for(CurateConfig()), talked) is None
    assert Phrases(CurateConfig(), "flag").all(talked) == flags


def test_a_list_can_be_dropped_switched_off_or_added() -> None:
    text = """
    toxicity: drop
    ai_disclaimer: off
    rivals: {patterns: ['\\bacme\\b', 에크미], roles: [assistant]}
    """
    lists = yaml.safe_load(text)
    filters = filters_for(bind(CurateConfig, {"word_lists": lists}))
    assert first_reason(filters, talk(("user", "shit"), ("assistant", "calm down"))) == "toxicity"
    assert first_reason(filters, talk(("user", "feel?"), ("assistant", "As an AI language model I do not."))) is None
    assert first_reason(filters, talk(("user", "which?"), ("assistant", "Try ACME."))) == "rivals"
    assert first_reason(filters, talk(("user", "어디?"), ("assistant", "에크미에서 사세요."))) == "rivals"
    assert first_reason(filters, talk(("user", "is Acme good?"), ("assistant", "No idea."))) is None


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"rivals": "drop"}, "rivals: no such list; there are boilerplate, ai_disclaimer, refusal, toxicity"),
        ({"rivals": {"patterns": ["("]}}, r"'\(' is not an RE2 pattern: missing \)"),
    ],
)
def test_a_wrong_list_is_an_error(lists: dict[str, Any], message: str) -> None:
    with pytest.raises(FlywheelError, match=message):
        bind(CurateConfig, {"word_lists": lists})


def test_the_shipped_lists_are_the_ones_the_config_knows() -> None:
    assert tuple(word_lists(CurateConfig())) == SHIPPED_LISTS


def test_phrases_travel_to_another_process() -> None:
    phrases = pickle.loads(pickle.dumps(Phrases(CurateConfig(), "drop")))
    assert phrases(talk(("user", "hi"), ("assistant", BANNER))) == "boilerplate"
