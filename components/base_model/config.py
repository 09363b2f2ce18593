"""Recipe of the `tiny` base model, part of the finetune section (`tiny_recipe`)."""

from typing import Literal

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section


class TinyRecipe(Section):
    """A Llama small enough to train from nothing on two CPU cores in about two minutes.

    With `pretrain_on: other_products` it learns English and Korean support questions about products that are not
    in the quick start's data. With `pretrain_on: dataset` it learns the language of the users' messages in the
    train split of the run's dataset, and never sees an answer, nor the validation or test split.
    """

    pretrain_on: Literal["other_products", "dataset"] = Field("other_products", description="Text to learn from.")
    rows: int = Field(7200, ge=64, description="Conversations to generate (other_products).")
    vocab_size: int = Field(2048, ge=300, le=65536, description="Tokens of the byte-level BPE.")
    lowercase: bool = Field(False, description="Fold upper case in the tokenizer; for short informal messages.")
    layers: int = Field(4, ge=1, le=64, description="Transformer blocks.")
    hidden_size: int = Field(256, ge=32, description="Width of the residual stream.")
    intermediate_size: int = Field(640, ge=32, description="Width of the MLP.")
    heads: int = Field(4, ge=1, description="Attention heads; vLLM wants 32, 64 or 128 channels per head.")
    max_positions: int = Field(512, ge=64, description="Longest prompt and answer together, in tokens.")
    steps: int = Field(450, ge=1, description="Optimizer steps.")
    batch_size: int = Field(32, ge=1, description="Conversations per step.")
    learning_rate: float = Field(3e-3, gt=0, le=0.1, description="Peak of the warm-up and cosine schedule.")
    weight_decay: float = Field(0.1, ge=0, le=1, description="AdamW decay of the matrices.")
    seed: int = Field(0, ge=0, description="Seed of weights, data and order.")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "TinyRecipe":
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 2 x heads ({2 * self.heads})")
        return self
