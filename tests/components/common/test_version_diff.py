"""What changed between two dataset versions, row by row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common.dataset import DROPPED_SCHEMA, write_manifest, write_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.version_diff import Difference, compare
from llm_flywheel.components.common.versions import read_version
from tests.components.common.conftest import row, write_dataset

Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def difference(tmp_path: Path, a: Tables, b: Tables, **options: Any) -> Difference:
    parent = write_dataset(tmp_path / "a", a)
    write_dataset(tmp_path / "b", b, "curate", parent=parent)
    return compare(read_version(tmp_path / "a"), read_version(tmp_path / "b"), **options)


def counts(found: Difference) -> tuple[int, int, int, int]:
    return found.same, found.changed, found.removed, found.added


def test_equal_rows_in_another_order_are_equal(tmp_path: Path) -> None:
    rows = [row("one", 1), row("two", 2), row("three", 3)]
    found = difference(tmp_path, {"data": rows}, {"data": rows[::-1]})
    assert counts(found) == (3, 0, 0, 0)
    assert found.equal


def test_a_masked_row_is_changed(tmp_path: Path) -> None:
    before = [row("mail a@example.com", 1), row("two", 2)]
    after = [row("mail [EMAIL]", 1), row("two", 2)]
    found = difference(tmp_path, {"data": before}, {"data": after}, examples=3)
    assert counts(found) == (1, 1, 0, 0)
    assert not found.equal
    (example,) = found.examples
    assert example.kind == "changed"
    assert example.before == {"id": before[0]["id"], "source": "a.csv", "line": 1, "split": ""}
    assert example.after == {"id": after[0]["id"], "source": "a.csv", "line": 1, "split": ""}


def test_the_same_line_of_another_source_is_another_row(tmp_path: Path) -> None:
    found = difference(tmp_path, {"data": [row("one", 1)]}, {"data": [row("two", 1, source="b.csv")]})
    assert counts(found) == (0, 0, 1, 1)


def test_a_line_put_in_above_changes_no_other_row(tmp_path: Path) -> None:
    before = [row("one", 1), row("two", 2)]
    after = [row("new", 1), row("one", 2), row("two", 3)]
    assert counts(difference(tmp_path, {"data": before}, {"data": after})) == (2, 0, 0, 1)


def test_rows_without_a_line_are_told_apart_by_content_alone(tmp_path: Path) -> None:
    found = difference(tmp_path, {"data": [row("one"), row("two")]}, {"data": [row("one"), row("2")]})
    assert counts(found) == (1, 0, 1, 1)


def test_copies_are_paired_one_to_one_and_removed_ones_keep_their_reason(tmp_path: Path) -> None:
    rows = [row("one", 1), row("one", 2), row("one", 3), row("two", 4)]
    dropped = [{"id": rows[0]["id"], "reason": "exact_duplicate", "duplicate_of": rows[0]["id"]}] * 2
    (tmp_path / "b").mkdir()
    write_table(
        [*dropped, {"id": rows[3]["id"], "reason": "language", "duplicate_of": None}],
        tmp_path / "b" / "dropped.parquet",
        DROPPED_SCHEMA,
    )
    found = difference(tmp_path, {"data": rows}, {"train": rows[1:2]}, examples=5)
    assert counts(found) == (1, 0, 3, 0)
    assert found.reasons == {"exact_duplicate": 2, "language": 1}
    # The copy that stayed is the one of its own line.
    assert [example.before["line"] for example in found.examples if example.before] == [1, 3, 4]


def test_rows_move_between_splits(tmp_path: Path) -> None:
    one, two, three = row("one", 1), row("two", 2), row("three", 3)
    before = {"train": [one, two], "test": [three]}
    after = {"train": [one], "validation": [row("TWO", 2)], "test": [three]}
    found = difference(tmp_path, before, after)
    assert counts(found) == (2, 1, 0, 0)
    assert found.moved == {("train", "validation"): 1}
    assert [shift.name for shift in found.shifts][-1] == "split"


def test_the_first_split_moves_nothing(tmp_path: Path) -> None:
    rows = [row("one", 1), row("two", 2)]
    found = difference(tmp_path, {"data": rows}, {"train": rows[:1], "test": rows[1:]})
    assert counts(found) == (2, 0, 0, 0)
    assert found.moved == {}
    assert found.relabelled == {"split": 2}
    assert not found.equal
    assert "split" not in [shift.name for shift in found.shifts]


def test_the_same_rows_in_another_language_are_not_equal(tmp_path: Path) -> None:
    found = difference(tmp_path, {"data": [row("one", 1)]}, {"data": [row("one", 1, lang="ko")]})
    assert counts(found) == (1, 0, 0, 0)
    assert found.relabelled == {"language": 1}
    assert not found.equal


def test_lengths_are_characters_and_tokens_four_bytes_of_all_messages(tmp_path: Path) -> None:
    found = difference(tmp_path, {"data": [row("안녕하세요", 1)]}, {"data": [row("hello", 1)]})
    characters, tokens = found.shifts[:2]
    assert (characters.name, characters.medians) == ("characters", (7, 7))
    assert (tokens.name, tokens.medians) == ("tokens", (5, 2))


def test_texts_are_read_only_when_asked_for(tmp_path: Path) -> None:
    rows = [row("one", 1)], [row("two", 1)]
    (example,) = difference(tmp_path, {"data": rows[0]}, {"data": rows[1]}, examples=1, show_text=True).examples
    assert example.before is not None
    assert example.before["text"] == "user: one\nassistant: ok"


def test_more_rows_than_one_batch(tmp_path: Path) -> None:
    before = [row(f"row {number}", number) for number in range(12_000)]
    after = [row(f"row {number}{' x' * (number % 100 == 0)}", number) for number in range(11_000)]
    found = difference(tmp_path, {"data": before}, {"data": after}, examples=1)
    assert counts(found) == (10_890, 110, 1_000, 0)
    assert [example.before["line"] for example in found.examples if example.before] == [0, 11_000]


def test_a_dataset_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="the dataset holds no rows"):
        difference(tmp_path, {"data": [row("one")]}, {"data": []})


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", {"data": [row("one")]})
    write_manifest(tmp_path / "b", {"step": "ingest", "version": "1", "rows_out": 1})
    (tmp_path / "b" / "data.parquet").write_bytes(b"PAR1, no, it is not")
    with pytest.raises(FlywheelError, match=r"data.parquet: not a dataset table"):
        compare(read_version(tmp_path / "a"), read_version(tmp_path / "b"))


def test_a_broken_table_of_dropped_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "dropped.parquet").write_bytes(b"nothing")
    with pytest.raises(FlywheelError, match=r"dropped.parquet: not a table of dropped rows"):
        difference(tmp_path, {"data": [row("one", 1)]}, {"data": [row("two", 2)]})
