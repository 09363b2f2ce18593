"""KFP interface of ``rollout``."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def rollout(
    config: dict,
    endpoint: str,
    name: str,
    version: str,
    dataset: dsl.Input[dsl.Dataset],
    evidence: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> NamedTuple("RolledOut", [("decision", str), ("reason", str)]):
    """Send real traffic through the split and promote, hold or roll back on evidence from both variants.

    Args:
        config: The ``rollout`` section.
        endpoint: Address of the gateway, from ``deploy``; empty if only manifests were written, and then nothing is
            rolled out.
        name: Registered model.
        version: Version that is the canary.
        dataset: Curated dataset; the questions of its test split are asked.
        evidence: JSON from which every decision can be recomputed (``flywheel rollout replay``).
        report: Page with e-values, weights, counts per variant and the decision in words.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.rollout.config import RolloutConfig
    from llm_flywheel.components.rollout.rollout import run
    from llm_flywheel.components.rollout.skipped import NOTHING_DEPLOYED, write_skipped

    with step("rollout") as record:
        if not endpoint:
            write_skipped(name, version, Path(evidence.path), Path(report.path))
            record.summary.update(decision="none", reason=NOTHING_DEPLOYED)
            return ("none", NOTHING_DEPLOYED)
        bound = bind(RolloutConfig, config, where="rollout")
        result = run(bound, endpoint, name, version, Path(dataset.path), Path(evidence.path), Path(report.path))
        record.summary.update(decision=result.outcome.decision, rule=result.outcome.rule, **result.requests)
        record.report(report.path)
        evidence.metadata.update({"decision": result.outcome.decision, "uri": result.evidence_uri})
        failure = result.failure(bound)
        if failure is not None:
            raise failure
    return (result.outcome.decision, result.outcome.reason)
