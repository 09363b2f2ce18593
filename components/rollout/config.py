"""Settings of the rollout step."""

from pydantic import Field

from llm_flywheel.components.common.config import Section
from llm_flywheel.serving.rollout.plan import RolloutPlan
from llm_flywheel.serving.rollout.traffic import TrafficConfig


class RolloutConfig(Section):
    """The ``rollout`` section of a run config."""

    plan: RolloutPlan = Field(default=RolloutPlan(), description="steps, limits, metrics and guards")
    traffic: TrafficConfig = Field(default=TrafficConfig(), description="the client that asks questions")
    fail_on_rollback: bool = Field(default=True, description="a rollback ends the step red, after everything is stored")
    fail_on_hold: bool = Field(default=True, description="so does a rollout that proved nothing")
