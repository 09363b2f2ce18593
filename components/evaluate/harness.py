"""The only module that touches lm-eval: one model class and one call."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from llm_flywheel.components.common.errors import FlywheelError, first_line
from llm_flywheel.components.evaluate.config import EvaluateConfig


class ChatModel(HFLM):  # type: ignore[misc]
    """lm-eval's Hugging Face model for tasks whose text is a JSON list of chat messages.

    lm-eval knows a single user turn; this keeps system messages and earlier turns of a conversation.
    """

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render the messages in the last turn with the model's template."""
        messages = json.loads(chat_history[-1]["content"])
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return text


def load_model(config: EvaluateConfig, pretrained: Path | str, adapter: Path | None) -> ChatModel:
    """Load a model for lm-eval.

    Args:
        config: Batch size and longest input.
        pretrained: Folder or Hub id of the base or full model.
        adapter: Folder of a LoRA adapter, or None.

    Raises:
        FlywheelError: There is no such model.
    """
    gpu = torch.cuda.is_available()
    try:
        return ChatModel(
            pretrained=str(pretrained),
            peft=str(adapter) if adapter else None,
            dtype="auto" if gpu else "float32",
            device="cuda" if gpu else "cpu",
            batch_size=config.batch_size,
            max_length=config.max_length,
        )
    except (OSError, ValueError) as error:
        raise FlywheelError(
            f"the model cannot be loaded: {first_line(error)}", where=str(pretrained), reason="model"
        ) from None


def measure(model: ChatModel, folder: Path, tasks: Sequence[str], config: EvaluateConfig) -> dict[str, list[Any]]:
    """Run the tasks in ``folder`` and return lm-eval's logged samples, in a fixed order."""
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    outcome = lm_eval.simple_evaluate(
        model=model,
        tasks=list(tasks),
        task_manager=manager,
        apply_chat_template=config.apply_chat_template,
        log_samples=True,
        bootstrap_iters=0,
        random_seed=config.seed,
        numpy_random_seed=config.seed,
        torch_random_seed=config.seed,
    )
    return {task: sorted(outcome["samples"][task], key=lambda row: int(row["doc_id"])) for task in tasks}
