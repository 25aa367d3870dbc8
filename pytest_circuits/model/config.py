"""The shape of a weight-sparse GPT: what `config.json` of a model directory holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Width = Annotated[int, Field(ge=1, le=65536)]


class ModelConfig(BaseModel):
    """Architecture of Gao et al. 2025, section 2.1 and appendix A.1."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["sparse_gpt"] = "sparse_gpt"
    vocab_size: Annotated[int, Field(ge=2, le=1_000_000)]
    n_layer: Annotated[int, Field(ge=1, le=256)]
    d_model: Width
    d_head: Width
    d_mlp: Width
    max_tokens: Annotated[int, Field(ge=2, le=1_000_000)]  # longest prompt, in tokens
    activation: Literal["gelu", "relu"] = "gelu"
    activation_share: Annotated[float, Field(gt=0, le=1)] = 0.25  # AbsTopK keeps this share
    sinks: bool = True  # one learned logit a head that attends to nothing
    bigram: bool = True  # dense table from the current token to the next, added to the logits

    @model_validator(mode="after")
    def _heads_fill_the_model(self) -> ModelConfig:
        if self.d_model % self.d_head:
            raise ValueError(f"d_model {self.d_model} is not a multiple of d_head {self.d_head}")
        return self

    @property
    def n_head(self) -> int:
        """Attention heads of a layer."""
        return self.d_model // self.d_head

    @property
    def hook_points(self) -> dict[str, int]:
        """Width of every hook point, in the order in which a forward meets them."""
        widths: dict[str, int] = {}
        for layer in range(self.n_layer):
            widths |= {
                f"{layer}.attn.act_in": self.d_model,
                f"{layer}.attn.q": self.d_model,
                f"{layer}.attn.k": self.d_model,
                f"{layer}.attn.v": self.d_model,
                f"{layer}.attn.resid_delta": self.d_model,
                f"{layer}.mlp.act_in": self.d_model,
                f"{layer}.mlp.post_act": self.d_mlp,
                f"{layer}.mlp.resid_delta": self.d_model,
            }
        return widths | {"final_resid": self.d_model}
