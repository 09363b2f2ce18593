"""The optional models: what is refused, and how long texts are cut."""

import importlib.util
import re
from collections.abc import Iterator

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.ner import Model, load
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import Span


def anna(text: str) -> Iterator[Span]:
    """A tagger that knows one name."""
    for match in re.finditer("Anna Lee", text):
        yield Span(match.start(), match.end(), "PERSON", 0.9)


def test_an_unknown_back_end_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(FlywheelError, match="expected one of spacy, gliner, kiwi"):
        load("flair")


@pytest.mark.parametrize(
    ("backend", "package", "extra"),
    [("spacy", "spacy", "presidio"), ("gliner", "gliner", "gliner"), ("kiwi", "kiwipiepy", "ko")],
)
def test_a_missing_package_prints_the_command(backend: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(FlywheelError) as caught:
        load(backend)
    assert caught.value.fix == f"pip install 'llm-flywheel[{extra}]'"


@pytest.mark.parametrize(("start", "end"), [(0, 99), (-1, 3), (3, 3), (4, 2)])
def test_a_span_outside_the_text_is_refused(start: int, end: int) -> None:
    model = Model("mine", lambda _: [Span(start, end, "PERSON", 0.9)])
    with pytest.raises(FlywheelError, match=f"returned the span {start}:{end} for a text of 5 characters"):
        list(model.find("hello"))


def test_no_text_of_the_document_is_in_the_error() -> None:
    model = Model("mine", lambda _: [Span(0, 99, "PERSON", 0.9)])
    with pytest.raises(FlywheelError) as caught:
        list(model.find("secret"))
    assert "secret" not in str(caught.value)


def test_a_piece_is_never_longer_than_the_model_takes() -> None:
    seen: list[int] = []

    def tag(text: str) -> list[Span]:
        seen.append(len(text))
        return []

    list(Model("mine", tag, piece=40, overlap=10).find("x" * 100))
    assert seen == [40, 40, 40]


def test_spans_of_a_later_piece_are_in_the_whole_text() -> None:
    text = "x" * 70 + " Anna Lee"
    assert set(Model("mine", anna, piece=40, overlap=10).find(text)) == {Span(71, 79, "PERSON", 0.9)}


@pytest.mark.parametrize("before", range(20, 45))
def test_a_name_at_a_seam_is_whole_in_one_piece(before: int) -> None:
    text = "x" * before + " Anna Lee " + "y" * 60
    found = set(Model("mine", anna, piece=40, overlap=10).find(text))
    assert found == {Span(before + 1, before + 9, "PERSON", 0.9)}


def test_a_text_shorter_than_the_overlap_is_read_once() -> None:
    assert list(Model("mine", anna, piece=40, overlap=10).find("Anna Lee")) == [Span(0, 8, "PERSON", 0.9)]


def test_nothing_is_found_in_what_is_masked_already() -> None:
    model = Model("mine", lambda text: [Span(0, len(text), "PERSON", 0.9)])
    assert list(model.find("by \0\0\0\0")) == []


def test_a_scanner_with_a_model_finds_what_the_rules_do_not() -> None:
    model = Model("mine", lambda _: [Span(4, 8, "PERSON", 0.9)])
    assert Scanner(types=("PERSON",)).scan("say zork") == []
    assert Scanner(types=("PERSON",), ner=model).scan("say zork") == [Span(4, 8, "PERSON", 0.9)]


def test_kiwi_finds_a_name_that_only_evidence_shows() -> None:
    pytest.importorskip("kiwipiepy")
    text = "담당자: 신사임당"
    assert [text[span.start : span.end] for span in load("kiwi").find(text)] == ["신사임당"]
