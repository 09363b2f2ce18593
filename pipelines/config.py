"""The run configuration: one section per component, declared where the component is."""

from typing import Self

from pydantic import Field, model_validator

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

    @model_validator(mode="after")
    def _levels_of_the_data(self) -> Self:
        access = self.ingest.access
        named = {"finetune.max_level": self.finetune.max_level}
        if access.level:  # else masking gives the data no level either, and may follow any policy
            named["scan_pii.level"] = self.scan_pii.level
        wrong = [f"{key}: got {level!r}" for key, level in named.items() if level and level not in access.levels]
        if wrong:
            raise ValueError(f"{'; '.join(wrong)}; expected one of ingest.access.levels, {', '.join(access.levels)}")
        return self


SECTIONS = tuple(name for name in RunConfig.model_fields if name != "name")
