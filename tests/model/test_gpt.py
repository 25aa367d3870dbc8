"""The model against a straight reading of its definition."""

from __future__ import annotations

import math

import pytest
import torch

from pytest_circuits.circuit.masks import given, mixing
from pytest_circuits.model.protocol import Carry, Ends, Hook, Wire
from pytest_circuits.model.sparse.adapter import sites
from pytest_circuits.model.sparse.config import ModelConfig
from pytest_circuits.model.sparse.gpt import Access, SparseGPT
from pytest_circuits.model.sparse.selection import abs_top_k

CONFIG = ModelConfig(
    vocab_size=40, n_layer=2, d_model=32, d_head=8, d_mlp=64, max_tokens=16, activation="relu"
)


WIDTHS = {name: site.width for name, site in sites(CONFIG).items()}


def _model(config: ModelConfig = CONFIG) -> SparseGPT:
    generator = torch.Generator().manual_seed(0)
    model = SparseGPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.requires_grad_(requires_grad=False).eval()


def _tokens(rows: int, length: int, *, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(CONFIG.vocab_size, (rows, length), generator=generator)


def _top_k_by_sorting(row: list[float], k: int) -> list[float]:
    smallest = sorted((abs(x) for x in row), reverse=True)[k - 1]
    return [x if abs(x) >= smallest else 0.0 for x in row]


def test_abs_top_k_keeps_the_largest_magnitudes_unchanged() -> None:
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    kept = abs_top_k(x, 0.25)
    expected = torch.tensor([_top_k_by_sorting(row, 5) for row in x.tolist()])
    assert torch.equal(kept, expected)


def test_abs_top_k_passes_gradients_to_the_kept_entries_alone() -> None:
    x = torch.tensor([[3.0, -1.0, 0.5, -4.0]], requires_grad=True)
    abs_top_k(x, 0.5).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("graded", [True, False], ids=["with gradients", "without"])
def test_logits_are_those_of_the_definition_written_out_for_one_row(*, graded: bool) -> None:
    model = _model()
    row = _tokens(1, 7)[0]
    resid = model.embed.weight[row]
    share = CONFIG.activation_share
    for attn, mlp in model.layers():
        x = abs_top_k(attn.norm(resid), share)
        q, k, v = (abs_top_k(lin(x), share).view(7, 4, 8) for lin in (attn.q, attn.k, attn.v))
        mixed = torch.zeros(7, 4, 8)
        for head in range(4):
            for to in range(7):
                scores = [float(q[to, head] @ k[at, head]) / math.sqrt(8) for at in range(to + 1)]
                assert attn.sink is not None
                total = math.exp(float(attn.sink[head])) + sum(map(math.exp, scores))
                for at, score in enumerate(scores):
                    mixed[to, head] += math.exp(score) / total * v[at, head]
        resid = resid + abs_top_k(attn.out(mixed.flatten(1)), share)
        hidden = abs_top_k(torch.relu(mlp.up(abs_top_k(mlp.norm(resid), share))), share)
        resid = resid + abs_top_k(mlp.down(hidden), share)
    assert model.bigram is not None
    expected = model.unembed(model.norm(resid)) + model.bigram[row]
    with torch.set_grad_enabled(graded):
        torch.testing.assert_close(model(row[None])[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("circuits", [1, 5])
def test_with_every_node_kept_logits_are_bit_for_bit_those_of_the_plain_forward(
    circuits: int,
) -> None:
    model, tokens = _model(), _tokens(6, 9)
    keep = {h: torch.ones(circuits, 1, 1, w, dtype=torch.bool) for h, w in WIDTHS.items()}
    fill = {h: torch.full((w,), 7.0) for h, w in WIDTHS.items()}
    rows, hook = tokens.repeat(circuits, 1), mixing(circuits, given(keep), given(fill))
    assert torch.equal(model(rows, Access(hook)), model(rows))


def test_every_hook_point_is_met_once_in_order_and_changes_the_logits() -> None:
    model, tokens = _model(), _tokens(2, 5)
    met: list[str] = []

    def note(name: str, x: torch.Tensor) -> torch.Tensor:
        met.append(name)
        return x

    plain = model(tokens, Access(note))
    assert met == list(WIDTHS)
    for hook in met:

        def shift(name: str, x: torch.Tensor, moved: str = hook) -> torch.Tensor:
            return x + 1 if name == moved else x

        assert not torch.equal(model(tokens, Access(shift)), plain), hook


def test_every_linear_map_between_hook_points_is_met_once_in_order() -> None:
    model, tokens = _model(), _tokens(2, 5)
    met: list[Ends] = []

    def note(ends: Ends, x: torch.Tensor, carry: Carry, wire: Wire) -> torch.Tensor:
        assert x.shape[-1] == WIDTHS[ends[0]]
        met.append(ends)
        return wire.map(carry(x))

    assert torch.equal(model(tokens, Access(join=note)), model(tokens))
    inner = [
        *(("attn.act_in", point) for point in ("attn.q", "attn.k", "attn.v")),
        ("attn.v", "attn.resid_delta"),
        ("mlp.act_in", "mlp.post_act"),
        ("mlp.post_act", "mlp.resid_delta"),
    ]
    assert met == [(f"{layer}.{a}", f"{layer}.{b}") for layer in range(2) for a, b in inner]


def test_what_a_map_gives_can_be_replaced_before_abs_top_k() -> None:
    model, tokens = _model(), _tokens(2, 5)
    found: dict[str, torch.Tensor] = {}

    def hook(name: str, x: torch.Tensor) -> torch.Tensor:
        found[name] = x
        return x

    def join(ends: Ends, x: torch.Tensor, carry: Carry, wire: Wire) -> torch.Tensor:
        y = wire.map(carry(x))
        return torch.arange(64.0).sub(50).expand_as(y) if ends[1] == "1.mlp.post_act" else y

    model(tokens, Access(hook, join))
    given = torch.relu(torch.arange(64.0) - 50)
    expected = abs_top_k(given, CONFIG.activation_share)
    assert torch.equal(found["1.mlp.post_act"], expected.expand(2, 5, -1))


def _gauges(model: SparseGPT, tokens: torch.Tensor, hook: Hook, **asked: int) -> torch.Tensor:
    names = frozenset({"0.attn.scale", "0.attn.pattern", "1.attn.pattern", "final_scale"})
    at = torch.full((len(tokens),), asked["at"]) if asked else None
    logits: torch.Tensor = model(tokens, Access(hook, gauges=names), at=at)
    return logits


@pytest.mark.parametrize("asked", [{}, {"at": 3}])
def test_gauges_are_seen_where_they_are_asked_for_and_change_nothing(asked: dict[str, int]) -> None:
    model, tokens = _model(), _tokens(3, 6)
    found: dict[str, torch.Tensor] = {}

    def note(name: str, x: torch.Tensor) -> torch.Tensor:
        found[name] = x
        return x

    seen = _gauges(model, tokens, note, **asked)

    plain = model(tokens)[:, 3] if asked else model(tokens)
    torch.testing.assert_close(seen, plain, rtol=1e-5, atol=1e-5)
    assert found["0.attn.pattern"].shape == (3, 4, 6, 6)
    assert found["1.attn.pattern"].shape == (3, 4, 1 if asked else 6, 6)
    whole = found["0.attn.pattern"]
    assert (whole.sum(-1) < 1).all(), "a sink takes its share"
    assert torch.equal(whole, whole.tril()), "nothing is seen before it is there"
    resid = model.embed(tokens)
    scale = (resid.square().mean(-1, keepdim=True) + 1e-7).rsqrt()
    torch.testing.assert_close(found["0.attn.scale"], scale, rtol=1e-4, atol=1e-4)
    assert "0.mlp.scale" not in found


def test_what_a_gauge_holds_can_be_replaced() -> None:
    model, tokens = _model(), _tokens(3, 6)

    def nowhere(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x) if name.endswith("pattern") else x

    def silent(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x) if name.endswith(".v") else x

    unseen = _gauges(model, tokens, nowhere)
    torch.testing.assert_close(unseen, model(tokens, Access(silent)), rtol=1e-5, atol=1e-5)

    def dark(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x) if name == "final_scale" else x

    assert model.bigram is not None
    expected = model.unembed.bias + model.bigram[tokens]
    torch.testing.assert_close(_gauges(model, tokens, dark), expected)


@pytest.mark.parametrize("pad", [0, 39])
def test_right_padding_changes_nothing(pad: int) -> None:
    model, tokens = _model(), _tokens(4, 6)
    last = torch.full((4,), 5)
    padded = torch.cat([tokens, torch.full((4, 5), pad)], dim=1)
    torch.testing.assert_close(model(padded, at=last), model(tokens, at=last), rtol=0, atol=1e-5)
    assert torch.equal(
        model(padded, at=last),
        model(torch.cat([tokens, torch.full((4, 5), 17)], dim=1), at=last),
    )


def test_logits_at_one_token_are_those_of_the_full_forward() -> None:
    model, tokens = _model(), _tokens(4, 6)
    at = torch.tensor([0, 2, 5, 3])
    torch.testing.assert_close(model(tokens, at=at), model(tokens)[torch.arange(4), at])


def test_a_model_without_sinks_and_bigram_has_no_such_parameters() -> None:
    bare = SparseGPT(CONFIG.model_copy(update={"sinks": False, "bigram": False}))
    names = set(bare.state_dict())
    assert not any("sink" in name or "bigram" in name for name in names)
    assert bare(_tokens(1, 4)).shape == (1, 4, CONFIG.vocab_size)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    model, tokens = _model(), _tokens(4, 6)
    on_cpu = model(tokens)
    on_gpu = model.cuda()(tokens.cuda()).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-3)
