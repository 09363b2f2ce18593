import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.dataset import (
    DROPPED_SCHEMA,
    SPLITS,
    read_manifest,
    read_table,
    row_id,
    version_of,
    write_manifest,
    write_table,
)
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.curate.config import CurateConfig, Sampling
from llm_flywheel.components.curate.curate import CurateResult, run
from llm_flywheel.components.curate.executors import Inline
from llm_flywheel.components.curate.shingles import shingle_sets
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.ingest.ingest import run as ingest

REAL = Path(__file__).parents[4] / "shared" / "data"

# Questions that share no pair of words.
TOPICS = [f"does product{number} of{number} yours{number} support{number} feature{number}" for number in range(40)]


def row(user: str, answer: str = "yes", system: str = "", **meta: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {"id": row_id(messages), "messages": messages, "source": "a.csv", "lang": "en", "meta": json.dumps(meta)}


def topics(count: int = 40) -> list[dict[str, Any]]:
    return [row(text) for text in TOPICS[:count]]


@dataclass(frozen=True)
class Outcome:
    """The files of a curated data set."""

    splits: dict[str, list[dict[str, Any]]]
    dropped: list[tuple[str, str, str | None]]

    def ids(self, *names: str) -> list[str]:
        return [item["id"] for name in names or SPLITS for item in self.splits[name]]


def write_input(folder: Path, records: list[dict[str, Any]], **manifest: Any) -> Path:
    write_table(records, folder / "data.parquet")
    write_manifest(folder, {"version": version_of(item["id"] for item in records), "pii": {"email": 2}, **manifest})
    return folder


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., Outcome]:
    def curated(records: list[dict[str, Any]], config: CurateConfig) -> Outcome:
        run(config, write_input(tmp_path / "in", records), tmp_path / "out")
        splits = {name: read_table(tmp_path / "out" / f"{name}.parquet").to_pylist() for name in SPLITS}
        gone = read_table(tmp_path / "out" / "dropped.parquet", DROPPED_SCHEMA).to_pylist()
        return Outcome(splits, [(item["id"], item["reason"], item["duplicate_of"]) for item in gone])

    return curated


Curate = Callable[[list[dict[str, Any]], CurateConfig], Outcome]


def test_duplicates_name_the_kept_row_and_another_answer_is_another_example(curate: Curate) -> None:
    text = "can i track my new card while it is in the process of delivery"
    first, same = row(text), row(f"  {text.replace(' ', '  ')} ")
    near, other = row(f"{text.upper()}!!"), row(text, "no")
    persona = row(text, system="You are a pirate.")
    outcome = curate([first, same, near, other, persona, *topics()], CurateConfig())
    assert outcome.dropped == [
        (same["id"], "exact_duplicate", first["id"]),
        (near["id"], "near_duplicate", first["id"]),
    ]
    assert {first["id"], other["id"], persona["id"]} <= {*outcome.ids()}


def test_on_user_text_alone_another_answer_is_a_duplicate(curate: Curate) -> None:
    first, other = row("where is my card"), row("where is my card", "no")
    outcome = curate([first, other, *topics()], CurateConfig(dedup_on="user"))
    assert outcome.dropped == [(other["id"], "exact_duplicate", first["id"])]


def test_a_row_in_a_new_spelling_has_a_new_id_and_remembers_the_old_one(curate: Curate) -> None:
    old = row("where\xa0is my card\r\n", line=7)
    outcome = curate([old, *topics()], CurateConfig())
    rows = [item for name in SPLITS for item in outcome.splits[name]]
    (new,) = [item for item in rows if "input_id" in item["meta"]]
    assert new["messages"][0]["content"] == "where is my card"
    assert new["id"] == row_id(new["messages"]) != old["id"]
    assert json.loads(new["meta"]) == {"line": 7, "input_id": old["id"]}


