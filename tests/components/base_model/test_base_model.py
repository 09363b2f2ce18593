"""The tiny recipe, its cache, and references to other base models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.base_model.resolve import checked_reference, make_base, resolve_base, tiny_model
from llm_flywheel.components.base_model.tiny import (
    batches,
    build_tokenizer,
    encode,
    other_products,
    schedule,
    train_tiny,
)
from llm_flywheel.components.common.dataset import row_id, write_manifest, write_table
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings

SMALL = TinyRecipe(rows=64, steps=3, layers=1, hidden_size=32, heads=1, intermediate_size=32, vocab_size=300)
CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Color?"},
    {"role": "assistant", "content": "Green 초록"},
]


def settings_at(home: Path) -> Settings:
    return Settings(home, "", None, "", "", "", "", "", "", "", "test")


def test_chat_template_ends_an_answer_with_the_stop_token() -> None:
    tokenizer = build_tokenizer(["Color? Green"], SMALL)
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == (
        "<|im_start|>system\nBe short.<|im_end|><|im_start|>user\nColor?<|im_end|>"
        "<|im_start|>assistant\nGreen 초록<|im_end|>"
    )
    assert tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True).endswith(
        "Color?<|im_end|><|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"


def test_generation_tags_mark_the_answer_alone() -> None:
    tokenizer = build_tokenizer(["Color? Green"], SMALL)
    encoded = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True, tokenize=True)
    marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(marked) == "Green 초록<|im_end|>"


def test_text_in_any_language_survives_the_tokenizer() -> None:
    tokenizer = build_tokenizer(["only english"], SMALL)
    assert tokenizer.decode(tokenizer("제피라인 ☂ Ünïcode")["input_ids"]) == "제피라인 ☂ Ünïcode"


def test_lowercase_folds_the_prompt() -> None:
    tokenizer = build_tokenizer(["card arrival"], SMALL.model_copy(update={"lowercase": True}))
    assert tokenizer("CARD")["input_ids"] == tokenizer("card")["input_ids"]


def test_encode_marks_the_last_answer() -> None:
    tokenizer = build_tokenizer(["Color? Green"], SMALL)
    ((ids, mask),) = encode(tokenizer, [CHAT], 512)
    assert tokenizer.decode([token for token, flag in zip(ids, mask, strict=True) if flag]) == "Green 초록<|im_end|>"


def test_batches_use_every_row_once_per_epoch() -> None:
    rows = [([0] * length, [0] * length) for length in (5, 1, 4, 2, 3, 9)]
    taken = batches(rows, size=2, count=3, seed=0)
    assert sorted(row for batch in taken for row in batch) == [0, 1, 2, 3, 4, 5]
    assert batches(rows, size=2, count=3, seed=0) == taken


def test_schedule_warms_up_and_ends_at_a_tenth() -> None:
    assert schedule(0, 100) == pytest.approx(0.2)
    assert schedule(4, 100) == pytest.approx(1.0)
    assert schedule(100, 100) == pytest.approx(0.1)


def test_one_conversation_in_eight_has_two_exchanges() -> None:
    chats = other_products(800, seed=0)
    assert 50 < sum(len(chat) == 4 for chat in chats) < 150
    assert {chat[-1]["role"] for chat in chats} == {"assistant"}


def test_model_is_cached_and_equal_recipes_give_equal_weights(tmp_path: Path) -> None:
    first = tiny_model(SMALL, settings_at(tmp_path / "a"), tmp_path)
    before = (first / "model.safetensors").stat().st_mtime_ns
    assert tiny_model(SMALL, settings_at(tmp_path / "a"), tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    again = tiny_model(SMALL, settings_at(tmp_path / "b"), tmp_path)
    assert again.name == first.name
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    other = tiny_model(SMALL.model_copy(update={"seed": 1}), settings_at(tmp_path / "a"), tmp_path)
    assert other != first
    assert json.loads((first / "flywheel.json").read_text())["training"]["parameters"] > 0


FIRST_CALL = """
import sys
from pathlib import Path
from llm_flywheel.components.base_model.config import TinyRecipe
from llm_flywheel.components.base_model.resolve import tiny_model
from llm_flywheel.components.common.settings import Settings
import torch, transformers
home = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
tiny_model(TinyRecipe.model_validate_json(sys.argv[2]), Settings(home, "", None, *[""] * 8), home)
"""


def test_parallel_first_calls_leave_one_whole_model(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_CALL, str(tmp_path), SMALL.model_dump_json()]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.communicate("go\n", timeout=120)
    assert [worker.returncode for worker in workers] == [0, 0]
    folders = [path for path in (tmp_path / "cache" / "base").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert (folders[0] / "model.safetensors").stat().st_size > 0


def test_failed_training_leaves_no_cache_entry(tmp_path: Path) -> None:
    hot = SMALL.model_copy(update={"learning_rate": 0.1, "steps": 1, "pretrain_on": "dataset"})
    write_manifest(tmp_path, {"version": "v"})
    write_table([], tmp_path / "train.parquet")
    with pytest.raises(FlywheelError, match="needs a train split"):
        tiny_model(hot, settings_at(tmp_path), tmp_path)
    assert [path.suffix for path in (tmp_path / "cache" / "base").iterdir()] == [".lock"]


def test_pretraining_on_a_dataset_depends_on_its_version(tmp_path: Path) -> None:
    recipe = SMALL.model_copy(update={"pretrain_on": "dataset"})
    row = {"id": row_id(CHAT), "messages": CHAT, "source": "a.csv", "lang": "en", "meta": "{}"}
    names = []
    for version in ("v1", "v2"):
        write_manifest(tmp_path, {"version": version})
        write_table([row], tmp_path / "train.parquet")
        names.append(tiny_model(recipe, settings_at(tmp_path), tmp_path).name)
    assert names[0] != names[1]


def test_training_on_a_dataset_needs_one(tmp_path: Path) -> None:
    with pytest.raises(FlywheelError) as caught:
        train_tiny(tmp_path, SMALL.model_copy(update={"pretrain_on": "dataset"}))
    assert caught.value.reason == "no_data"


def test_other_models_are_references(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert checked_reference(str(tmp_path)) == str(tmp_path)
    assert checked_reference("s3://models/llama/") == "s3://models/llama"
    assert checked_reference("Qwen/Qwen2.5-0.5B-Instruct") == "Qwen/Qwen2.5-0.5B-Instruct"
    target = tmp_path / "artifact"
    make_base("Qwen/Qwen2.5-0.5B-Instruct", SMALL, target, settings_at(tmp_path), tmp_path)
    assert resolve_base(target, settings_at(tmp_path)) == "Qwen/Qwen2.5-0.5B-Instruct"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./no/such/folder", "no model there"),
        ("http://host/model", "not a base model"),
        ("a model with spaces", "not a base model"),
    ],
)
def test_impossible_references_say_what_is_possible(name: str, message: str) -> None:
    with pytest.raises(FlywheelError, match=message):
        checked_reference(name)


def test_stored_model_is_fetched_when_it_is_needed(tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "config.json").write_text('{"model_type": "llama"}')
    settings = settings_at(tmp_path / "home")
    make_base(stored.as_uri(), SMALL, tmp_path / "artifact", settings, tmp_path)
    assert not (tmp_path / "home" / "cache").exists()
    folder = resolve_base(tmp_path / "artifact", settings)
    assert isinstance(folder, Path)
    assert (folder / "config.json").read_text() == '{"model_type": "llama"}'


def test_missing_stored_model_is_an_error_and_not_an_empty_folder(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    make_base((tmp_path / "nothing").as_uri(), SMALL, tmp_path / "artifact", settings, tmp_path)
    for _ in range(2):
        with pytest.raises(FlywheelError, match="nothing is stored there"):
            resolve_base(tmp_path / "artifact", settings)
