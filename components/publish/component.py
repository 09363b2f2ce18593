"""KFP interface of ``publish``."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def publish(
    config: dict,
    model: dsl.Input[dsl.Model],
    base: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    tuned_results: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    card: dsl.Output[dsl.Markdown],
) -> NamedTuple("Published", [("name", str), ("version", str), ("uri", str), ("base_uri", str)]):
    """Store the model in object storage and register it in MLflow as ``challenger``.

    Args:
        config: The ``publish`` section of the run config.
        model: Adapter or full weights with ``flywheel.json``.
        base: Base model artifact.
        dataset: Curated dataset, for lineage and the card.
        tuned_results: Evaluation of the model.
        decision: The gate's decision; one that did not pass is refused.
        card: Out. The model card.

    Returns:
        name and version in the registry, and the URIs of the model and of its base.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.settings import Settings
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.publish.config import PublishConfig
    from llm_flywheel.components.publish.publish import run

    with step("publish") as record:
        result = run(
            bind(PublishConfig, config, where="publish"),
            Path(model.path),
            Path(base.path),
            Path(dataset.path),
            Path(tuned_results.path),
            Path(decision.path),
            Path(card.path),
            Settings.from_env(),
        )
        record.summary.update({"model": f"{result.name} v{result.version}", "uri": result.uri})
        record.report(card.path)
    return (result.name, result.version, result.uri, result.base_uri)
