"""Configuration of evaluate."""

from typing import Literal

from pydantic import Field

from llm_flywheel.components.common.config import Section


class EvaluateConfig(Section):
    """Questions of the held-out test split, put to a model through lm-eval."""

    tasks: tuple[Literal["generation", "multiple_choice"], ...] = Field(
        ("generation", "multiple_choice"),
        min_length=1,
        description="generation: greedy, exact match. multiple_choice: the true answer against other answers.",
    )
    limit: int | None = Field(None, ge=1, description="Questions to ask per task; all by default.")
    choices_limit: int | None = Field(None, ge=1, description="Questions to ask in multiple_choice, if fewer.")
    choices: int = Field(4, ge=2, le=26, description="Answers to choose from, the true one included.")
    max_new_tokens: int | None = Field(
        None, ge=1, description="Longest generated answer, tokens; by default the longest true answer and 4 more."
    )
    apply_chat_template: bool = Field(True, description="Ask through the model's chat template.")
    batch_size: int = Field(64, ge=1, description="Questions per forward pass.")
    max_length: int | None = Field(
        None, ge=32, description="Longest prompt and answer, tokens; the model's by default."
    )
    samples: int = Field(20, ge=0, description="Predictions to show in the report.")
    seed: int = Field(0, ge=0, description="Seed of the wrong answers and of the limited selection.")
