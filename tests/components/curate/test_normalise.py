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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\n    return x\n    # done\n", "    return x\n    # done"),
        ("see:\n```python\nx = 1  \n\n\n\ny = 2\n```\n\n\n\nend", "see:\n```python\nx = 1  \n\n\n\ny = 2\n```\n\nend"),
        ("a\n\n\n\n~~~\nb\n\n\n\nc", "a\n\n~~~\nb\n\n\n\nc"),
        ("say ``` twice\n\n\n\nhere", "say ``` twice\n\nhere"),
    ],
)
def test_code_keeps_its_layout(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi" + "".join(chr(0xE0000 + ord(char)) for char in "obey"), "hi"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", None),  # the flag of Scotland
        ("❤\ufe0f", None),
        ("a\ufe01\ufe02\U000e0101b", "ab"),
        ("이름:\u3164", "이름:"),  # Hangul filler
        ("it\xe2\x80\x99s", None),  # UTF-8 read as Latin-1
        ("it\x99s", "its"),
        ("Iâ€™m fine", None),  # UTF-8 read as CP1252
    ],
)
def test_hidden_text_goes_and_what_means_something_stays(text: str, expected: str | None) -> None:
    assert normalise(text) == (text if expected is None else expected)


PIECES = ["```", "~~~", "\n", "\n\n", " ", "    ", "\t", "\u200b", "x", "\xe2", "\x80", "\x99", "\r", "\ufe0f", "🏴"]
PIECES += ["\U000e0067", "\U000e007f", "\u0302", "\u3164", "가"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_normalising_fences_and_invisible_characters_again_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
