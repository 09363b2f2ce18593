"""KFP interface of evaluate."""

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def evaluate(
    config: dict,
    model: dsl.Input[dsl.Model],
    base: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    label: str,
    results: dsl.Output[dsl.Artifact],
    samples: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Ask a model the questions of the held-out test split, with lm-eval.

    Args:
        config: The `evaluate` section of the run config.
        model: Adapter, full weights, or (to measure the base) the base model itself.
        base: Base model, on which an adapter is loaded.
        dataset: Curated dataset with a test split.
        label: `base` or `tuned`.
        results: Out. One JSON file: label, model, metrics, settings.
        samples: Out. One JSON Lines file: each question, its answer, the prediction and the score.
        report: Out. Numbers and sample predictions.
        metrics: Out. exact_match, mc_accuracy, their standard errors and counts.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.evaluate.config import EvaluateConfig
    from llm_flywheel.components.evaluate.evaluate import run

    with step(f"evaluate-{label}") as record:
        document = run(
            bind(EvaluateConfig, config, where="evaluate"),
            Path(model.path),
            Path(base.path),
            Path(dataset.path),
            label,
            Path(results.path),
            Path(samples.path),
            Path(report.path),
        )
        for name, value in document["metrics"].items():
            metrics.log_metric(name, value)
        kept = ("exact_match", "mc_accuracy", "exact_match_n")
        record.summary.update({name: document["metrics"][name] for name in kept if name in document["metrics"]})
        record.report(report.path)
