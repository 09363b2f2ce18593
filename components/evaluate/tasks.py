"""lm-eval tasks made from the test split: JSON Lines and YAML that lm-eval's own command line can run, too."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.evaluate.config import EvaluateConfig

GENERATION, MULTIPLE_CHOICE = "flywheel_generation", "flywheel_multiple_choice"


def questions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The chats that end with an answer: id, language, the messages before it as JSON, and the answer."""
    return [
        {
            "id": row["id"],
            "lang": row["lang"],
            "prompt": json.dumps(row["messages"][:-1], ensure_ascii=False),
            "answer": row["messages"][-1]["content"].strip(),
        }
        for row in rows
        if len(row["messages"]) > 1 and row["messages"][-1]["role"] == "assistant"
    ]


def select(items: Sequence[dict[str, Any]], limit: int | None, seed: int) -> list[dict[str, Any]]:
    """At most ``limit`` questions, a random choice that depends on ``seed`` alone."""
    ordered = sorted(items, key=lambda item: str(item["id"]))
    if limit is None or limit >= len(ordered):
        return ordered
    return random.Random(f"select-{seed}").sample(ordered, limit)


def with_choices(items: Sequence[dict[str, Any]], pool: Sequence[dict[str, Any]], count: int, seed: int) -> list[Any]:
    """Add wrong answers, taken from the other answers in ``pool``, those in the same language first.

    Args:
        items: Questions.
        pool: Questions whose answers may serve as wrong ones.
        count: Answers per question, the true one included; fewer when the pool has no more.
        seed: Same seed, same choices in the same order.

    Returns:
        Questions with ``choices`` and ``label``; those without any wrong answer are left out.
    """
    by_lang: dict[str, list[str]] = {}
    for item in pool:
        by_lang.setdefault(item["lang"], []).append(item["answer"])
    distinct = {lang: sorted(set(answers)) for lang, answers in by_lang.items()}
    everything = sorted({item["answer"] for item in pool})
    result = []
    for item in items:
        rng = random.Random(f"choices-{seed}-{item['id']}")
        near = [answer for answer in distinct.get(item["lang"], []) if answer != item["answer"]]
        wrong = rng.sample(near, min(count - 1, len(near)))
        far = [answer for answer in everything if answer != item["answer"] and answer not in wrong]
        wrong += rng.sample(far, min(count - 1 - len(wrong), len(far)))
        choices = [item["answer"], *wrong]
        rng.shuffle(choices)
        if len(choices) > 1:
            result.append({**item, "choices": choices, "label": choices.index(item["answer"])})
    return result


def write_tasks(
    folder: Path, rows: Sequence[Mapping[str, Any]], config: EvaluateConfig, stop: str, max_new_tokens: int
) -> dict[str, int]:
    """Write the tasks into ``folder``.

    Args:
        folder: Where the JSON Lines and YAML files go.
        rows: The test split.
        config: Which tasks, how many questions and choices.
        stop: Text at which generation stops.
        max_new_tokens: Longest generated answer.

    Returns:
        Task name to number of questions.

    Raises:
        FlywheelError: There is no question to ask.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = questions(rows)
    counts: dict[str, int] = {}
    if "generation" in config.tasks:
        asked = select(every, config.limit, config.seed)
        counts[GENERATION] = _write(folder, GENERATION, asked, _generation(stop, max_new_tokens))
    if "multiple_choice" in config.tasks:
        limit = config.choices_limit if config.choices_limit is not None else config.limit
        asked = with_choices(select(every, limit, config.seed), every, config.choices, config.seed)
        counts[MULTIPLE_CHOICE] = _write(folder, MULTIPLE_CHOICE, asked, _multiple_choice())
    if not all(counts.values()):
        raise FlywheelError(
            f"no question to ask in {', '.join(name for name, count in counts.items() if not count)}",
            where="test.parquet",
            reason="no_data",
        )
    return counts


def _write(folder: Path, name: str, items: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> int:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    source = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}, "cache_dir": str(folder.resolve() / "cache")},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": "",
        "metadata": {"version": 1},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**source, **task}, allow_unicode=True), encoding="utf-8")
    return len(items)


def _generation(stop: str, max_new_tokens: int) -> dict[str, Any]:
    return {
        "output_type": "generate_until",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": [stop], "do_sample": False, "max_gen_toks": max_new_tokens},
        "filter_list": [{"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def _multiple_choice() -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
