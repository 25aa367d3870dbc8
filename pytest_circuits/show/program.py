"""A circuit as a short program: its compiled network, written out.

What is printed is what runs: every weight and constant is read from the compiled circuit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pytest_circuits.circuit.calibration import shift_of
from pytest_circuits.circuit.edges import Edges, edges_of, live_edges
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.nodes import Nodes
from pytest_circuits.circuit.view import Shift
from pytest_circuits.compile.compiled import CompiledCircuit, Step, compile_circuit
from pytest_circuits.compile.folded import Projection, Read
from pytest_circuits.compile.folded_sublayers import FoldedAttention, FoldedMlp
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.sparse.adapter import SparseModel
from pytest_circuits.prompts.space import Pair
from pytest_circuits.show.layout import aligned, listed, number, token, total, wrapped
from pytest_circuits.spec.ablations import Ablation, Given, first_constant
from pytest_circuits.spec.problems import quoted
from pytest_circuits.spec.types import Spec

_LEGEND = (
    "act_in[c] is resid[c] over the norm; seen v[c] is the mean of v[c] by attention. AbsTopK,",
    "which zeroes what is small beside other channels of its hook point, is not written out.",
)
_TOP = 4  # tokens shown of each channel that the embedding writes


def program(spec: Spec, model: SparseModel, reference: Reference, pair: Pair) -> str:
    """The program of a circuit, with the two prompts of a pair as examples."""
    nodes, edges = Nodes.of(spec.nodes), edges_of(spec)
    folded = first_constant(spec.ablations) or Ablation.MEAN
    compiled = compile_circuit(model, nodes, edges, folded.kind.fill(Given(reference)))
    joined = live_edges(nodes, model, edges)
    blocks = [
        [
            *wrapped(spec.description.split(), spec.circuit + ": " * bool(spec.description)),
            f"{nodes.count} nodes, {joined.count} edges. {spec.ablations[0].kind.of_rest}",
            *_LEGEND,
            *_calibration(spec),
        ],
        _embedding(model, compiled, pair),
        *(_sublayer(step, model, compiled, pair) for step in compiled.steps),
        _final(model, compiled, pair, shift_of(spec)),
        _idle(nodes, model, joined, compiled),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _calibration(spec: Spec) -> list[str]:
    shift, calibration = shift_of(spec), spec.calibration
    if shift is None or calibration is None:
        return []
    text = (
        f"Calibrated: {number(shift.nats)} nats are added for {token(shift.answer)}, and the task "
        f"loss takes the preference times {number(calibration.scale)}."
    )
    return wrapped(text.split(" "), "")


def _embedding(model: SparseModel, compiled: CompiledCircuit, pair: Pair) -> list[str]:
    """Which tokens write into the channels that are read: the cues first, then the strongest."""
    embed = model.module.embed.weight
    cues = _cues(model, pair)
    rows = []
    for channel in _read_channels(model, compiled):
        column = embed[:, channel]
        top = column.abs().topk(min(_TOP, len(column))).indices.tolist()
        found = [i for i in dict.fromkeys([*cues, *top]) if float(column[i])]
        items = [f"{token(model.decode_token(i))} {number(float(column[i]))}" for i in found]
        items += [
            f"then {name}"
            for name, _, made in _sublayers(compiled)
            if channel in made["resid_delta"].kept
        ]
        rows.append((f"resid[{channel}]", listed(items or ["nothing"])))
    if not rows:
        return []
    cue = f"the cue ({', '.join(token(model.decode_token(i)) for i in cues)}) where it writes, and "
    which = f"embedding: {cue * bool(cues)}the {_TOP} tokens that write most"
    return [*wrapped(which.split(" "), ""), *aligned(rows, indent=2)]


def _sublayers(compiled: CompiledCircuit) -> Iterator[tuple[str, Read, dict[str, Projection]]]:
    """The name of each sublayer that varies, what it reads, and the hook points that it makes."""
    for step in compiled.steps:
        match step.sublayer:
            case FoldedAttention(read=read, points=(q, k, v), out=out):
                yield step.name, read, {"q": q, "k": k, "v": v, "resid_delta": out}
            case FoldedMlp(read=read, up=up, down=down):
                yield step.name, read, {"post_act": up, "resid_delta": down}


def _read_channels(model: SparseModel, compiled: CompiledCircuit) -> list[int]:
    found = set(compiled.readout.kept)
    for _, read, made in _sublayers(compiled):
        *first, _ = made.values()
        found |= _reached(read, first)
    return sorted(c for c in found if c < model.config.d_model)


def _reached(inputs: Read, projections: Sequence[Projection]) -> set[int]:
    """The channels of a sublayer's input from which an edge leads on."""
    weights = torch.cat([projection.coefficients() for projection in projections], dim=1)
    edges = weights.any(dim=1).tolist()  # [S]
    return {channel for channel, leads in zip(inputs.kept, edges, strict=True) if leads}


