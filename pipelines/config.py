"""The run configuration: one section per component, declared where the component is."""

from pydantic import Field

from llm_flywheel.components.common.config import Section
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.deploy.config import DeployConfig
from llm_flywheel.components.evaluate.config import EvaluateConfig
from llm_flywheel.components.finetune.config import FinetuneConfig
from llm_flywheel.components.gate.config import GateConfig
from llm_flywheel.components.ingest.config import IngestConfig
from llm_flywheel.components.publish.config import PublishConfig
from llm_flywheel.components.rollout.config import RolloutConfig
from llm_flywheel.components.scan_pii.config import ScanPiiConfig


class RunConfig(Section):
    """One run of the flywheel.

    Attributes:
        name: What the run is called in reports, run ids and the audit log; a DNS label.
    """

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", description="a DNS label of at most 40 characters")
    ingest: IngestConfig
    scan_pii: ScanPiiConfig = ScanPiiConfig()
    curate: CurateConfig = CurateConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig
    deploy: DeployConfig = DeployConfig()
    rollout: RolloutConfig = RolloutConfig()


SECTIONS = tuple(name for name in RunConfig.model_fields if name != "name")
