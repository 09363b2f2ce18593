import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_flywheel.components.curate.normalise import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  hi \n", "hi"),
        ("한글", "한글"),  # decomposed jamo
        ("e\u0301", "é"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\xa0b\u3000c", "a b c"),
        ("a\u200bb\ufeff\x07c\u202ed", "abcd"),
        ("a  \n\n\n\nb", "a\n\nb"),
        ("if x:\n    y  = 1", "if x:\n    y  = 1"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("\u200b \x00", ""),
    ],
)
def test_one_text_has_one_spelling(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
def test_normalising_again_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
