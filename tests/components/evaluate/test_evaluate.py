"""Evaluation with the real lm-eval on models of seconds."""

import json
import shutil
from pathlib import Path

import pytest

from llm_flywheel.components.common.dataset import read_table, write_manifest, write_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.evaluate.config import EvaluateConfig
from llm_flywheel.components.evaluate.evaluate import run
from llm_flywheel.components.finetune.examples import build_examples


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_dataset: Path) -> Path:
    """The base model after it has learnt the four facts of the test questions by heart."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_base), AutoTokenizer.from_pretrained(tiny_base)
    chats = read_table(tiny_dataset / "test.parquet")["messages"].to_pylist()
    rows = build_examples(chats, tokenizer, 256).rows
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["labels"] + [-100] * (width - len(row["labels"])) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("learned")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "flywheel.json").write_text('{"kind": "full", "base": "tiny-test"}')
    return folder


def outputs(folder: Path) -> tuple[Path, Path, Path]:
    """Results, samples and report; each in a place of its own, as in a cluster."""
    return folder / "r.json", folder / "samples" / "s.jsonl", folder / "r.html"


def test_model_that_knows_the_answers_scores_one(
    tmp_path: Path, learned: Path, tiny_base: Path, tiny_dataset: Path
) -> None:
    config = EvaluateConfig(choices=3)
    written = run(config, learned, tiny_base, tiny_dataset, "tuned", *outputs(tmp_path))
    assert written["metrics"] == {
        "exact_match": 1.0,
        "exact_match_n": 4,
        "exact_match_stderr": 0.0,
        "mc_accuracy": 1.0,
        "mc_accuracy_n": 4,
        "mc_accuracy_stderr": 0.0,
    }
    assert json.loads((tmp_path / "r.json").read_text()) == written
    assert set(written) == {"label", "model", "dataset_version", "metrics", "settings"}
    assert (written["label"], written["model"]) == ("tuned", "tiny-test")
    assert written["settings"]["apply_chat_template"] is True
    samples = [json.loads(line) for line in (tmp_path / "samples" / "s.jsonl").read_text().splitlines()]
    assert len(samples) == 8
    assert {sample["answer"] for sample in samples} == {"green", "two kilos", "ten euros", "Portugal"}
    assert "The color? Thanks" in (tmp_path / "r.html").read_text()


def test_fresh_adapter_scores_as_its_base(tmp_path: Path, learned: Path, tiny_dataset: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapter = tmp_path / "adapter"
    model = AutoModelForCausalLM.from_pretrained(learned)
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(adapter)
    config = EvaluateConfig(tasks=["generation"], limit=2)
    written = run(config, adapter, learned, tiny_dataset, "tuned", *outputs(tmp_path))
    assert written["metrics"] == {"exact_match": 1.0, "exact_match_n": 2, "exact_match_stderr": 0.0}


def test_base_artifact_without_knowledge_scores_nothing(tmp_path: Path, tiny_base: Path, tiny_dataset: Path) -> None:
    config = EvaluateConfig(tasks=["generation"])
    written = run(config, tiny_base, tiny_base, tiny_dataset, "base", *outputs(tmp_path))
    assert written["metrics"]["exact_match"] == 0.0


def test_earlier_turns_reach_the_model(tmp_path: Path, learned: Path, tiny_dataset: Path) -> None:
    chats = read_table(tiny_dataset / "test.parquet").to_pylist()
    for row in chats:
        row["messages"] = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello, what is it?"},
            *row["messages"],
        ]
    write_table(chats, tmp_path / "data" / "test.parquet")
    write_manifest(tmp_path / "data", {"version": "v"})
    config = EvaluateConfig(tasks=["generation"])
    written = run(config, learned, learned, tmp_path / "data", "base", *outputs(tmp_path))
    assert written["metrics"]["exact_match_n"] == 4
    assert (tmp_path / "samples" / "s.jsonl").read_text().count("The color? Thanks") == 1


def test_empty_test_split_is_refused(tmp_path: Path, learned: Path) -> None:
    write_table([], tmp_path / "test.parquet")
    with pytest.raises(FlywheelError) as caught:
        run(EvaluateConfig(), learned, learned, tmp_path, "base", *outputs(tmp_path))
    assert caught.value.reason == "no_data"


def test_model_that_is_none_is_refused(tmp_path: Path, tiny_base: Path, tiny_dataset: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(FlywheelError) as caught:
        run(EvaluateConfig(), tmp_path / "model", tiny_base, tiny_dataset, "base", *outputs(tmp_path))
    assert caught.value.reason == "model"
