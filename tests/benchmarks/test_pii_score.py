from pathlib import Path

import pytest

from benchmarks.pii.score import OTHER, Counts, Document, Mark, mistakes, read_gold, score

EMAIL, PHONE, NAME = Mark(0, 5, "EMAIL"), Mark(10, 20, "PHONE"), Mark(30, 35, "PERSON")


def document(*gold: Mark, ignore: list[tuple[int, int]] | None = None) -> Document:
    return Document("a", "x" * 50, sorted(gold), ignore or [])


def test_an_exact_hit_counts_in_every_way() -> None:
    result = score([document(EMAIL)], {"a": [EMAIL]})
    assert result.types == {"EMAIL": Counts(right=1, found=1, hit=1, exact=1, gold=1)}
    assert (result.pattern.f1, result.pattern.strict_f1, result.leak, result.over) == (1.0, 1.0, 0.0, 0.0)


def test_an_overlap_is_a_hit_but_not_an_exact_one_and_leaks_what_it_leaves() -> None:
    result = score([document(PHONE)], {"a": [Mark(14, 24, "PHONE")]})
    assert result.types == {"PHONE": Counts(right=1, found=1, hit=1, exact=0, gold=1)}
    assert result.leak == pytest.approx(4 / 10)
    assert result.over == pytest.approx(4 / 40)


def test_spans_that_only_touch_do_not_overlap() -> None:
    result = score([document(PHONE)], {"a": [Mark(20, 25, "PHONE")]})
    assert result.types == {"PHONE": Counts(right=0, found=1, hit=0, exact=0, gold=1)}


def test_another_type_on_a_label_misses_it_and_is_a_false_alarm_but_does_not_leak() -> None:
    result = score([document(PHONE)], {"a": [Mark(10, 20, "US_SSN")]})
    assert result.types == {"PHONE": Counts(gold=1), "US_SSN": Counts(found=1)}
    assert (result.leak, result.over) == (0.0, 0.0)


def test_two_hits_on_one_label_are_both_right_and_one_hit_on_two_labels_hits_both() -> None:
    halves = score([document(PHONE)], {"a": [Mark(10, 14, "PHONE"), Mark(15, 20, "PHONE")]})
    assert halves.types == {"PHONE": Counts(right=2, found=2, hit=1, exact=0, gold=1)}
    both = score([document(PHONE, Mark(22, 30, "PHONE"))], {"a": [Mark(12, 28, "PHONE")]})
    assert both.types == {"PHONE": Counts(right=1, found=1, hit=2, exact=0, gold=2)}


@pytest.mark.parametrize("hit", [Mark(42, 44, "PHONE"), Mark(38, 41, "PHONE")])
def test_a_hit_in_an_ignored_range_counts_neither_way(hit: Mark) -> None:
    result = score([document(PHONE, ignore=[(40, 45)])], {"a": [PHONE, hit]})
    assert result.types == {"PHONE": Counts(right=1, found=1, hit=1, exact=1, gold=1)}


def test_a_plain_email_within_a_spelled_out_one_counts_neither_way() -> None:
    spelled = Mark(0, 20, "EMAIL_OBFUSCATED")
    result = score([document(spelled)], {"a": [Mark(5, 15, "EMAIL")]})
    assert result.types == {"EMAIL_OBFUSCATED": Counts(gold=1)}


def test_a_type_that_the_labels_do_not_know_only_covers_text() -> None:
    result = score([document(PHONE)], {"a": [Mark(10, 20, OTHER), Mark(40, 50, OTHER)]})
    assert result.types == {"PHONE": Counts(gold=1)}
    assert (result.leak, result.over) == (0.0, pytest.approx(10 / 40))


def test_names_are_left_out_of_the_micro_score_and_of_the_leak() -> None:
    result = score([document(EMAIL, NAME)], {"a": [EMAIL]})
    assert result.types["PERSON"] == Counts(gold=1)
    assert result.pattern == Counts(right=1, found=1, hit=1, exact=1, gold=1)
    assert result.leak == 0.0


def test_scores_from_counts() -> None:
    counts = Counts(right=6, found=8, hit=6, exact=4, gold=12)
    assert (counts.precision, counts.recall) == (0.75, 0.5)
    assert counts.f1 == pytest.approx(0.6)
    assert counts.strict_f1 == pytest.approx(0.4)


def test_a_document_that_was_not_scanned_is_all_missed() -> None:
    assert score([document(EMAIL, PHONE)], {}).leak == 1.0


def test_mistakes_lists_misses_and_false_alarms() -> None:
    false = Mark(40, 45, "PHONE")
    assert mistakes(document(EMAIL, PHONE), [EMAIL, false]) == ([PHONE], [false])


def test_read_gold(tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(
        '{"id": "a", "text": "가 b@c.de", "spans": [{"start": 2, "end": 8, "type": "EMAIL"}], "ignore": [[0, 1]]}\n',
        encoding="utf-8",
    )
    assert list(read_gold(path)) == [Document("a", "가 b@c.de", [Mark(2, 8, "EMAIL")], [(0, 1)])]
