"""KFP interface of base_model."""

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def base_model(config: dict, dataset: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]):
    """Provide the model that fine-tuning starts from.

    Args:
        config: The `finetune` section of the run config; `base_model` and `tiny_recipe` are read.
        dataset: Curated dataset; its train split is read only with `tiny_recipe.pretrain_on: dataset`.
        model: Out. Weights, tokenizer and chat template of the `tiny` recipe, or `flywheel.json` with a reference.
    """
    from pathlib import Path

    from llm_flywheel.components.base_model.resolve import make_base
    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.settings import Settings
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.finetune.access import require_access
    from llm_flywheel.components.finetune.config import FinetuneConfig

    with step("base_model") as record:
        bound = bind(FinetuneConfig, config, where="finetune")
        settings = Settings.from_env()
        require_access(Path(dataset.path), bound.max_level, settings)  # now, not after the minutes this takes
        lineage = make_base(bound.base_model, bound.tiny_recipe, Path(model.path), settings, Path(dataset.path))
        model.metadata.update({"base": lineage.get("base") or lineage["reference"]})
        record.summary["base"] = lineage.get("base") or lineage["reference"]
        if "training" in lineage:
            record.summary["parameters"] = lineage["training"]["parameters"]
