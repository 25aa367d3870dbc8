"""The shape of a weight-sparse GPT: what `config.json` of a model directory holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pytest_circuits.spec.frozen import Frozen

Width = Annotated[int, Field(ge=1, le=65536)]
Layers = Annotated[int, Field(ge=1, le=256)]
Tokens = Annotated[int, Field(ge=2, le=1_000_000)]  # of a vocabulary, of a prompt
Share = Annotated[float, Field(gt=0, le=1)]
Positions = Literal["none", "added", "concatenated"]

# Where activations can be cut to their largest, by the names of the hook points without the layer;
# `resid` is the residual stream after a sublayer's addition, which is not a hook point.
ActivationPoint = Literal[
    "attn.act_in",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.resid_delta",
    "attn.resid",
    "mlp.act_in",
    "mlp.post_act",
    "mlp.resid_delta",
    "mlp.resid",
]
# The hook points of a layer, in forward order.
POINTS = {
    "attn": ("act_in", "q", "k", "v", "resid_delta"),
    "mlp": ("act_in", "post_act", "resid_delta"),
}
_LEFT_WHOLE = frozenset({"attn.resid", "mlp.resid"})  # unless `activation_shares` names them


class Architecture(Frozen):
    """All but the sizes (Gao et al. 2025, section 2.1 and appendix A.1)."""

    activation: Literal["gelu", "relu"] = "gelu"
    activation_share: Share = 0.25  # AbsTopK keeps this share at the eight hook points of a layer
    activation_shares: dict[ActivationPoint, Share] = Field({})  # another one here; 1 keeps all
    sinks: bool = True  # one learned logit a head that attends to nothing
    bigram: bool = True  # dense table from the current token to the next, added to the logits
    # Position embeddings: none, added to the token embeddings, or concatenated as read-only
    # channels to what a sublayer reads.
    positions: Positions = "none"
    d_positions: Annotated[int, Field(ge=0, le=65536)] = 0  # width of concatenated positions

    @model_validator(mode="after")
    def _concatenated_positions_have_a_width(self) -> Self:
        if (self.positions == "concatenated") != (self.d_positions > 0):
            raise ValueError(
                f"d_positions {self.d_positions} does not go with positions {self.positions!r}: "
                "concatenated positions need a width, and nothing else has one"
            )
        return self


class ModelConfig(Architecture):
    """One model: its architecture and its sizes."""

    architecture: Literal["sparse_gpt"] = "sparse_gpt"
    vocab_size: Tokens
    n_layer: Layers
    d_model: Width
    n_head: Width = 0  # where a file does not say: d_model / d_head
    d_head: Width
    d_mlp: Width
    max_tokens: Tokens  # longest prompt

    @model_validator(mode="before")
    @classmethod
    def _heads_fill_the_model(cls, values: Any) -> Any:  # noqa: ANN401  (whatever was given)
        if not isinstance(values, dict) or "n_head" in values:
            return values
        width, head = values.get("d_model"), values.get("d_head")
        if not isinstance(width, int) or not isinstance(head, int) or head < 1:
            return values
        if width % head:
            raise ValueError(f"d_model {width} is not a multiple of d_head {head}")
        return values | {"n_head": width // head}

    @model_serializer(mode="wrap")
    def _without_what_older_files_do_not_say(
        self, dump: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """Leave out what has its default, so that the digest of a model stays what it was."""
        values: dict[str, Any] = dump(self)
        defaults = {
            "n_head": self.d_model // self.d_head if self.d_model % self.d_head == 0 else 0,
            "activation_shares": {},
            "positions": "none",
            "d_positions": 0,
        }
        return {k: x for k, x in values.items() if k not in defaults or x != defaults[k]}

    @property
    def d_attn(self) -> int:
        """Channels of the queries, keys and values of a layer, of all its heads."""
        return self.n_head * self.d_head

    @property
    def d_in(self) -> int:
        """Channels that a sublayer reads: the residual stream's, and concatenated positions."""
        return self.d_model + self.d_positions

    def share_at(self, point: str) -> float:
        """Share of the activations that AbsTopK keeps at an `ActivationPoint`."""
        default = 1.0 if point in _LEFT_WHOLE else self.activation_share
        return self.activation_shares.get(cast("ActivationPoint", point), default)

    def width_at(self, point: str) -> int:
        """Channels of a hook point, by its name without layer and sublayer."""
        widths = {"act_in": self.d_in, "post_act": self.d_mlp, "resid_delta": self.d_model}
        return widths.get(point, self.d_attn)