def _cues(model: SparseModel, pair: Pair) -> list[int]:
    """Tokens that stand in one prompt of the pair and not in the other."""
    first, second = (model.encode(prompt.text) for prompt in (pair.first, pair.second))
    return [
        index
        for mine, other in ((first, second), (second, first))
        for index in dict.fromkeys(mine)
        if index not in other
    ]


def _sublayer(step: Step, model: SparseModel, compiled: CompiledCircuit, pair: Pair) -> list[str]:
    match step.sublayer:
        case FoldedAttention() as attn:
            return [step.name, *_attention(attn, step.name, model, compiled, pair)]
        case FoldedMlp() as mlp:
            return [step.name, *_mlp(mlp, model.config.activation)]
        case None:
            return []


def _attention(
    attn: FoldedAttention, name: str, model: SparseModel, compiled: CompiledCircuit, pair: Pair
) -> Iterator[str]:
    inputs = [f"act_in[{c}]" for c in attn.read.kept]
    prompts = [model.encode(prompt.text) for prompt in (pair.first, pair.second)]
    for index, head in enumerate(attn.heads):
        yield f"  head {head}"
        rows = [
            row
            for point, projection in zip("qkv", attn.points, strict=True)
            for channel, row in zip(
                projection.kept, _made_of(projection, point, inputs), strict=True
            )
            if channel // model.config.d_head == head
        ]
        yield from _head_lines(attn, index, rows)
        yield "    attends, from the last token, to"
        for tokens in prompts:
            found = compiled.attention(torch.tensor([tokens], device=model.device))
            weights = found[name, head][0, -1].tolist()  # [T]
            on = [
                f"{token(model.decode_token(i))} {number(weight)}"
                for i, weight in zip(tokens, weights, strict=True)
            ]
            left = [] if attn.sink is None else [f"sink {number(1 - sum(weights))}"]
            yield from wrapped(listed([*on, *left]), "      ")
    last = len(prompts[0]) - 1
    yield from aligned(_made_of(attn.out, "resid_delta", _value_names(attn), last), indent=2)


def _head_lines(attn: FoldedAttention, index: int, rows: list[tuple[str, list[str]]]) -> list[str]:
    """A head's kept channels, as `rows` have them, and the score that it gives a token."""
    (*terms, (constant, _)) = _score_terms(attn, index)
    score = total(terms, constant)
    if not any(coefficient for coefficient, _ in terms):
        score.append("for every token")
    sink = [] if attn.sink is None else [("sink", [number(float(attn.sink[index]))])]
    return aligned([*rows, ("score", score), *sink], indent=4)


def _score_terms(attn: FoldedAttention, index: int) -> list[tuple[float, str]]:
    """Products of queries and keys, scaled; the last one is that of all constant channels."""
    q, k, _ = attn.slots
    width = q.template.shape[1]
    queries = dict(zip(q.index.tolist(), attn.points[0].kept, strict=True))
    keys = dict(zip(k.index.tolist(), attn.points[1].kept, strict=True))
    terms = []
    for slot in range(width):
        at = index * width + slot
        coefficient, names = attn.scale, []
        for point, slots, kept in (("q", q, queries), ("k", k, keys)):
            if at in kept:
                names.append(f"{point}[{kept[at]}]")
            else:
                coefficient *= float(slots.template[index, slot])
        terms.append((coefficient, " ".join(names)))
    return terms


