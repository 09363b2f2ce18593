"""The training program, started by torchrun on every rank: ``python -m …finetune.train --config JOB``.

JOB is the path of a JSON file, or the JSON itself (see `Job`). Standard output carries one JSON object per
progress line (``step``, ``max_steps``, ``pct``, ``loss``, ``lr``, ``tok_s``, ``eta_s``), ``eval_loss`` lines, and
at the end ``done`` or ``error`` with ``reason``. Everything else goes to standard error.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from llm_flywheel.components.common.config import Section, bind
from llm_flywheel.components.common.dataset import read_table
from llm_flywheel.components.common.errors import FlywheelError, first_line
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.finetune.examples import build_examples


class Job(Section):
    """What one training run needs to know."""

    config: FinetuneConfig = Field(description="The finetune section.")
    base: str = Field(description="Folder or Hub id of the base model; for `node` a URI, too.")
    dataset: str = Field(description="Curated dataset folder; for `node` a URI.")
    output: str = Field(description="Folder for the adapter or the weights; for `node` a URI.")


def run_job(work: Callable[[Job], int]) -> int:
    """Read the job of the command line and do it; 1, and an event, when a person can act on the failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    text = parser.parse_args().config
    try:
        values = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
        return work(bind(Job, values, where="job"))
    except FlywheelError as error:
        say({"error": str(error), "reason": error.reason})
        return 1


def say(event: Mapping[str, Any]) -> None:
    """Print one event line."""
    print(json.dumps(event), flush=True)


def train(job: Job) -> int:
    """Fine-tune and save; only rank 0 writes and talks. Returns 0.

    Raises:
        FlywheelError: There is nothing to train on, the base model cannot be loaded, or the loss is not finite.
    """
    import transformers
    from datasets import disable_progress_bars
    from trl import SFTTrainer

    disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(job.config.seed)
    args = _arguments(job)  # joins the process group: rank and world size are known from here on
    tokenizer, model = _load(job)
    splits = {name: _examples(job, name, tokenizer, args.process_index) for name in ("train", "validation")}
    if not splits["train"]:
        raise FlywheelError("no example is left to train on", where=f"{job.dataset}/train.parquet", reason="no_data")
    evaluate = bool(splits["validation"]) and job.config.evals_per_epoch > 0
    if evaluate:
        per_step = job.config.micro_batch_size * job.config.gradient_accumulation_steps * args.world_size
        steps_per_epoch = math.ceil(len(splits["train"]) / per_step)
        args.eval_strategy = transformers.IntervalStrategy.STEPS
        args.eval_steps = max(1, steps_per_epoch // job.config.evals_per_epoch)
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=_table(splits["train"]),
        eval_dataset=_table(splits["validation"]) if evaluate else None,
        processing_class=tokenizer,
        peft_config=_adapter(job.config),
    )
    reporter = _reporter()
    trainer.add_callback(reporter)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.remove_callback(transformers.trainer_callback.ProgressCallback)
    outcome = trainer.train()
    trainer.save_model(job.output)
    if trainer.is_world_process_zero():
        tokenizer.save_pretrained(job.output)
        tokens = int(trainer.state.num_input_tokens_seen) or reporter.tokens
        say({"done": True, "steps": trainer.state.global_step, "train_loss": outcome.training_loss, "tokens": tokens})
    return 0


def _load(job: Job) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(job.base)
        model = AutoModelForCausalLM.from_pretrained(job.base, attention_dropout=job.config.attention_dropout)
    except (OSError, ValueError) as error:
        raise FlywheelError(
            f"the base model cannot be loaded: {first_line(error)}", where=job.base, reason="base_model"
        ) from None
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model


def _examples(job: Job, split: str, tokenizer: Any, rank: int) -> list[dict[str, list[int]]]:
    path = Path(job.dataset) / f"{split}.parquet"
    if split == "validation" and not path.exists():
        return []
    examples = build_examples(read_table(path)["messages"].to_pylist(), tokenizer, job.config.sequence_len)
    if rank == 0:
        say({"split": split, "examples": len(examples.rows), "tokens": examples.tokens, "dropped": examples.dropped})
    return examples.rows


def _table(rows: list[dict[str, list[int]]]) -> Any:
    import pyarrow as pa
    from datasets import Dataset

    # Without a fingerprint all rows are hashed for a cache that is not used, and hashing fails for packages that are
    # on PYTHONPATH and not under sys.prefix (dill).
    return Dataset(pa.Table.from_pylist(rows), fingerprint="examples")


def _adapter(config: FinetuneConfig) -> Any:
    if not config.adapter:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules="all-linear" if config.lora_target_linear else config.lora_target_modules,
        task_type="CAUSAL_LM",
    )


def _arguments(job: Job) -> Any:
    import torch
    from trl import SFTConfig

    config, cpu = job.config, not torch.cuda.is_available()
    return SFTConfig(
        output_dir=f"{job.output}.work",
        use_cpu=cpu,
        ddp_backend="gloo" if cpu else None,
        bf16=_bf16(config, cpu),
        gradient_checkpointing=config.gradient_checkpointing,
        per_device_train_batch_size=config.micro_batch_size,
        per_device_eval_batch_size=4 * config.micro_batch_size,
        ddp_find_unused_parameters=False,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        num_train_epochs=config.num_epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup_ratio,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        label_smoothing_factor=config.label_smoothing,
        train_sampling_strategy="group_by_length" if config.group_by_length else "random",
        max_length=config.sequence_len,
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="no",
        logging_steps=config.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
        dataloader_pin_memory=not cpu,
    )


def _bf16(config: FinetuneConfig, cpu: bool) -> bool:
    if config.bf16 != "auto":
        return config.bf16
    import torch

    # On a CPU without these instructions bfloat16 is emulated, and slower than float32.
    return bool(torch.cpu._is_avx512_bf16_supported()) if cpu else bool(torch.cuda.is_bf16_supported())


def _reporter() -> Any:
    """A callback that prints progress and stops at a loss that is no number."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.started = 0.0
            self.tokens = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.started = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
            self.tokens = int(float(logs.get("num_tokens", logs.get("eval_num_tokens", self.tokens))))
            if "loss" in logs:
                loss = float(logs["loss"])
                if not math.isfinite(loss):
                    raise FlywheelError(
                        f"the loss became {loss} at step {state.global_step}",
                        where="finetune",
                        fix="lower finetune.learning_rate",
                        reason="loss_not_finite",
                    )
                if state.is_world_process_zero:
                    say(self.progress(state, loss, float(logs.get("learning_rate", 0.0))))
            elif "eval_loss" in logs and state.is_world_process_zero:
                say({"step": state.global_step, "eval_loss": float(logs["eval_loss"])})

        def progress(self, state: Any, loss: float, rate: float) -> dict[str, Any]:
            seconds = max(time.monotonic() - self.started, 1e-9)
            left = (state.max_steps - state.global_step) * seconds / max(1, state.global_step)
            return {
                "step": state.global_step,
                "max_steps": state.max_steps,
                "pct": round(100 * state.global_step / state.max_steps, 1),
                "loss": round(loss, 5),
                "lr": rate,
                "tok_s": round(self.tokens / seconds),
                "eta_s": round(left, 1),
            }

    return Reporter()


if __name__ == "__main__":
    sys.exit(run_job(train))
