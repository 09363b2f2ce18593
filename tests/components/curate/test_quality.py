import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.quality import Histogram, Quality, estimated_tokens, token_counter
from llm_flywheel.components.curate.rows import Row


def row(name: str, user: str, answer: str = "yes", system: str = "", lang: str = "en", meta: str = "{}") -> Row:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return Row(name, name, messages, "a.csv", lang, meta)


def histogram(*values: int) -> Histogram:
    result = Histogram()
    for value in values:
        result.add(value)
    return result


def test_a_histogram_is_exact_up_to_63() -> None:
    assert histogram(0, 1, 1, 63).bins() == [(0, 1, 1), (1, 2, 2), (63, 64, 1)]
    assert histogram(*range(1, 61)).summary() == {"count": 60, "mean": 30.5, "median": 30, "p95": 57, "longest": 60}


def test_larger_numbers_share_a_bin_of_a_32nd() -> None:
    assert histogram(64, 65, 66, 1_000, 1_000_000).bins() == [
        (64, 66, 2),
        (66, 68, 1),
        (992, 1_008, 1),
        (999_424, 1_015_808, 1),
    ]
    assert histogram().summary() == {"count": 0}


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_every_number_lies_in_its_bin_and_the_median_is_near(values: list[int]) -> None:
    counted = histogram(*values)
    ends = [end for _, end, _ in counted.bins()]
    assert all(first < end for first, end, _ in counted.bins())
    assert all(end <= first for end, (first, _, _) in zip(ends, counted.bins()[1:], strict=False))
    exact = sorted(values)[(len(values) + 1) // 2 - 1]
    assert counted.quantile(0.5) == pytest.approx(exact, rel=0.02, abs=0.5)


def test_the_tally_of_a_row() -> None:
    quality = Quality()
    quality.add(row("1", "where the fuck is my card", system="Be kind."), "train")
    quality.add(row("2", "카드가 어디 있나요", "곧 도착합니다.", lang="ko", meta='{"line": 3}'), "test")
    quality.add(row("3", "??", lang="und"))
    assert quality.rows == 3
    assert quality.languages == {"train": {"en": 1, "und": 1}, "test": {"ko": 1}}
    assert quality.sources == {"train": {"a.csv": 2}, "test": {"a.csv": 1}}
    assert quality.missing == {"system message": 2, "language": 1, "meta": 2}
    assert quality.flagged == {"toxicity": 1}
    assert quality.examples == {"toxicity": ["1"]}
    assert quality.lengths()["user_chars"] == {"count": 3, "mean": 12.3, "median": 10, "p95": 25, "longest": 25}
    assert quality.lengths()["turns"]["longest"] == 1


def test_dropped_rows_by_reason_and_source_with_the_three_smallest_ids() -> None:
    quality = Quality()
    for name in ("4", "3", "2", "1"):
        quality.dropped("symbols", name, "a.csv")
    quality.dropped("language")
    assert quality.reasons == {"symbols": 4, "language": 1}
    assert quality.examples == {"symbols": ["1", "2", "3"]}
    assert quality.source_drops == {"a.csv": 4}


def test_merging_in_any_order_through_json_is_counting_all_at_once() -> None:
    rows = [row(str(number), "word " * number, "no", lang="en" if number % 2 else "ko") for number in range(1, 40)]
    whole, one, other = Quality(), Quality(), Quality()
    for number, item in enumerate(rows):
        for quality in (whole, one if number < 10 else other):
            quality.add(item, "train" if number % 3 else "test")
            quality.dropped("near_duplicate", f"d{number}", "a.csv")
    one, other = (Quality.from_dict(json.loads(json.dumps(part.to_dict()))) for part in (one, other))
    other.merge(one)
    assert other.to_dict() == whole.to_dict()


def test_the_size_does_not_grow_with_the_rows() -> None:
    quality = Quality()
    for number in range(3_000):
        quality.add(row(str(number), "x" * (number % 500)))
    size = len(json.dumps(quality.to_dict()))
    for number in range(3_000):
        quality.add(row(f"{number}b", "x" * (number % 500)))
    assert len(json.dumps(quality.to_dict())) - size < 300


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("Where is my card?", 4), ("카드가 어디 있나요", 7), ("x" * 400, 100)],
)
def test_estimated_tokens(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


def test_tokens_by_a_tokenizer_in_a_folder(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"<unk>": 0, "my": 1, "card": 2}, "<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    quality = Quality(CurateConfig(tokenizer=str(tmp_path)))
    quality.add(row("1", "my card is lost", "oh"))
    assert quality.lengths()["tokens"]["longest"] == 5


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    with pytest.raises(FlywheelError, match=r"curate\.tokenizer: .*tokenizer\.json is no tokenizer") as caught:
        token_counter(str(tmp_path))
    assert caught.value.reason == "tokenizer"
