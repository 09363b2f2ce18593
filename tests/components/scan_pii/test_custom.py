"""Recognisers that a person declares."""

from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.custom import CustomRecogniser
from llm_flywheel.components.scan_pii.scanner import Scanner

# As in Presidio's documentation of a recogniser file.
PRESIDIO_FILE = r"""
recognizers:
  - name: "Zip code recognizer"
    supported_languages:
      - language: en
        context: [zip]
    patterns:
      - {name: "zip code (weak)", regex: "\\b\\d{5}(?:-\\d{4})?\\b", score: 0.3}
    context: [zip, code]
    supported_entity: ZIP
  - name: "Titles recognizer"
    supported_language: en
    supported_entity: TITLE
    deny_list: [Mr., Mrs., 팀장]
  - {name: left out, supported_entity: NOTHING, enabled: false, deny_list: [zip]}
"""


def scanner(*recognisers: dict[str, Any], **options: Any) -> Scanner:
    custom = [bind(CustomRecogniser, item, where="test") for item in recognisers]
    return Scanner([], custom=custom, **options)


def found(text: str, *recognisers: dict[str, Any], **options: Any) -> list[tuple[str, str, float]]:
    spans = scanner(*recognisers, **options).scan(text)
    return [(text[span.start : span.end], span.type, round(span.score, 2)) for span in spans]


def test_a_presidio_file_works_as_it_is() -> None:
    recognisers = yaml.safe_load(PRESIDIO_FILE)["recognizers"]
    assert found("Mrs. Kim, 12345, zip code 67890. 박 팀장", *recognisers) == [
        ("Mrs.", "TITLE", 1.0),
        ("67890", "ZIP", 0.65),
        ("팀장", "TITLE", 1.0),
    ]


EMPLOYEE = {"name": "employee", "supported_entity": "EMPLOYEE_ID", "patterns": [{"regex": r"\bE-\d{6}\b"}]}


@pytest.mark.parametrize(
    "text", ["E-123456", "사번은 E-123456입니다", "Ｅ－１２３４５６", "e-123456.", "\ud800E-123456\ud800"]
)
def test_a_pattern_is_found_in_every_writing(text: str) -> None:
    assert [kind for _, kind, _ in found(text, EMPLOYEE)] == ["EMPLOYEE_ID"]


def test_a_validator_drops_what_fails_and_is_sure_of_the_rest() -> None:
    member = {**EMPLOYEE, "patterns": [{"regex": r"\d{4}-\d{4}"}], "validator": "luhn"}
    assert found("1111-1111 1234-5674 1234-5675", member) == [("1234-5674", "EMPLOYEE_ID", 1.0)]


def test_a_placeholder_of_its_type_is_not_found_again() -> None:
    assert found("[EMPLOYEE_ID:1234]", {**EMPLOYEE, "deny_list": ["EMPLOYEE_ID"]}) == []


def test_a_deny_list_takes_whole_words_and_the_longest() -> None:
    words = {"name": "project", "supported_entity": "PROJECT", "deny_list": ["Blue", "Blue Whale", "블루웨일"]}
    assert [text for text, _, _ in found("blue whale, Blues, 블루웨일로", words)] == ["blue whale", "블루웨일"]


@pytest.mark.parametrize("size", [8_150, 8_185, 8_191, 8_192, 8_200, 16_380])
def test_a_long_text_hides_nothing_at_the_seams(size: int) -> None:
    text = "x" * size + " E-123456 " + "가" * 9_000 + " E-654321"
    assert [value for value, _, _ in found(text, EMPLOYEE)] == ["E-123456", "E-654321"]


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        ("(", "missing )"),
        ("a(?=b)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("x*", "matches the empty text"),
        ("(a+)+$", "a repeat of nothing but a repeat"),
        ("a(.*b)?", "reads the same text again and again"),
        ("(?:a{1,1000}){1,1000}", "invalid repetition size"),
        (r"\pL{900}" * 10, "pattern too large"),
    ],
)
def test_an_invalid_or_runaway_pattern_is_refused_with_its_name(regex: str, why: str) -> None:
    with pytest.raises(FlywheelError) as caught:
        scanner({"name": "contract", "supported_entity": "CONTRACT", "patterns": [{"regex": regex}]})
    assert "'contract'" in str(caught.value)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"supported_entity": "lower case"}, "supported_entity"),
        ({"patterns": []}, "neither patterns nor a deny_list"),
        ({"patterns": [{"regex": "a", "score": 2}]}, "patterns.0.score"),
        ({"validator": "md5"}, "validator"),
    ],
)
def test_a_wrong_declaration_is_told(change: dict[str, Any], why: str) -> None:
    with pytest.raises(FlywheelError, match=why):
        bind(CustomRecogniser, {**EMPLOYEE, **change}, where="test")


def test_a_deny_list_of_60_000_names_works() -> None:
    names = [f"Firstname{number} Lastname{number}" for number in range(60_000)]
    staff = {"name": "staff", "supported_entity": "STAFF", "deny_list": names}
    assert found("ask firstname59999 lastname59999 or Firstname60000", staff) == [
        ("firstname59999 lastname59999", "STAFF", 1.0)
    ]


def test_a_deny_list_that_is_refused_is_not_shown() -> None:
    with pytest.raises(FlywheelError) as caught:
        scanner({"name": "staff", "supported_entity": "STAFF", "deny_list": ["Jane Doe", "가" * 4_000_000]})
    assert caught.value.what == "recogniser 'staff': its deny_list is too large"
    assert caught.value.fix == "leave words out of the deny_list, such as names that the rules find anyway"
