"""The view in which the rules search, and the way back to the original text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_flywheel.components.scan_pii.fold import fold
from llm_flywheel.components.scan_pii.scanner import Scanner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("０１０－１２３４　가\u2011Ａ", "010-1234 가-A"),
        ("٠١٠-۲۳۴۵", "010-2345"),
        ("\U0001d7d8\U0001d7d9 ๐๑ ०१", "01 01 01"),
        (r"a\nb \"c\" \u00e9", 'a  b  "c " ' + " " * 6),
        ("[EMAIL] [PHONE:1234] [NOTE]", "\0" * 7 + " " + "\0" * 12 + " [NOTE]"),
        ("[PERSON:abcdefghij] [PERSON:abcdefghijk]", "\0" * 19 + " [PERSON:abcdefghijk]"),
        ("[PHONE:01023456789]", "[PHONE:01023456789]"),
        ("서울 “좋은” 날… é", "서울 “좋은” 날… é"),
    ],
)
def test_what_stands_for_an_ascii_character_becomes_it(text: str, expected: str) -> None:
    assert fold(text).text == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tel 010\u200b-2345\u2060-67\u00ad89.", "010\u200b-2345\u2060-67\u00ad89"),
        ("mail a@exam\ufeffple.com\u200b now", "a@exam\ufeffple.com"),
        ("tel 0\u20e31\u20e30\u20e3-2345-6789\u20e3!", "0\u20e31\u20e30\u20e3-2345-6789\u20e3"),
        ("tel ０１０\u200d-２３４５-６７８９ ", "０１０\u200d-２３４５-６７８９"),
    ],
)
def test_spans_over_invisible_characters_lie_in_the_original(text: str, found: str) -> None:
    spans = Scanner(["PHONE", "EMAIL"]).scan(text)
    assert [text[span.start : span.end] for span in spans] == [found]


def test_jamo_are_put_together() -> None:
    text = unicodedata.normalize("NFD", "홍길동 값")
    folded = fold(text)
    assert folded.text == "홍길동 값"
    assert [unicodedata.normalize("NFC", text[slice(*folded.original(at, at + 1))]) for at in range(5)] == list(
        "홍길동 값"
    )


@given(st.text(st.characters()))
@settings(max_examples=300, deadline=None)
def test_every_piece_leads_back_into_the_text_in_order(text: str) -> None:
    folded = fold(text)
    at = 0
    for position in range(len(folded.text)):
        start, end = folded.original(position, position + 1)
        assert at <= start < end <= len(text)
        at = end
