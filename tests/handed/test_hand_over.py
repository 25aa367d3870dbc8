"""A module of torch that is handed over: what is found in it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from pytest_circuits import Kind, Site, SiteAt, hand_over
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.errors import ModelError
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.open import load_model
from pytest_circuits.model.protocol import Model, Overlapping
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.prune.plan import Method, PrunePlan
from pytest_circuits.prune.search import find_circuits
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.spec.load import parse_spec
from tests.handed.tiny import CIRCUIT, HEADS, PAIR, SITES, WIDTH, Tiny, Words, build
from tests.huggingface.families import make, words, zero
from tests.huggingface.side import WORDS, reference_text, spec

PATH = Path("somewhere")


def handed(
    module: Any = None,  # noqa: ANN401  (whatever it is)
    **changes: object,
) -> Model:
    said: dict[str, Any] = {
        "path": PATH,
        "tokenizer": Words(),
        "sites": SITES,
        "max_tokens": 35,
    } | changes
    model: Model = hand_over(build() if module is None else module, **said)
    return model


def test_sites_are_where_their_owner_says_in_the_order_of_a_forward() -> None:
    model = handed()
    assert list(model.sites) == [
        *(f"{n}.{point}" for n in (0, 1) for point in ("resid", "attn.head", "mlp.neuron")),
        "final_resid",
    ]
    assert model.sites["1.attn.head"] == Site(HEADS, Kind.HEAD, 1, "attn.head", channels=2)
    assert model.sites["final_resid"] == Site(WIDTH, Kind.RESIDUAL, None, "final_resid")
    assert (model.max_tokens, model.vocab_size) == (32, len(WORDS))
    assert isinstance(model, Overlapping)
    assert list(model.among(["attn.head"]).sites) == ["0.attn.head", "1.attn.head"]
    assert model.encode("left w0 now") == [WORDS.index(word) for word in ("left", "w0", "now")]
    assert model.decode_token(3) == " L"


def test_a_hook_replaces_what_is_read_there() -> None:
    module = build()
    model = handed(module)
    tokens = torch.tensor([model.encode("left w0 now")])
    weight = module.blocks[1].attention.out.weight
    found = model.run(tokens, zero("1.attn.head", slice(22, 24)), at=torch.tensor([2]))
    with torch.no_grad():
        weight[:, 22:24] = 0
    assert torch.allclose(found, module(tokens)[:, 2], atol=1e-6)
    seen: dict[str, Tensor] = {}
    model.visit(tokens, seen.setdefault)
    assert list(seen) == list(model.sites)


def test_attention_and_scales_are_seen_where_they_are_asked_for() -> None:
    model = handed()
    tokens = torch.tensor([model.encode("left w0 now")])
    seen: dict[str, Tensor] = {}
    model.run(tokens, seen.setdefault, gauges=("1.attn.pattern", "final_scale"))
    assert set(seen) == {*model.sites, "1.attn.pattern", "final_scale"}
    pattern, scale = seen["1.attn.pattern"], seen["final_scale"]
    assert pattern.shape == (1, HEADS, 3, 3)
    assert torch.allclose(pattern.sum(-1), torch.ones(1, HEADS, 3))
    assert pattern[0, PAIR[1], 2, 2] > 0.9  # `now` looks at itself
    size = seen["final_resid"].square().mean(-1, keepdim=True)
    assert torch.allclose(scale, (size + 1e-6).rsqrt())
    plain = model.run(tokens)
    twice = model.run(
        tokens, lambda n, x: 2 * x if n == "final_scale" else x, gauges=["final_scale"]
    )
    assert torch.allclose(twice, 2 * plain, atol=1e-5)


def test_the_digest_is_of_weights_buffers_tokenizer_and_sites() -> None:
    class Other(Words):
        def decode(self, ids: list[int]) -> str:
            return super().decode(ids).upper()

    buffered = build()
    buffered.register_buffer("table", torch.ones(2))
    without = {name: at for name, at in SITES.items() if name != "resid"}
    bare = build()
    bare.unknown = torch.ones(2)  # which nobody has registered
    listed, doubled, mapped = build(), build(), build()
    listed.unknown = [torch.ones(2), (torch.zeros(1),)]
    doubled.unknown = [torch.ones(2), (torch.zeros(1) + 1,)]
    mapped.unknown = {"a": torch.ones(2)}
    scaled = build()
    scaled.last.eps = 1e-3
    digests = [
        handed(build()).digest,
        handed(bare).digest,
        *(handed(each).digest for each in (listed, doubled, mapped, scaled)),
        handed(build(seed=1)).digest,
        handed(buffered).digest,
        handed(tokenizer=Other()).digest,
        handed(sites=without).digest,
    ]
    assert len(set(digests)) == len(digests)
    assert handed(build()).digest == digests[0]


def test_any_form_of_a_tokenizer_gives_the_same_tokens(tmp_path: Path) -> None:
    words(tmp_path, list(WORDS))
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))  # noqa: S106
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    forms: list[object] = [tmp_path, tmp_path / "tokenizer.json", str(tmp_path), backend, Words()]
    found = [handed(tokenizer=form).encode("left w0 now") for form in forms]
    assert found == [found[0]] * len(forms)
    with_prefix = handed(tokenizer=tmp_path, prefix=[7])
    assert with_prefix.encode("left") == [7, 1]
    assert with_prefix.description.startswith("Tiny, 2 layers, vocabulary 26, ")


class Raising(Words):
    def encode(self, text: str) -> list[int]:
        raise KeyError(text)


class Strange(Words):
    def encode(self, text: str) -> list[int]:
        return [3, len(text), -1]


@pytest.mark.parametrize(
    ("tokenizer", "said"),
    [
        (Raising(), "gives no token ids for 'w0': its Raising.encode: KeyError: 'w0'"),
        (Strange(), "gives -1 for 'w0', and the model knows tokens 0 to 25 (Strange.encode)"),
    ],
)
def test_a_tokenizer_that_gives_no_tokens_of_the_model_is_named(
    tokenizer: object, said: str
) -> None:
    with pytest.raises(ModelError) as error:
        handed(tokenizer=tokenizer).encode("w0")
    assert said in str(error.value)


def test_a_reference_is_measured_on_text_or_lies_beside_the_model(tmp_path: Path) -> None:
    text = reference_text(tmp_path / "text")
    model = handed(path=tmp_path, text=text)
    reference = load_reference(model)
    assert reference.model_digest == model.digest
    assert reference.mean["0.attn.head"].shape == (WIDTH,)
    with pytest.raises(ModelError, match=r"has no reference\.safetensors"):
        load_reference(handed(path=tmp_path))


def test_an_adapter_may_hand_a_module_over_and_the_pruner_finds_its_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfMine:
        def recognises(self, path: Path) -> bool:
            return path == tmp_path

        def load(self, path: Path, *, device: torch.device) -> Model:
            return handed(build().to(device), path=path, text=reference_text(tmp_path / "text"))

    entry = SimpleNamespace(name="mine", value="mine:ADAPTER", load=OfMine)
    monkeypatch.setattr("pytest_circuits.model.open.entry_points", lambda **_: [entry])
    model = load_model(tmp_path)
    loaded = parse_spec(spec(), path=tmp_path / "side.circuit.yaml")
    plan = PrunePlan(method=Method.ATTRIBUTION, evaluation_pairs=16, rounds=1, controls=False)
    reference = load_reference(model)

    (found,) = find_circuits([Subject.of(loaded.spec, model, reference, plan)], reference, plan)

    assert not isinstance(found, NotFoundError)
    assert found.nodes == Nodes.of(CIRCUIT)


def test_a_decoder_of_transformers_needs_no_sites(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra: pip install 'pytest-circuits[hf]'")
    words(tmp_path, ["<unk>", *(f"w{i}" for i in range(1, 64))])
    module = make("llama")
    model = handed(module, tokenizer=tmp_path, sites=None, max_tokens=None)
    assert isinstance(model, HuggingFaceModel)
    assert {"0.attn.head", "1.mlp.neuron", "0.attn.kv", "final_resid"} <= model.sites.keys()
    other = make("llama", num_key_value_heads=2, rope_theta=9.0)  # the same weights
    assert handed(other, tokenizer=tmp_path, sites=None, max_tokens=None).digest != model.digest
    with pytest.raises(ModelError, match=r"computes in bfloat16 .*call \.float\(\)"):
        handed(module.bfloat16(), tokenizer=tmp_path, sites=None, max_tokens=None)


class Noisy(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + torch.rand(1)


class Counting(Tiny):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(tokens)


class Remembering(Tiny):
    calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(tokens) * self.calls


class Keeping(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, tokens: Tensor) -> Tensor:
        self.kept.append(tokens)
        return super().forward(tokens)


class Bidirectional(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.embed(tokens).mean(dim=(1, 2), keepdim=True)
        return super().forward(tokens) + x


class Mixing(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.embed(tokens)[:, :1].mean() * len(tokens)
        return super().forward(tokens) + x


class Twice(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        super().forward(tokens)
        return super().forward(tokens)


class Short(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens)[:, -1]


class Failing(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        raise KeyError(tokens.shape)


class Bounded(Tiny):
    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] > 16:
            raise IndexError("only 16 positions")
        return super().forward(tokens)


def of_kind(kind: type[Tiny]) -> Tiny:
    module = kind().eval()
    module.load_state_dict(build().state_dict())
    return module


def dropping() -> object:
    module = build()
    module.blocks[1].drop.train()
    return module


class Packed(Tiny):
    def get_extra_state(self) -> Tensor:
        return torch.ones(2)

    def set_extra_state(self, state: Tensor) -> None:
        """It holds no more."""


def packed() -> object:
    return Packed().eval()


def subclassed() -> object:
    class Int8Tensor(Tensor):
        pass

    module = build()
    module.register_buffer("scales", torch.ones(3).as_subclass(Int8Tensor))
    return module


def with_adapter() -> object:
    module = build()
    module.peft_config = {}
    return module


def unfinished() -> object:
    module = build()
    with torch.no_grad():
        module.embed.weight[3, 3] = torch.nan
    return module


@pytest.mark.parametrize(
    ("make_it", "said"),
    [
        (lambda: build().train(), "is in train mode (Tiny); call .eval() on it"),
        (dropping, "drops out at random: blocks.1.drop of it is in train mode; call .eval()"),
        (lambda: of_kind(Noisy), "gives other logits for the same tokens when it runs a second"),
        (lambda: of_kind(Counting), "changes 'calls' whenever it runs"),
        (lambda: of_kind(Remembering), "gives other logits for the same tokens"),
        (lambda: of_kind(Keeping), "changes 'kept.1' whenever it runs"),
        (lambda: of_kind(Bidirectional), "padding on the right changes nothing, and here it is"),
        (lambda: of_kind(Mixing), "a row of a batch is what it is alone, and here it is off by"),
        (lambda: of_kind(Twice), "a forward comes there 2 times, and may once"),
        (lambda: of_kind(Short), "should give logits [rows, tokens, vocabulary] of token ids"),
        (lambda: of_kind(Failing), "its forward raised KeyError: torch.Size([1, 1]) (test_hand_"),
        (lambda: of_kind(Bounded), "its forward raised IndexError: only 16 positions"),
        (lambda: build().double(), "computes in float64 (embed.weight); call .float() on it"),
        (unfinished, "holds NaN or infinity in 'embed.weight'"),
        (packed, "keeps '_extra_state' neither as a parameter nor as a buffer"),
        (subclassed, "holds 'scales' as a Int8Tensor: packed weights are evaluated as"),
        (lambda: 7, "int is no torch.nn.Module"),
    ],
)
def test_a_module_that_cannot_be_gated_is_refused_in_words(
    make_it: Callable[[], object], said: str
) -> None:
    with pytest.raises(ModelError) as error:
        handed(make_it())
    assert str(error.value).startswith(f"{PATH}: ")
    assert said in str(error.value)


def test_an_adapter_that_is_not_merged_is_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"hand over what merge_and_unload\(\) gives"):
        handed(with_adapter(), sites=None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sites": None}, "Tiny is no decoder of transformers, whose sites could be found; say"),
        ({"sites": {}}, "sites: none is named"),
        (
            {"sites": {"a": SiteAt("blocks.{layer}.attn", "head")}},
            "no part 'blocks.0.attn'; it has",
        ),
        (
            {"sites": {"a": SiteAt("embed", "heads")}},
            "sites: 'a': no kind 'heads'; known: residual",
        ),
        (
            {"sites": {"a": SiteAt("blocks.{layer}.down", "head", nodes=5)}},
            "sites: '0.a': 12 channels cannot be 5 nodes",
        ),
        (
            {"sites": {"a": SiteAt("embed", "residual")}},
            "sites: 'a': expected an activation [rows, tokens, channels], got [2, 6]",
        ),
        ({"sites": {"a": SiteAt("spare", "neuron")}}, "sites: 'a': a forward never comes there"),
        (
            {"sites": {"a": SiteAt("idle", "neuron")}},
            "sites: 'a': nothing reads what is there: all of it at zero changes no logit",
        ),
        (
            {"sites": SITES | {"p": SiteAt("last", "pattern")}},
            "sites: 'p': expected attention [rows, heads, tokens, tokens], got [2, 6, 32]",
        ),
        (
            {"sites": SITES | {"p": SiteAt("blocks.{layer}.attention.look", "pattern")}},
            "a row of 0.p is a share of attention, at most 1, and here it is off by",
        ),
        (
            {"sites": SITES | {"s": SiteAt("unembed", "scale")}},
            "sites: 's': a Linear is no norm whose scale is known: LayerNorm or RMSNorm",
        ),
        (
            {"sites": {"p": SITES["attn.pattern"]}},
            "sites: none is named, at which nodes could live",
        ),
        ({"max_tokens": None}, "max_tokens, the longest prompt, has to be said"),
        ({"max_tokens": 7}, "be at least 8"),
        ({"prefix": [len(WORDS)]}, "prefix: [26] are not token ids, whole numbers below 26"),
        ({"prefix": ["a"]}, "prefix: ['a'] are not token ids"),
        ({"tokenizer": 7}, "int is no tokenizer; hand over a tokenizer.json"),
    ],
)
def test_what_is_said_of_a_module_has_to_be_true(changes: dict[str, object], said: str) -> None:
    module = build()
    module.spare, module.idle = nn.Linear(2, 2), nn.Linear(WIDTH, 2)
    module.eval().embed.register_forward_hook(lambda _module, _inputs, y: [module.idle(y)].clear())
    with pytest.raises(ModelError) as error:
        handed(module, **changes)
    assert said in str(error.value)
