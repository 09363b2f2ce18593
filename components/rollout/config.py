"""Settings of the rollout step."""

from typing import Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section
from llm_flywheel.serving.rollout.plan import RolloutPlan
from llm_flywheel.serving.rollout.traffic import TrafficConfig

# Seconds from the end of a request to its usage row, at the latest.
_WRITTEN_S = 60.0


class RolloutConfig(Section):
    """The ``rollout`` section of a run config."""

    plan: RolloutPlan = Field(default=RolloutPlan(), description="steps, limits, metrics and guards")
    traffic: TrafficConfig = Field(default=TrafficConfig(), description="the client that asks questions")
    fail_on_rollback: bool = Field(default=True, description="a rollback ends the step red, after everything is stored")
    fail_on_hold: bool = Field(default=True, description="so does a rollout that proved nothing")

    @model_validator(mode="after")
    def _hanging_requests_count(self) -> Self:
        if not self.traffic.enabled:
            return self
        timeout, deadline, lookback = self.traffic.timeout_s, self.plan.deadline_seconds, self.plan.lookback_seconds
        if timeout < deadline + 1:
            raise ValueError(
                f"traffic.timeout_s ({timeout:g}) must be at least plan.deadline_seconds ({deadline:g}) + 1: "
                "a client that leaves before the deadline is not counted as an error"
            )
        if timeout > lookback - _WRITTEN_S:
            raise ValueError(
                f"traffic.timeout_s ({timeout:g}) must be at most {lookback - _WRITTEN_S:g} for plan.deadline_seconds "
                f"({deadline:g}): a look reads the last {lookback:g} s of requests, and later ones would be missed"
            )
        return self