def test_held_out_rows_are_the_test_split_as_given_and_what_leaks_into_them_is_dropped(curate: Curate) -> None:
    text = "can i track my new card while it is in the process of delivery"
    tests = [row(text, split="test"), row(text, split="test"), row(" ?\u200b", "", split="test")]
    exact, near = row(text, "another answer"), row(f"{text} today", "no")
    far = row("can i track my parcel on its way to me")
    outcome = curate([exact, *tests, near, far, *topics()], CurateConfig())
    assert outcome.splits["test"] == tests
    assert outcome.dropped == [
        (exact["id"], "leaks_into_test", tests[0]["id"]),
        (near["id"], "leaks_into_test", tests[0]["id"]),
    ]
    assert far["id"] in outcome.ids("train", "validation")
    assert len(outcome.splits["validation"]) == 2


def test_similar_questions_stand_in_one_split(curate: Curate) -> None:
    records = topics()
    for number in range(12):
        base = f"how do i change the address{number} of account{number} number{number} before next{number} week"
        records += [
            row(base),
            row(f"{base} or{number} a{number} b{number} c{number} d{number} e{number}"),
            row(base, "no"),
        ]
    outcome = curate(records, CurateConfig(validation_share=0.2, test_share=0.3))
    place = {item["messages"][0]["content"]: name for name, rows in outcome.splits.items() for item in rows}
    texts = list(place)
    sets = shingle_sets(texts, 2)
    left, right = np.triu_indices(len(texts), 1)
    similar = sets.jaccard(left, right) >= 0.5
    crossing = [
        (texts[a], texts[b])
        for a, b in zip(left[similar], right[similar], strict=True)
        if place[texts[a]] != place[texts[b]]
    ]
    assert similar.sum() == 12
    assert crossing == []
    assert {name: len(rows) for name, rows in outcome.splits.items()} == {"train": 38, "validation": 15, "test": 23}


def test_the_order_of_unlike_rows_does_not_matter(curate: Curate) -> None:
    one, other = curate(topics(), CurateConfig(seed=3)), curate(topics()[::-1], CurateConfig(seed=3))
    for name in SPLITS:
        assert sorted(one.ids(name)) == sorted(other.ids(name))


def test_nothing_left_or_an_empty_split_is_an_error(curate: Curate) -> None:
    with pytest.raises(FlywheelError, match=r"no row is left to train on: no_answer 1") as caught:
        curate([row("hi", "")], CurateConfig())
    assert caught.value.reason == "no_rows"
    same = [row(TOPICS[0], f"answer {number}") for number in range(20)]
    with pytest.raises(FlywheelError, match="20 rows in 1 groups .*leave nothing for validation and test") as caught:
        curate(same, CurateConfig())
    assert caught.value.reason == "split"
    assert len(curate(same, CurateConfig(validation_share=0, test_share=0)).splits["train"]) == 20


def test_the_folder_holds_the_splits_the_dropped_rows_and_a_manifest_that_adds_up(tmp_path: Path) -> None:
    records = [*topics(), row("hi", ""), row("", "yo"), topics()[0]]
    result = run(CurateConfig(), write_input(tmp_path / "in", records), tmp_path / "out", tmp_path / "report.html")
    assert result == CurateResult(
        version=version_of(item["id"] for item in topics()),
        rows_in=43,
        rows_out=40,
        splits={"train": 34, "validation": 2, "test": 4},
        dropped={"no_answer": 1, "no_question": 1, "exact_duplicate": 1},
    )
    kept = [read_table(tmp_path / "out" / f"{name}.parquet")["id"].to_pylist() for name in result.splits]
    gone = read_table(tmp_path / "out" / "dropped.parquet", DROPPED_SCHEMA).to_pylist()
    assert sorted(sum(kept, []) + [item["id"] for item in gone]) == sorted(item["id"] for item in records)
    assert gone[2] == {"id": records[0]["id"], "reason": "exact_duplicate", "duplicate_of": records[0]["id"]}
    manifest = read_manifest(tmp_path / "out")
    assert manifest["parent"] == version_of(item["id"] for item in records)
    assert manifest["version"] == result.version
    assert manifest["pii"] == {"email": 2}
    assert manifest["lengths"]["assistant_chars"] == {"count": 40, "mean": 3.0, "median": 3, "p95": 3, "longest": 3}
    page = (tmp_path / "report.html").read_text()
    assert "43 rows in = 34 train + 2 validation + 4 test + 3 dropped." in page
    assert page.count("<svg") == 8


