"""Settings of the publish step."""

from pydantic import Field

from llm_flywheel.components.common.config import Section


class PublishConfig(Section):
    """The ``publish`` section of a run config."""

    model_name: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$",
        description="Registered and served model name; a DNS label of at most 40 characters.",
    )
    experiment: str = Field("llm-flywheel", min_length=1, max_length=200, description="MLflow experiment.")
    purpose: str = Field("", max_length=2000, description="What the model is for, in the model card.")
    limits: list[str] = Field([], max_length=50, description="What it must not be used for or is bad at.")
    contact: str = Field("", max_length=200, description="Who answers questions about the model.")
    license: str = Field("", max_length=200, description="Licence of the published weights.")
