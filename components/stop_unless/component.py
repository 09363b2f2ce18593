"""KFP component that ends a pipeline red when a check did not pass."""

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def stop_unless(passed: bool, reason: str, check: str):
    """End the run with status failed unless a check passed.

    A check that only reports (a PII scan, a quality gate) finishes first, so that its report is kept; this step
    then stops everything after it.

    Args:
        passed: The verdict of the check.
        reason: Why, in the check's own words; shown to the user.
        check: Name of the check.
    """
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.stop_unless.stop import require

    with step(f"stop_unless_{check}") as record:
        record.summary["reason"] = reason
        require(passed, reason, check)
