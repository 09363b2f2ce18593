import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig, Decontamination
from llm_flywheel.components.curate.decontaminate import Contamination, Item

JANET = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "every day with four. She sells the remainder at the farmers' market daily for $2 per fresh duck egg."
)
SHORT = "How many continents are there on planet Earth today?"  # 9 words
TINY = "Where is my card?"  # 4 words
KOREAN = (
    "철수는 사과 열두 개를 가지고 있었는데 그중에서 다섯 개를 동생에게 나누어 주었고 "
    "나중에 시장에서 일곱 개를 더 샀습니다."
)
KOREAN_SHORT = "대한민국의 수도는 어디이며 언제 정해졌습니까?"


def index(*texts: str, **settings: Any) -> Contamination:
    items = [Item(f"eval.jsonl:{number}", [text]) for number, text in enumerate(texts, 1)]
    return Contamination.of(items, Decontamination.model_validate(settings))


@pytest.fixture(scope="module")
def known() -> Contamination:
    return index(JANET, SHORT, TINY, KOREAN, KOREAN_SHORT)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        (JANET, "eval.jsonl:1"),
        (JANET.upper().replace(".", " !").replace(" ", "\n"), "eval.jsonl:1"),  # other case, signs and spaces
        (JANET.replace("muffins", "cakes"), "eval.jsonl:1"),
        (JANET.replace("Janet's ducks lay", "Some hens lay") + " What does she earn?", "eval.jsonl:1"),
        (f"Please help with my homework: {JANET} Thanks!", "eval.jsonl:1"),
        (JANET[JANET.index("for her friends") :], "eval.jsonl:1"),
        (SHORT, "eval.jsonl:2"),
        (f"A question for you. {SHORT} I would like to know.", "eval.jsonl:2"),
        ("where is my CARD", "eval.jsonl:3"),
        (KOREAN, "eval.jsonl:4"),
        (KOREAN.replace(" ", ""), "eval.jsonl:4"),
        (f"숙제 좀 도와줘. {KOREAN.replace('철수', '영희')} 모두 몇 개일까?", "eval.jsonl:4"),
        (f"질문: {KOREAN_SHORT} 알려 주세요.", "eval.jsonl:5"),
        ("대한민국의 수도는 어디이며 언제정해졌습니까", "eval.jsonl:5"),
    ],
)
def test_copies_near_copies_and_quotations_are_found(known: Contamination, text: str, item: str) -> None:
    assert known.find(["You are helpful.", text]) == item


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?!",
        "My ducks lay 16 eggs per day and I eat three for breakfast.",
        "How many continents are there on Mars?",
        "How many continents are there on planet Earth and on Mars?",  # 8 words in a row, but not all
        "I lost my wallet. Where is my card? I need it now.",  # four words inside another text
        "영희는 사과 열두 개를 가지고 있었는데 모두 먹었습니다.",
        "대한민국의 수도는 서울입니다.",
        "card",
    ],
)
def test_innocent_look_alikes_stay(known: Contamination, text: str) -> None:
    assert known.find([text]) is None


def test_one_shared_sequence_of_a_long_text_is_enough_only_at_overlap_0() -> None:
    phrase = "the quick brown fox jumps over the lazy dog while the cat sleeps soundly"
    long = " ".join([phrase, *(f"word{number}" for number in range(60))])
    assert index(long).find([phrase]) is None
    assert index(long, min_overlap=0).find([phrase]) == "eval.jsonl:1"
    assert index(SHORT, min_overlap=0).find(["how many continents are there on planet earth"]) == "eval.jsonl:1"


def test_a_sequence_of_many_items_is_a_template() -> None:
    template = "Read the following passage and then answer the question that follows it in one sentence"
    items = [f"{template}. {name} {name}{name}?" for name in ("oslo", "rome", "bern", "lima")]
    assert index(*items, max_items=3).find([f"{template}."]) is None
    assert index(*items, max_items=4).find([f"{template}."]) == "eval.jsonl:1"


