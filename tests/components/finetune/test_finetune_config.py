"""Axolotl's names, and errors that name the key."""

import pytest

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.finetune.config import FinetuneConfig


def test_axolotl_keys_and_kfp_floats_bind() -> None:
    config = bind(
        FinetuneConfig,
        {
            "base_model": "tiny",
            "adapter": "lora",
            "lora_r": 8.0,
            "lora_alpha": 16.0,
            "lora_target_linear": True,
            "sequence_len": 256.0,
            "micro_batch_size": 4.0,
            "gradient_accumulation_steps": 2.0,
            "num_epochs": 1,
            "learning_rate": 0.0002,
            "lr_scheduler": "cosine",
            "warmup_ratio": 0.1,
            "bf16": "auto",
            "tiny_recipe": {"steps": 10.0},
        },
    )
    assert (config.lora_r, config.sequence_len, config.tiny_recipe.steps) == (8, 256, 10)


def test_every_error_is_reported_at_once() -> None:
    with pytest.raises(FlywheelError) as caught:
        bind(FinetuneConfig, {"adapter": "qlora", "lora_rr": 8, "tiny_recipe": {"hidden_size": 60}})
    message = str(caught.value)
    assert "adapter" in message
    assert "lora_rr: unknown key; did you mean 'lora_r'?" in message
    assert "hidden_size 60 is not a multiple of 2 x heads (8)" in message


def test_adapter_needs_something_to_adapt() -> None:
    with pytest.raises(FlywheelError, match="name at least one module"):
        bind(FinetuneConfig, {"lora_target_linear": False})
