import re
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.curate.quality import Quality
from llm_flywheel.components.curate.report import write_report
from llm_flywheel.components.curate.rows import Row


def row(name: str, user: str, source: str, lang: str = "en") -> Row:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": "yes"}]
    return Row(name, name, messages, source, lang, "{}")


def manifest(**changes: Any) -> dict[str, Any]:
    quality = Quality()
    quality.add(row("a1", "is it blue", "colours.csv"), "train")
    quality.add(row("a2", "shit, it broke", "colours.csv"), "train")
    quality.add(row("a3", "파란색인가요", "자료/질문.csv", "ko"), "test")
    quality.dropped("near_duplicate", "b1" * 16, "colours.csv")
    quality.dropped("symbols", "b2" * 16, "gone.csv")
    return {
        "version": "v1",
        "parent": "v0",
        "rows_in": 5,
        "splits": {"train": 2, "validation": 0, "test": 1},
        "dropped": {"near_duplicate": 1, "symbols": 1},
        "held_out": False,
        "clusters": {"count": 3, "largest": 1},
        "uncompared": {"leaks": 0},
        "quality": quality.to_dict(),
        "config": {"tokenizer": ""},
    } | changes


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(manifest(), path)
    return re.sub(r"<svg.*?</svg>", "", path.read_text(), flags=re.DOTALL)


def cells(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL) for line in rows]


def test_the_counts_add_up(page: str) -> None:
    assert "5 rows in = 2 train + 0 validation + 1 test + 2 dropped." in page


def test_a_split_without_a_language_is_told_unless_it_was_given(tmp_path: Path, page: str) -> None:
    assert "No row in en is in test: every group of similar texts in it is too large." in page
    write_report(manifest(held_out=True), tmp_path / "report.html")
    assert "No row in" not in (tmp_path / "report.html").read_text()


def test_a_reason_has_its_rows_its_share_and_examples(page: str) -> None:
    assert ["near_duplicate", "almost the same as an earlier row", "1", "20.0%", "b1b1b1b1"] in cells(page)
    assert "1 rows (20.0%) were duplicates" in page


def test_a_source_has_its_rows_per_split_its_drops_and_its_tokens(page: str) -> None:
    table = cells(page)
    assert ["1", "colours.csv", "2", "0", "0", "1", "4"] in table
    assert ["2", "자료/질문.csv", "0", "0", "1", "0", "6"] in table
    assert ["3", "gone.csv", "0", "0", "0", "1", "0"] in table


def test_what_is_missing_and_what_is_worth_a_look(page: str) -> None:
    table = cells(page)
    assert ["system message", "3", "100.0%"] in table
    assert "without a question or an answer are not kept, plain texts are." in page
    assert ["language", "0", "0.0%"] in table
    assert ["toxicity", "swear words or slurs", "1", "33.3%", "a2"] in table


def test_lengths_are_in_the_table(page: str) -> None:
    assert ["Characters per user message", "3", "10", "10", "14", "14"] in cells(page)


@pytest.mark.filterwarnings("error")
def test_figures_hold_no_text_that_their_font_cannot_show(tmp_path: Path) -> None:
    write_report(manifest(dropped={"내_목록": 2}), tmp_path / "report.html")
    figures = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.DOTALL)
    assert len(figures) == 8
    assert all(figure.isascii() for figure in figures)


def test_evaluation_data_is_named_when_there_was_some(tmp_path: Path) -> None:
    index = {"items": 2, "texts": 2, "sequences": 50, "templates": 3, "too_short": 1}
    write_report(manifest(decontamination=index, dropped={"contaminated": 2}), tmp_path / "report.html")
    assert "2 rows overlap one of them" in (tmp_path / "report.html").read_text()
