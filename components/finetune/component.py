"""KFP interface of finetune."""

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def finetune(
    config: dict,
    dataset: dsl.Input[dsl.Dataset],
    base: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Fine-tune the base model on the train split with TRL, as LoRA or of all weights, under torchrun.

    Args:
        config: The `finetune` section of the run config.
        dataset: Curated dataset with a train split, and a validation split for the validation loss.
        base: Base model.
        model: Out. Adapter or full weights, tokenizer, chat template and flywheel.json.
        report: Out. Loss curve, numbers and recipe.
        metrics: Out. Losses, steps, speed, examples used and left out.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.settings import Settings
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.finetune.config import FinetuneConfig
    from llm_flywheel.components.finetune.finetune import run

    with step("finetune") as record:
        bound = bind(FinetuneConfig, config, where="finetune")
        numbers = run(
            bound, Path(dataset.path), Path(base.path), Path(model.path), Path(report.path), Settings.from_env()
        )
        for name, value in numbers.items():
            metrics.log_metric(name, value)
        model.metadata.update({"kind": "adapter" if bound.adapter else "full", "seed": bound.seed})
        shown = ("steps", "final_loss", "validation_loss")
        record.summary.update({name: round(numbers[name], 4) for name in shown if name in numbers})
        record.report(report.path)
