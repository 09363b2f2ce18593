"""KFP interface of gate."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def gate(
    config: dict,
    base_results: dsl.Input[dsl.Artifact],
    tuned_results: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Gate", [("passed", bool), ("reason", str)]):
    """Decide whether the tuned model is enough better than the base to be published.

    Args:
        config: The `gate` section of the run config.
        base_results: Evaluation of the base model.
        tuned_results: Evaluation of the tuned model.
        decision: Out. JSON: passed, reason, numbers.
        report: Out. The same as a table.
        metrics: Out. base, tuned and gain.

    Returns:
        passed and reason; absent numbers do not pass, with the reason `no data`.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.gate.config import GateConfig
    from llm_flywheel.components.gate.decide import run

    with step("gate") as record:
        outcome = run(
            bind(GateConfig, config, where="gate"),
            Path(base_results.path),
            Path(tuned_results.path),
            Path(decision.path),
            Path(report.path),
        )
        for name in ("base", "tuned", "gain"):
            if outcome.numbers[name] is not None:
                metrics.log_metric(name, outcome.numbers[name])
                record.summary[name] = outcome.numbers[name]
        record.summary["gate"] = "passed" if outcome.passed else outcome.reason
        record.report(report.path)
    return (outcome.passed, outcome.reason)
