"""Configuration of gate."""

from pydantic import Field

from llm_flywheel.components.common.config import Section


class GateConfig(Section):
    """What the tuned model must reach before anything is published."""

    metric: str = Field("exact_match", min_length=1, description="Metric of evaluate: exact_match or mc_accuracy.")
    min_gain: float = Field(0.05, description="Smallest gain of the tuned model over the base, in the metric's unit.")
    min_value: float | None = Field(None, description="Smallest value of the tuned model; none by default.")
