"""Questions, wrong answers and task files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.evaluate.config import EvaluateConfig
from llm_flywheel.components.evaluate.evaluate import summarize
from llm_flywheel.components.evaluate.tasks import questions, select, with_choices, write_tasks


def row(number: int, answer: str, lang: str = "en") -> dict[str, Any]:
    messages = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": answer}]
    return {"id": f"{number:02}", "lang": lang, "messages": messages}


ROWS = [row(0, "red"), row(1, "blue"), row(2, "green"), row(3, "빨강", "ko"), row(4, "파랑", "ko"), row(5, "red")]


def test_prompt_is_everything_before_the_answer() -> None:
    assert questions([row(0, " red ")]) == [
        {"id": "00", "lang": "en", "prompt": '[{"role": "user", "content": "q0"}]', "answer": "red"}
    ]


def test_chats_without_an_answer_are_no_questions() -> None:
    assert questions([{"id": "a", "lang": "en", "messages": [{"role": "user", "content": "q"}]}]) == []


def test_wrong_answers_come_from_the_same_language_first() -> None:
    items = questions(ROWS)
    by_id = {item["id"]: item for item in with_choices(items, items, count=3, seed=0)}
    assert set(by_id["00"]["choices"]) == {"red", "blue", "green"}
    assert set(by_id["03"]["choices"]) - {"빨강", "파랑"} < {"red", "blue", "green"}
    assert len(by_id["03"]["choices"]) == 3
    assert all(item["choices"][item["label"]] == item["answer"] for item in by_id.values())


def test_choices_depend_on_the_seed_alone() -> None:
    items = questions(ROWS)
    assert with_choices(items, items, 3, seed=1) == with_choices(list(items), list(reversed(items)), 3, seed=1)
    assert with_choices(items, items, 3, seed=1) != with_choices(items, items, 3, seed=2)


def test_single_answer_offers_no_choice() -> None:
    items = questions([row(0, "red"), row(1, "red")])
    assert with_choices(items, items, 4, seed=0) == []


def test_limit_takes_the_same_questions_each_time() -> None:
    items = questions(ROWS)
    assert select(items, 2, seed=0) == select(list(reversed(items)), 2, seed=0)
    assert len(select(items, 100, seed=0)) == 6


def test_task_files_stop_at_the_models_stop_token(tmp_path: Path) -> None:
    counts = write_tasks(tmp_path, ROWS, EvaluateConfig(choices_limit=2), stop="<|im_end|>", max_new_tokens=9)
    assert counts == {"flywheel_generation": 6, "flywheel_multiple_choice": 2}
    task = yaml.safe_load((tmp_path / "flywheel_generation.yaml").read_text())
    assert task["generation_kwargs"] == {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": 9}
    lines = (tmp_path / "flywheel_multiple_choice.jsonl").read_text().splitlines()
    assert {"choices", "label", "prompt"} <= json.loads(lines[0]).keys()


def test_no_question_is_an_error_that_names_the_task(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError, match="no question to ask in flywheel_multiple_choice"):
        write_tasks(tmp_path, [row(0, "red")], EvaluateConfig(), stop="</s>", max_new_tokens=9)


def test_standard_error_is_that_of_the_mean() -> None:
    metrics = summarize({"flywheel_generation": [{"score": 1}, {"score": 0}, {"score": 1}, {"score": 1}]})
    assert metrics == {"exact_match": 0.75, "exact_match_n": 4, "exact_match_stderr": 0.25}
