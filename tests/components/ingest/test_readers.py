import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.ingest.config import TextRows
from llm_flywheel.components.ingest.files import FileKind, SourceFile
from llm_flywheel.components.ingest.readers import (
    Broken,
    Item,
    Record,
    open_records,
    read_csv,
    read_json,
    read_jsonl,
    read_text,
)


def stream(text: str) -> io.StringIO:
    return io.StringIO(text, newline="")


def brief(items: Iterator[Item]) -> list[Any]:
    return [
        (item.line, item.reason) if isinstance(item, Broken) else (item.line, *item.values.values()) for item in items
    ]


def csv_rows(text: str, limit: int = 1_000) -> list[Any]:
    return brief(read_csv(stream(text), lambda names: "q" in names and "a" in names, limit))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_csv_delimiter_is_found_by_the_header(delimiter: str) -> None:
    text = f"q{delimiter}a\none, two; three{delimiter}yes\n".replace(
        "one, two; three", '"one, two; three"' if delimiter in ",;" else "one, two; three"
    )
    assert csv_rows(text) == [(2, "one, two; three", "yes")]


def test_a_header_that_nobody_knows_is_split_where_the_rows_are_even() -> None:
    rows = list(read_csv(stream("x;y\n1,5;2\n3;4,5\n"), lambda names: False, 100))
    assert rows == [Record(2, {"x": "1,5", "y": "2"}), Record(3, {"x": "3", "y": "4,5"})]


def test_csv_lines_are_numbered_by_where_a_row_starts_and_blank_lines_are_no_rows() -> None:
    text = 'q,a\r\n\r\n"two\r\nlines",yes\r\nthree,no\r\n'
    assert csv_rows(text) == [(3, "two\r\nlines", "yes"), (5, "three", "no")]


def test_ragged_csv_rows_are_broken_and_their_neighbours_are_not() -> None:
    assert csv_rows("q,a\nhi\nhi,yo,more\nhi,yo\n") == [(2, "ragged"), (3, "ragged"), (4, "hi", "yo")]


def test_an_unclosed_quote_costs_one_row_and_not_the_rest_of_the_file() -> None:
    assert csv_rows('q,a\n"hi,yo\none,two\nthree,four\n') == [
        (2, "quoting"),
        (3, "one", "two"),
        (4, "three", "four"),
    ]


def test_a_csv_line_beyond_the_limit_is_passed_over_also_inside_an_open_quote() -> None:
    long = "x" * 30
    assert csv_rows(f"q,a\n{long}\nhi,yo\n", limit=20) == [(2, "too_large"), (3, "hi", "yo")]
    assert csv_rows(f'q,a\n"b,c\nd,e\n{long}\nhi,yo\n', limit=20) == [
        (2, "quoting"),
        (3, "d", "e"),
        (4, "too_large"),
        (5, "hi", "yo"),
    ]


def test_a_csv_file_without_a_usable_header_is_broken_as_a_whole() -> None:
    assert csv_rows("q,q,a\n1,2,3\n") == [(None, "duplicate_columns")]
    assert csv_rows('"q" x,a\n1,2\n') == [(None, "header")]
    assert csv_rows("") == csv_rows("q,a\n") == []


def test_broken_json_lines_cost_themselves() -> None:
    text = '{"q":1}\n\n{"q":\n[1]\n{"q":"\\ud800"}\n{"q":"a\x00"}\n' + '{"q":"' + "x" * 50 + '"}\n{"q":2}'
    assert brief(read_jsonl(stream(text), 40)) == [
        (1, 1),
        (3, "json"),
        (4, "not_an_object"),
        (5, "json"),
        (6, "nul_byte"),
        (7, "too_large"),
        (8, 2),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        ('[\n {"q": 1},\n {"q":\n 2}, 7\n]\n', [(2, 1), (3, 2), (4, "not_an_object")]),
        ('{"q": 1}\n{"q": 2}', [(1, 1), (2, 2)]),
        ('[{"q": 1}, {"q" 2}, {"q": 3}]', [(1, 1), (1, "json")]),
        ('[{"q": 1},]', [(1, 1), (1, "json")]),
        ('[{"q": 1} {"q": 2}]', [(1, 1), (1, "json")]),
        ('[{"q": 1}', [(1, 1), (1, "json")]),
        ('[{"q": 1}]\n x', [(1, 1), (2, "json")]),
        ("[" * 100_000, [(1, "json")]),
        ("", []),
    ],
)
def test_json_arrays_and_objects_are_read_up_to_what_is_broken(text: str, expected: list[Any]) -> None:
    assert brief(read_json(stream(text), 1_000_000)) == expected


