"""KFP interface of ``deploy``."""

from typing import NamedTuple

from kfp import dsl

from llm_flywheel.components.common.images import TRAINER


@dsl.component(base_image=TRAINER, install_kfp_package=False)
def deploy(
    config: dict,
    name: str,
    version: str,
    manifests: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.Markdown],
) -> NamedTuple("Deployed", [("endpoint", str)]):
    """Serve the champion as stable and a version as canary, behind one endpoint.

    Args:
        config: The ``deploy`` section of the run config.
        name: Registered model.
        version: Version that becomes the canary.
        manifests: Out. Folder with numbered YAML files to apply in order, checked against the CRDs.
        report: Out. Variants, smoke test, how to ask.

    Returns:
        endpoint: Base URL for OpenAI clients.
    """
    from pathlib import Path

    from llm_flywheel.components.common.config import bind
    from llm_flywheel.components.common.settings import Settings
    from llm_flywheel.components.common.step import step
    from llm_flywheel.components.deploy.config import DeployConfig
    from llm_flywheel.components.deploy.deploy import run

    with step("deploy") as record:
        result = run(
            bind(DeployConfig, config, where="deploy"),
            name,
            version,
            Path(manifests.path),
            Path(report.path),
            Settings.from_env(),
        )
        versions = {variant: model.version for variant, model in result.models.items()}
        record.summary.update({"endpoint": result.endpoint, **versions, "weights": dict(result.weights)})
        record.report(report.path)
        for path in result.manifests:
            record.report(path)
    return (result.endpoint,)