def test_the_item_with_the_largest_overlap_is_named() -> None:
    longer = f"{JANET} How much in dollars does she make every day at the farmers' market? Answer with a number."
    assert index(longer, JANET).find([JANET]) == "eval.jsonl:2"


def test_the_index_takes_twelve_bytes_per_sequence() -> None:
    many = index(" ".join(map(str, range(10_012))))
    assert many.summary["sequences"] == 10_000
    assert many.nbytes == 120_008


def test_a_text_below_four_words_gives_nothing_away() -> None:
    summary = index(SHORT, "yes", "My card?", "네", "").summary
    assert summary == {"items": 5, "texts": 1, "sequences": 2, "templates": 0, "too_short": 3}


def config(*sets: Any, **settings: Any) -> CurateConfig:
    return CurateConfig.model_validate({"decontamination": {"eval_sets": list(sets), **settings}})


def test_eval_sets_of_every_kind_are_read(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "You are a very careful assistant"}, {"role": "user", "content": JANET}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": chat}) + "\n")
    (tmp_path / "qa.csv").write_bytes(f"id,Question\n7,{KOREAN_SHORT}\n".encode("cp949"))
    pq.write_table(pa.table({"stem": [SHORT]}), tmp_path / "own.parquet")
    sets = [str(tmp_path / "chat.jsonl"), str(tmp_path / "qa.csv")]
    sets.append({"path": str(tmp_path / "own.parquet"), "columns": ["stem"]})  # type: ignore[arg-type]
    found = Contamination.from_config(config(*sets), tmp_path / "run")
    assert found is not None
    assert found.find([JANET]) == f"{tmp_path}/chat.jsonl:1"
    assert found.find([KOREAN_SHORT]) == f"{tmp_path}/qa.csv:2"
    assert found.find([SHORT]) == f"{tmp_path}/own.parquet:1"
    assert found.find(["You are a very careful assistant"]) is None


def test_the_folder_keeps_the_index_for_other_workers(tmp_path: Path) -> None:
    held_out = [Item("4711", [JANET])]
    assert Contamination.from_config(config(), tmp_path) is None
    assert Contamination.from_config(config(held_out=False), tmp_path, held_out) is None
    Contamination.from_config(config(), tmp_path, held_out)
    again = Contamination.from_config(config(), tmp_path)
    assert again is not None
    assert again.find([JANET]) == "4711"
    assert again.summary["items"] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "colour,size\nred,2\n", "no column with a usual name for text among the 2 of the row"),
        ("a.jsonl", '{"question": "', "row 1 cannot be read"),
        ("a.jsonl", "", "there are no rows in it"),
    ],
)
def test_an_eval_set_that_cannot_be_read_completely_is_an_error(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FlywheelError, match=message) as caught:
        Contamination.from_config(config(str(tmp_path / name)), tmp_path / "run")
    assert caught.value.reason == "eval_set"


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question\nwho\n")
    with pytest.raises(FlywheelError, match="no column stem among the 1 of the row"):
        Contamination.from_config(config({"path": str(tmp_path / "a.csv"), "columns": ["stem"]}), tmp_path)


def test_an_eval_set_that_is_not_there_is_told_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match=r"gone\.csv: no such file or folder") as caught:
        Contamination.from_config(config(str(tmp_path / "gone.csv")), tmp_path / "run")
    assert caught.value.fix.endswith("correct curate.decontamination.eval_sets")


def test_of_many_equal_short_items_the_first_is_found_at_the_cost_of_one() -> None:
    many = index(JANET, *[TINY] * 1_000)
    assert many.find([TINY]) == "eval.jsonl:2"
    assert len(many._hashes) == len(index(JANET, TINY)._hashes)
    assert many.summary["sequences"] == index(JANET).summary["sequences"] + 1_000
