"""Measure a model on the held-out split with lm-eval, offline."""

import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.resolve import resolve_base
from llm_flywheel.components.common.dataset import read_manifest, read_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.report import Page
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.evaluate.config import EvaluateConfig
from llm_flywheel.components.evaluate.tasks import GENERATION, MULTIPLE_CHOICE, questions, write_tasks

METRICS = {GENERATION: ("exact_match", "exact_match,strip"), MULTIPLE_CHOICE: ("mc_accuracy", "acc,none")}


def run(
    config: EvaluateConfig,
    model: Path,
    base: Path,
    dataset: Path,
    label: str,
    results: Path,
    samples: Path,
    report: Path,
) -> dict[str, Any]:
    """Evaluate one model and write its results, samples and the report.

    Args:
        config: What to ask.
        model: Model artifact: an adapter, full weights, or a base model artifact.
        base: Base model artifact, for an adapter.
        dataset: Curated dataset folder; its test split is asked.
        label: ``base`` or ``tuned``.
        results: JSON file to write.
        samples: JSON Lines file to write: every question with its answer, the prediction and the score.
        report: HTML file to write.

    Returns:
        The written results.

    Raises:
        FlywheelError: The split is empty, or the model cannot be loaded.
    """
    rows = read_table(dataset / "test.parquet").to_pylist()
    if not questions(rows):
        raise FlywheelError("the test split holds no question", where=str(dataset / "test.parquet"), reason="no_data")
    settings = Settings.from_env()
    adapter = (model / "adapter_config.json").is_file()
    pretrained = resolve_base(base if adapter else model, settings)
    outcome = _ask(config, pretrained, model if adapter else None, rows)
    document = {
        "label": label,
        "model": str(_lineage_name(model)),
        "dataset_version": read_manifest(dataset).get("version", ""),
        "metrics": summarize(outcome["samples"]),
        "settings": {**config.model_dump(mode="json"), **outcome["settings"]},
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    lines = [json.dumps(sample, ensure_ascii=False) for task in outcome["samples"].values() for sample in task]
    samples.parent.mkdir(parents=True, exist_ok=True)
    samples.write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_report(document, outcome["samples"], report, config.samples)
    return document


def summarize(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Mean, standard error of the mean (as lm-eval's ``mean_stderr``) and number of questions per metric."""
    metrics: dict[str, float] = {}
    for task, rows in samples.items():
        name = METRICS[task][0]
        scores = [float(row["score"]) for row in rows]
        mean = sum(scores) / len(scores)
        metrics[name] = mean
        metrics[f"{name}_n"] = len(scores)
        if len(scores) > 1:
            variance = sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)
            metrics[f"{name}_stderr"] = math.sqrt(variance / len(scores))
    return metrics


def write_report(
    document: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]], path: Path, shown: int
) -> None:
    """The HTML page: numbers, settings, and predictions next to the true answers."""
    metrics = document["metrics"]
    page = Page(f"Evaluation of the {document['label']} model", f"Dataset {document['dataset_version']}, test split")
    page.heading("Numbers")
    names = [name for name, _ in METRICS.values() if name in metrics]
    table = [
        [name, round(metrics[name], 4), round(metrics.get(f"{name}_stderr", math.nan), 4), int(metrics[f"{name}_n"])]
        for name in names
    ]
    page.table(["metric", "value", "standard error", "questions"], table)
    for task, rows in samples.items():
        page.heading(f"Predictions: {METRICS[task][0]}")
        page.table(
            ["", "question", "answer", "prediction"],
            [["✓" if row["score"] else "✗", row["question"], row["answer"], row["prediction"]] for row in rows[:shown]],
        )
    page.heading("Settings")
    page.table(["setting", "value"], [[key, str(value)] for key, value in document["settings"].items()])
    page.write(path)


def _lineage_name(model: Path) -> str:
    path = model / "flywheel.json"
    lineage = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(lineage.get("base") or lineage.get("reference") or model.name)


def _ask(
    config: EvaluateConfig, pretrained: Path | str, adapter: Path | None, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    # Before lm-eval and its libraries are imported: the tasks are local, and an air-gapped site must not wait
    # for a network. A model that is named by a Hub id must be in the local cache already or be fetched.
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    if isinstance(pretrained, Path):
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads make a busy machine crawl
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # bars of lm-eval; a log file wants none
    from llm_flywheel.components.evaluate.harness import load_model, measure

    model = load_model(config, pretrained, adapter)
    tokenizer = model.tokenizer
    limit = config.max_new_tokens or _longest(rows, tokenizer) + 4
    with tempfile.TemporaryDirectory(prefix="flywheel-evaluate-") as name:
        folder = Path(name)
        counts = write_tasks(folder, rows, config, str(tokenizer.eos_token), limit)
        samples = measure(model, folder, list(counts), config)
    shown = {task: [_sample(task, row) for row in taken] for task, taken in samples.items()}
    return {"samples": shown, "settings": {"max_new_tokens": limit, "stop": tokenizer.eos_token, "greedy": True}}


def _longest(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> int:
    answers = sorted({item["answer"] for item in questions(rows)})
    return max(len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"])


def _sample(task: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """One of lm-eval's logged samples, reduced to what a person compares."""
    doc = row["doc"]
    if task == GENERATION:
        prediction, score = str(row["filtered_resps"][0]), float(row["exact_match"])
    else:
        scores = [float(answer[0]) for answer in row["filtered_resps"]]
        prediction, score = doc["choices"][scores.index(max(scores))], float(row["acc"])
    asked = json.loads(doc["prompt"])[-1]["content"]
    return {
        "task": task,
        "id": doc["id"],
        "question": asked,
        "answer": doc["answer"],
        "prediction": prediction,
        "score": score,
    }
