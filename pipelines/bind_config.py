"""First step of the pipeline: check the whole configuration before anything runs, and hand out its sections."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def bind_config(config: dict, data: list, holdout: list, base_model: str, model_name: str) -> NamedTuple(
    "Sections",
    [
        ("ingest", dict),
        ("scan_pii", dict),
        ("curate", dict),
        ("finetune", dict),
        ("evaluate", dict),
        ("gate", dict),
        ("publish", dict),
        ("deploy", dict),
        ("rollout", dict),
    ],
):
    """Check a run configuration and split it into one section per component.

    Args:
        config: The run configuration, as in ``pipelines/configs/*.yaml``.
        data: Paths or URIs of training data; replaces ``ingest.paths`` when not empty.
        holdout: Paths or URIs of held-out data; replaces ``ingest.holdout_paths`` when not empty.
        base_model: Replaces ``finetune.base_model`` when not empty.
        model_name: Replaces ``publish.model_name`` when not empty.

    Returns:
        Every section with its defaults filled in.
    """
    from llm_flywheel.components.common.step import step
    from llm_flywheel.pipelines.bind import require_addresses, sections

    with step("bind_config"):
        require_addresses()
        return sections(config, data=data, holdout=holdout, base_model=base_model, model_name=model_name)
