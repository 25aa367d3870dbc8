"""Putting a circuit on the bench: with its model, its reference and all it is compared with."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.circuit.check import check_asked, check_circuit, refuse
from pytest_circuits.circuit.divided import nodes_of
from pytest_circuits.circuit.edges import edges_of
from pytest_circuits.circuit.runner import Runner, Whole, Wholes
from pytest_circuits.circuit.scope import in_scope
from pytest_circuits.claims.bench import CHECKED_PAIRS, Bench, Pruner
from pytest_circuits.claims.specific import asked_of
from pytest_circuits.claims.stable.baseline import Live, Recorded, check_comparable, facts
from pytest_circuits.claims.stable.observed import check_recorded
from pytest_circuits.errors import SpecError
from pytest_circuits.model.arithmetic import own_arithmetic
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import load_reference
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.spec.problems import Problem, quoted, suggest

SUFFIX = ".circuit.yaml"


@own_arithmetic()
def make_bench(
    loaded: LoadedSpec,
    model: Model,
    *,
    baseline: Recorded | Model | None = None,
    search_seed: int | None = None,
    beside: LoadedSpec | None = None,
    pruner: Pruner | None = None,
    wholes: Wholes | None = None,
) -> Bench:
    """The bench of one circuit in one model.

    baseline: a baseline file's content, or another model. search_seed, pruner: as in `Bench`.
    beside: the specification beside which other ones lie that are named; None: this one.
    wholes: what the benches of a run know of whole models, and share.

    Raises ModelError when the model has no reference or cannot be compared with the baseline,
    BaselineError when that was recorded for something else, SpecError as `load_others` does.
    """
    ablation, wholes = loaded.spec.ablations[0], {} if wholes is None else wholes

    def runner_of(each: Model) -> Runner:
        whole = wholes.setdefault((each.path, each.digest), Whole(each))
        return Runner(in_scope(loaded.spec, each), load_reference(each), ablation, whole)

    runner = runner_of(model)
    model = runner.model
    nodes, edges = nodes_of(loaded.spec), edges_of(loaded.spec)
    others = load_others(beside or loaded)
    before: Recorded | Live | None
    if baseline is None or isinstance(baseline, Recorded):
        before = baseline
    else:
        other = runner_of(baseline)
        check_comparable(model, facts(other.model), what=f"the baseline model {baseline.path}")
        before = Live(other)
    bench = Bench(loaded, runner, nodes, edges, before, search_seed, pruner, others)
    if isinstance(baseline, Recorded):
        check_recorded(bench, baseline)
        check_comparable(model, baseline.model, what="the recorded baseline")
    for each in (runner, before.runner) if isinstance(before, Live) else (runner,):
        each.expect(  # at least all of the sample
            bench.circuit,
            prompts=2 * len(bench.sample.pairs),
            check=bench.sample.few(CHECKED_PAIRS, seed=bench.seed),
        )
    return bench


def checked_bench(loaded: LoadedSpec, model: Model) -> Bench:
    """The bench of a circuit that the model can have and of prompts that it can be asked.

    Raises SpecError with what is wrong, as `check_bench` does, and what `make_bench` raises.
    """
    refuse(check_circuit(loaded, model))
    bench = make_bench(loaded, model)
    check_bench(bench)
    return bench


def check_bench(bench: Bench) -> None:
    """Raise SpecError with what is wrong with the prompts that the claims are going to ask."""
    loaded, model = bench.loaded, bench.model
    refuse([*check_asked(loaded, model, bench.sample.pairs, sample=True), *_check_others(bench)])


def _check_others(bench: Bench) -> Iterator[Problem]:
    """Give a problem of each other behavior that cannot be asked, by the first of its own."""
    for place, other in enumerate(bench.others):
        for found in check_asked(other, bench.model, asked_of(other).pairs)[:1]:
            name = quoted(other.spec.circuit)
            text = f"{name} cannot be asked: {found.path}:{found.line}:{found.col}: {found.text}"
            loc = ("claims", "specific", "others", place)
            yield bench.loaded.problem_at(loc, text, found.hint)


def load_others(loaded: LoadedSpec) -> tuple[LoadedSpec, ...]:
    """The specifications that the claim `specific` names, none where it is not declared.

    Raises SpecError when one is not there, cannot be used, is about another model, or is this one.
    """
    claim = loaded.spec.claims.specific
    return tuple(
        _load_other(loaded, place, name) for place, name in enumerate(claim.others if claim else ())
    )


def _load_other(loaded: LoadedSpec, place: int, name: str) -> LoadedSpec:
    loc = ("claims", "specific", "others", place)
    path = loaded.path.with_name(f"{name}{SUFFIX}")
    if name == loaded.spec.circuit or path == loaded.path:
        text = f"{quoted(name)} is this circuit itself: it is not another behavior"
        raise SpecError(loaded.problem_at(loc, text))
    if not path.is_file():
        text = f"there is no {quoted(path.name)} beside this file"
        files = loaded.path.parent.glob(f"*{SUFFIX}")
        beside = sorted(other.name.removesuffix(SUFFIX) for other in files)
        raise SpecError(loaded.problem_at(loc, text, suggest(name, beside)))
    other = load_spec(path)
    if other.model_path != loaded.model_path:
        text = f"{quoted(name)} is about another model, {quoted(other.spec.model)}"
        raise SpecError(loaded.problem_at(loc, text, "name behaviors of the same model"))
    return other