def test_wrong_settings_are_all_named_at_once() -> None:
    with pytest.raises(FlywheelError) as caught:
        bind(CurateConfig, {"treshold": 1, "seed": -1, "dedup_on": "answer"}, where="curate")
    assert "3 errors" in caught.value.what
    with pytest.raises(FlywheelError, match="leakage_threshold must not be above duplicate_threshold"):
        bind(CurateConfig, {"duplicate_threshold": 0.5, "leakage_threshold": 0.6})


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data in {REAL}")
def test_defaults_keep_good_short_messages_of_real_data(tmp_path: Path) -> None:
    config = IngestConfig(
        paths=[str(REAL / "banking77_train.csv")],
        holdout_paths=[str(REAL / "banking77_test.csv")],
        mapping={"user": "text", "assistant": "category"},
    )
    ingest(config, tmp_path / "in", tmp_path / "quarantine")
    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out")
    assert result.splits["test"] == 3_080
    assert set(result.dropped) == {"leaks_into_test", "near_duplicate", "exact_duplicate", "contaminated"}
    assert result.dropped["contaminated"] < 40
    assert 9_700 <= result.splits["train"] + result.splits["validation"] <= 9_800


def test_the_messy_sample_loses_its_planted_duplicates(tmp_path: Path) -> None:
    ingest(IngestConfig(paths=["sample://support-tickets?rows=1000&seed=0"]), tmp_path / "in", tmp_path / "quarantine")
    result = run(CurateConfig(), tmp_path / "in", tmp_path / "out")
    assert set(result.dropped) == {"exact_duplicate", "near_duplicate"}
    assert 90 <= sum(result.dropped.values()) <= 140


WORDS = st.text(max_size=40) | st.sampled_from(
    ["how do i reset my password", "네 감사합니다", "\0", "🙂🙂", "a" * 100, "no " * 60]
)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool", ""]), "content": WORDS})
ANSWERED = WORDS.map(lambda text: [{"role": "user", "content": text}, {"role": "assistant", "content": "fine thanks"}])
FOREIGN = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(max_size=4),
        "messages": ANSWERED | st.lists(TURN, max_size=4),
        "source": st.none() | WORDS,
        "lang": st.sampled_from([None, "en", "ko", "", "xx"]),
        "meta": st.sampled_from(
            [None, "{}", "null", "[1]", "{", '{"split": "test"}', '{"split": [1]}', "[" * 5_000, '{"k": "\\ud83d"}']
        ),
    }
)


@given(st.lists(FOREIGN, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_table_that_another_program_wrote_is_accounted_for(foreign: list[dict[str, Any]]) -> None:
    rows = [row(f"word{n} other{n} third{n} fourth{n}") for n in range(30)] + foreign
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_table(rows, folder / "in" / "data.parquet")
        write_manifest(folder / "in", {})
        config = CurateConfig(sampling=Sampling(by="meta.k", max_rows=1_000))
        result = run(config, folder / "in", folder / "out", executor=Inline(), work=folder / "work")
    assert result.rows_in == len(rows) == result.rows_out + sum(result.dropped.values())


@pytest.mark.parametrize("messages", [None, [None], [{"role": "user", "content": None}]])
def test_a_message_without_content_is_refused_with_its_row(tmp_path: Path, messages: Any) -> None:
    write_table([row("hi there"), {**row("x"), "messages": messages}], tmp_path / "in" / "data.parquet")
    write_manifest(tmp_path / "in", {})
    with pytest.raises(FlywheelError, match="row 2 has a message without role or content"):
        run(CurateConfig(), tmp_path / "in", tmp_path / "out", work=tmp_path / "work")