def test_a_json_array_larger_than_the_window_is_read_row_by_row() -> None:
    rows = [f'{{"q": "{"x" * 1_000}{number}"}}' for number in range(600)]
    items = list(read_json(stream("[" + ",\n".join(rows) + "]"), 2_000))
    assert [item.line for item in items] == list(range(1, 601))
    assert items[-1] == Record(600, {"q": "x" * 1_000 + "599"})


@pytest.mark.parametrize(
    "long",
    [
        '{"q": "' + "x" * 3_000_000 + '"}',
        '"' + "\\\\]}" * 700_000 + '"',
        '{"a": [{"b": "}]\\""}, ' + '["{\\\\", 1],\n' * 200_000 + "[]]}",
        '{"q": 1' + "\n" * 1_000_000 + "}",
    ],
)
def test_a_json_element_beyond_the_limit_costs_itself(long: str) -> None:
    lines = long.count("\n")
    expected = [(1, 1), (1, "too_large"), (1 + lines, 2)]
    assert brief(read_json(stream(f'[{{"q": 1}}, {long}, {{"q": 2}}]'), 100)) == expected


@pytest.mark.parametrize(
    "broken", ['{"q": "' + "x" * 3_000_000, "1" * 3_000_000, '{"q" 2, "p": "' + "x" * 3_000_000 + '"}']
)
def test_a_long_json_element_without_an_end_or_that_is_none_ends_the_reading(broken: str) -> None:
    assert brief(read_json(stream(f'[{{"q": 1}}, {broken}, {{"q": 2}}]'), 100)) == [(1, 1), (1, "json")]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("line", [(1, "# One"), (3, "two"), (4, "lines"), (7, "three")]),
        ("paragraph", [(1, "# One"), (3, "two\nlines"), (7, "three")]),
        ("file", [(1, "# One\n\ntwo\nlines\n\n \nthree")]),
    ],
)
def test_a_text_is_read_by_line_by_paragraph_or_whole(rows: TextRows, expected: list[Any]) -> None:
    text = "# One\r\n\r\ntwo\r\nlines\r\n\r\n \r\nthree"
    if rows == "file":
        text = text.replace(" \r\n", "\r\n")
        expected = [(1, "# One\n\ntwo\nlines\n\n\nthree")]
    assert brief(read_text(stream(text), 1_000, rows)) == expected


@pytest.mark.parametrize("rows", ["line", "paragraph", "file"])
def test_a_text_row_beyond_the_limit_is_broken_and_blank_text_is_none(rows: TextRows) -> None:
    assert brief(read_text(stream("x" * 20), 20, rows)) == [(1, "x" * 20)]
    assert brief(read_text(stream("x" * 21), 20, rows)) == [(1, "too_large")]
    assert brief(read_text(stream("\n" * 50), 20, rows)) == []


def test_a_paragraph_that_is_too_long_costs_itself() -> None:
    text = "abc\n" * 10 + "\n" + "x" * 50 + "\nend\n\nlast\n"
    assert brief(read_text(stream(text), 20, "paragraph")) == [(1, "too_large"), (12, "too_large"), (15, "last")]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("jsonl", '{"q": "가"}\n{"q": "X"}\n{"q": "다"}\n', [(1, "가"), (2, "encoding"), (3, "다")]),
        ("json", '[{"q": "가"},\n{"q": "X"},\n{"q": "다"}]', [(1, "가"), (2, "encoding"), (3, "다")]),
        ("csv", 'q\n가\n"나\nX"\n다\n', [(2, "가"), (3, "encoding"), (5, "다")]),
    ],
)
def test_a_wrong_byte_costs_its_row(tmp_path: Path, kind: FileKind, data: str, expected: list[Any]) -> None:
    path = tmp_path / "data"
    path.write_bytes(data.encode().replace(b"X", b"\xff"))
    assert brief(open_records(SourceFile(path, "data", kind), lambda names: True, 100).items) == expected
