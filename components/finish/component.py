"""KFP exit handler: the last word on a run, whether it succeeded or failed."""

from kfp import dsl

from llm_flywheel.components.common.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def finish(pipeline: str, status: dsl.PipelineTaskFinalStatus):
    """Record how the run ended in the audit log.

    Args:
        pipeline: Name of the pipeline or of its configuration.
        status: Filled in by KFP: the state and the error of the steps before.
    """
    from llm_flywheel.components.common.settings import Settings
    from llm_flywheel.components.common.step import step
    from llm_flywheel.serving.ledger.ledger import Ledger

    with step("finish") as record:
        settings = Settings.from_env()
        run_id = settings.run_id or status.pipeline_job_resource_name
        details = {"state": status.state, "error": (status.error_message or "")[:500], "run_id": run_id}
        with Ledger.open(settings.ledger_url) as ledger:
            ledger.append_audit(settings.actor, "run.finished", pipeline, details)
        record.summary["state"] = status.state
