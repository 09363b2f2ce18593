import pytest

from llm_flywheel.components.ingest.language import language_of, language_of_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I locate my card?", "en"),
        ("카드가 아직 안 왔어요", "ko"),
        ("VPN client 4.2 설치 후 login 오류가 납니다", "ko"),
        ("ㅋㅋㅋ", "ko"),
        ("Где моя карта?", "und"),
        ("Où est ma carte ?", "fr"),
        ("Wo ist meine Karte und warum kommt sie nicht?", "de"),
        ("¿Dónde está la tarjeta que pedí?", "es"),
        ("La mia carta non è ancora arrivata", "it"),
        ("O meu cartão ainda não chegou", "pt"),
        ("Waar is mijn kaart en wanneer komt hij?", "nl"),
        ("カードがまだ届きません", "ja"),
        ("我的卡还没有到", "zh"),
        ("card_arrival", "en"),
        ("𞤀𞤣𞤤𞤢𞤥 𞤐𞤁𞤢 abc", "und"),
        ("🙂 hello 👍🏽", "en"),
        ("12345 !!!", "und"),
        ("", "und"),
    ],
)
def test_language_follows_the_script(text: str, expected: str) -> None:
    assert language_of_text(text) == expected


def test_the_user_decides_and_not_an_english_label() -> None:
    user, answer = {"role": "user", "content": "카드 분실"}, {"role": "assistant", "content": "lost_or_stolen_card"}
    assert language_of([user, answer]) == "ko"
    assert language_of([{"role": "user", "content": "???"}, answer]) == "en"