def _value_names(attn: FoldedAttention) -> list[str]:
    """What the heads mix, in the order of the columns that write it."""
    slots = attn.slots[2]
    width = slots.template.shape[1]
    names = [f"(what head {head}'s sink leaves)" for head in attn.heads for _ in range(width)]
    for at, channel in zip(slots.index.tolist(), attn.points[2].kept, strict=True):
        names[at] = f"seen v[{channel}]"
    return names


def _mlp(mlp: FoldedMlp, activation: str) -> list[str]:
    inputs = [f"act_in[{c}]" for c in mlp.read.kept]
    neurons = _made_of(mlp.up, "post_act", inputs)
    for _, made in neurons:
        made[0] = f"{activation}({made[0]}"
        made[-1] += ")"
    writes = _made_of(mlp.down, "resid_delta", [name for name, _ in neurons])
    return aligned([*neurons, *writes], indent=2)


def _made_of(
    projection: Projection, point: str, features: Sequence[str], place: int = 0
) -> list[tuple[str, list[str]]]:
    """Each kept channel of a hook point, and the sum that it is."""
    weights = projection.coefficients().T.tolist()  # [kept, S]
    constants = projection.constants(place).tolist()
    return [
        (f"{point}[{channel}]", total(zip(row, features, strict=True), constant))
        for channel, row, constant in zip(projection.kept, weights, constants, strict=True)
    ]


def _final(
    model: SparseModel, compiled: CompiledCircuit, pair: Pair, shift: Shift | None
) -> list[str]:
    """How the kept channels push the first answer against the second."""
    nats = 0.0 if shift is None else shift.nats  # for the answer of a pair's first member
    readout = compiled.readout
    prompts = (pair.first, pair.second)
    batch = Encoder(model).batch(prompts, rows=2)
    answer, foil = batch.choices[0].tolist()
    preferred = compiled.preferences(batch.tokens, batch.last, batch.choices)
    pushes = {
        f"final_resid[{channel}]": push
        for channel, push in zip(
            readout.kept, readout.weight[answer] - readout.weight[foil], strict=True
        )
    }
    pushes["constants"] = readout.constant[answer] - readout.constant[foil]
    pushes["after the norm"] = readout.bias[answer] - readout.bias[foil]
    if readout.bigram is not None:
        for index in batch.tokens[[0, 1], batch.last].tolist():
            name = f"bigram of {token(model.decode_token(index))}"
            pushes[name] = readout.bigram[index, answer] - readout.bigram[index, foil]
    if shift is not None:
        pushes["calibration"] = torch.tensor(nats)
    return [
        f"push for {token(pair.first.answer)} against {token(pair.first.foil)}, a unit of each",
        *aligned([(name, [number(float(x))]) for name, x in pushes.items()], indent=2),
        *(
            f"  after {quoted(prompt.text)}: {token(prompt.answer)} over {token(prompt.foil)} "
            f"by {number(one - other + moved)} nats"
            for prompt, (one, other), moved in zip(
                prompts, preferred.tolist(), (nats, -nats), strict=True
            )
        ),
    ]


def _idle(nodes: Nodes, model: SparseModel, edges: Edges, compiled: CompiledCircuit) -> list[str]:
    """Nodes that change no logit, and those that do at most by what they push out of AbsTopK."""
    used = {f"final_resid[{c}]" for c in compiled.readout.kept}
    for name, read, made in _sublayers(compiled):
        points: dict[str, Read | Projection] = {"act_in": read, **made}
        used |= {f"{name}.{point}[{c}]" for point, x in points.items() for c in x.kept}
    idle = [node for node in nodes.ids() if node not in used]
    sources = {source for source, _ in model.wires()}
    leading = {f"{source}[{channel}]" for (source, _), (channel, _) in edges}
    ends = {f"{hook}[{channel}]" for hook, channel in nodes if hook in sources} - leading
    ending = [node for node in nodes.ids() if node in ends & used]
    return [
        *(wrapped(listed(idle), "without effect: ") if idle else []),
        *(wrapped(listed(ending), "without an edge that leads on: ") if ending else []),
    ]
