"""The search for circuits: from behaviors to nodes, edges and the evidence that they do it.

    drafts -> repair -> remove -> exchange, of every seed; or, where parts of the rest may not hurt,
              repair -> hold
           -> the same of the union of what the seeds led to -> the smallest of all
           -> all smaller ones, where these are few
           -> edges -> without idle parts -> measure -> calibrate -> controls -> backups -> rivals
           -> what subsamples of the prompts need

Each step is a stage, whose result is kept when it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Nodes, all_nodes, in_forward_order
from pytest_circuits.model.protocol import Model, wires_of
from pytest_circuits.model.reference import Reference
from pytest_circuits.prune.calibrate import Calibrated, with_calibration
from pytest_circuits.prune.controls import Control, control, controls_of
from pytest_circuits.prune.drafts import drafts
from pytest_circuits.prune.hold import LAST, ROUNDS, Held, attacks, hold
from pytest_circuits.prune.idle import spare
from pytest_circuits.prune.met import Met
from pytest_circuits.prune.plan import Method, PrunePlan
from pytest_circuits.prune.proof import AFFORDED, MOST, Proof, afforded, all_smaller, costs
from pytest_circuits.prune.quality import Quality
from pytest_circuits.prune.refine import exchange, needed_edges, remove, repair
from pytest_circuits.prune.stages import Case, stage
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.prune.subsamples import Certified, certified
from pytest_circuits.spec.types import Spec
from pytest_circuits.system.progress import reporting

_AGAIN = 4  # attacks on a circuit with its edges, of which each but the last may break it
MOST_RIVALS = 8  # of a circuit that are searched for
APART = 0.5  # of the smaller circuit's nodes, that a rival has at most in common with another


@dataclass(frozen=True, slots=True)
class Rivals:
    """Other circuits that meet the same demands, each unlike the circuit and the others.

    shared: what each has most in common with one of them, as a share of the smaller one's nodes.
    end: why there are no more.
    """

    found: tuple[Found, ...]
    shared: tuple[float, ...]
    end: str


@dataclass(frozen=True, slots=True)
class WithEdges:
    """A circuit with the edges that it needs, and what it was tried against."""

    nodes: Nodes
    edges: Edges
    met: tuple[Met, ...]


@dataclass(frozen=True, slots=True)
class Found:
    nodes: Nodes
    edges: Edges | None  # None: all weights between the nodes
    quality: Quality
    drafted: int  # nodes before it was refined
    frequency: dict[str, tuple[int, ...]]  # of each node, how many seeds found it
    controls: dict[str, Control]
    backups: tuple[Found, ...] | None  # circuits that take over without it; None: not searched
    calibrated: Calibrated | None = None  # with it goes the quality; None: not calibrated
    rivals: Rivals | None = None  # None: not searched
    proof: Proof | None = None  # None: smaller circuits were not tried one by one
    certified: Certified | None = None  # None: subsamples were not asked


def find_circuits(
    subjects: Sequence[Subject],
    reference: Reference,
    plan: PrunePlan,
    *,
    forbidden: Nodes | None = None,
    priced: Nodes | None = None,
    folders: Sequence[Path | None] = (),
) -> Iterator[Found | NotFoundError]:
    """The smallest circuit of each behavior, in the order of the subjects, of one model.

    A behavior for which no circuit is good enough gives the error that says so, and the others go
    on. forbidden: nodes that no circuit may have, which asks for the backup of a circuit. priced:
    nodes that cost more than others, which asks for its rivals. folders: where what is found on the
    way is kept, one a subject, so that a search that was killed goes on from there to the same
    result.
    """
    nothing, folders = Nodes.of({}), folders or [None] * len(subjects)
    barred, dear = forbidden or nothing, priced or nothing
    cases = [
        Case.of(subject, reference, plan, folder, forbidden=barred, priced=dear)
        for subject, folder in zip(subjects, folders, strict=True)
    ]
    for case, drafted in zip(cases, drafts(cases), strict=True):
        try:
            found: Found | NotFoundError = _searched(case, drafted)
        except NotFoundError as error:
            found = error
        yield found


def _searched(case: Case, drafted: list[Nodes]) -> Found:
    """The stages after the drafts, in their order."""
    plan, model = case.plan, case.subject.model
    if not drafted:
        raise NotFoundError(f"{case.subject.spec.circuit}: no few nodes of a ranking do it")
    controls = controls_of(model) if plan.controls else ()
    refined = _refined(case, drafted)
    if not refined:
        raise _not_found(case.subject, drafted)
    of_seeds = [each.nodes for each in refined]
    if len(refined) > 1:
        union = Nodes.gather(node for nodes in of_seeds for node in nodes)
        refined += _refined(case, [union])
    nodes, edges = case.run(smallest, [each.nodes for each in refined]), None
    asked = plan.certify and case.subject.objective.demands.max_gap is None
    proof = case.run(proved, nodes) if asked or _provable(case, nodes) else None
    nodes = proof.best if proof and proof.best else nodes
    if plan.edges and wires_of(model):
        met = next((each.met for each in refined if each.nodes == nodes), ())
        joined = case.run(with_edges, Held(nodes, met))
        nodes, edges = joined.nodes, joined.edges
        if case.subject.spec.claims.minimal:
            nodes, edges = case.run(without_idle, joined)
    quality = case.run(measured, nodes, edges)
    fitted = case.run(with_calibration, nodes, edges, quality) if plan.calibrate else None
    return Found(
        nodes=nodes,
        edges=edges,
        quality=fitted.quality if fitted else quality,
        drafted=min(nodes.count for nodes in drafted),
        frequency=_frequency(nodes, of_seeds),
        controls={name: case.run(control, name) for name in controls},
        backups=tuple(_backups(case, nodes)) if plan.exhaust else None,
        calibrated=fitted,
        rivals=_rivals(case, nodes) if plan.rivals else None,
        proof=proof,
        certified=case.run(certified_nodes, nodes) if plan.certify else None,
    )


def _provable(case: Case, nodes: Nodes) -> bool:
    """Whether all smaller circuits are tried, because they are few."""
    number = costs(
        all_nodes(case.subject.model).count, case.proposer.cost(nodes), case.priced.count
    )
    plan, unheld = case.plan, case.subject.objective.demands.max_gap is None
    return unheld and plan.method is Method.ATTRIBUTION and number <= _most(plan)


def _most(plan: PrunePlan) -> int:
    """How many circuits are tried one by one."""
    return MOST if plan.certify else AFFORDED


def _refined(case: Case, circuits: list[Nodes]) -> list[Held]:
    """What circuits lead to, without those that nothing makes good enough."""
    good = [case.run(repaired, nodes) for nodes in circuits]
    kept = [nodes for nodes in good if nodes is not None]
    if case.subject.objective.demands.max_gap is None:
        return [Held(case.run(exchanged, case.run(removed, nodes)), ()) for nodes in kept]
    return [found for found in (case.run(held, nodes) for nodes in kept) if found]


@stage
def repaired(case: Case, nodes: Nodes) -> Nodes | None:
    """A circuit with nodes that make it good enough; None where nothing does."""
    judge, proposer = case.subject.judge, case.proposer
    return repair(judge, proposer, nodes, forbidden=frozenset(case.forbidden))


@stage
def removed(case: Case, nodes: Nodes) -> Nodes:
    """A circuit without the nodes that it can spare."""
    judge, proposer = case.subject.judge, case.proposer
    return _last(case, nodes, remove(judge, proposer, nodes))


@stage
def held(case: Case, nodes: Nodes) -> Held | None:
    """A circuit that holds whatever part of the rest is ablated, as small as it gets."""
    return _held(case, nodes, ())


def _held(case: Case, nodes: Nodes, met: Sequence[Met]) -> Held | None:
    judge, proposer = case.subject.judge, case.proposer
    with reporting(f"attacking {case.subject.spec.circuit}", nodes.count) as reporter:

        def tell(on_the_way: Held) -> None:
            count = on_the_way.nodes.count
            about = f"{count} nodes, {len(on_the_way.met)} parts of the rest"
            reporter.at(max(0, nodes.count - count), about)

        return hold(judge, proposer, nodes, tell, met=met)


@stage
def exchanged(case: Case, nodes: Nodes) -> Nodes:
    """A circuit with nodes for each of which two others could go, or a priced one."""
    if _provable(case, nodes):  # all that an exchange may come to is among what is tried then
        return nodes
    judge, proposer = case.subject.judge, case.proposer
    rounds, barred = case.plan.rounds, frozenset(case.forbidden)
    return _last(case, nodes, exchange(judge, proposer, nodes, rounds=rounds, forbidden=barred))


def _last(case: Case, nodes: Nodes, smaller: Iterator[Nodes]) -> Nodes:
    best, total = nodes, nodes.count
    with reporting(f"refining {case.subject.spec.circuit}", total) as reporter:
        for best in smaller:
            reporter.at(total - best.count, f"{best.count} nodes")
    return best


@stage
def proved(case: Case, nodes: Nodes) -> Proof:
    """What all circuits of fewer nodes come to, as far as they can be tried."""
    judge, most = case.subject.judge, _most(case.plan)
    model, barred = case.subject.model, set(case.forbidden)
    every = [node for node in in_forward_order(all_nodes(model), model) if node not in barred]
    equals, of, dear = case.plan.certify, case.proposer.cost(nodes), case.dear
    total = afforded(len(every), of + equals, most, len(dear))
    about = f"trying smaller circuits of {case.subject.spec.circuit}, each of them"
    with reporting(about, total) as reporter:
        return all_smaller(
            judge, every, of=of, equals=equals, most=most, tell=reporter.at, priced=dear
        )


@stage
def certified_nodes(case: Case, nodes: Nodes) -> Certified:
    """How many of the prompts may be others, for each node to be needed still."""
    return certified(case.subject.judge, nodes)


@stage
def smallest(case: Case, circuits: list[Nodes]) -> Nodes:
    """The circuit of the fewest nodes, at their prices; of those the one with the least loss."""
    qualities = case.subject.judge.alone([(nodes, None) for nodes in circuits])
    losses = {nodes: quality.loss for nodes, quality in zip(circuits, qualities, strict=True)}
    return min(circuits, key=lambda nodes: (case.proposer.cost(nodes), losses[nodes]))


@stage
def with_edges(case: Case, found: Held) -> WithEdges:
    """The edges that a circuit needs, and its nodes without those that other edges needed.

    Where an attack breaks that, a circuit is searched for that holds against what it found as well;
    where there is none, all edges are kept, unless an attack breaks that too: NotFoundError.
    """
    subject, judge = case.subject, case.subject.judge
    for number in range(ROUNDS, ROUNDS + _AGAIN):
        judge.met = list(found.met)
        edges = needed_edges(judge, found.nodes)
        *_, nodes = found.nodes, *remove(judge, subject.proposer, found.nodes, edges)
        edges = live_edges(nodes, subject.model, edges)
        asked = judge.demands.max_gap is not None
        broke = attacks(judge, nodes, edges, number=number, attempts=LAST) if asked else []
        if not broke:
            return WithEdges(nodes, edges, found.met)
        again = _held(case, found.nodes, (*found.met, *broke))
        if again is None:
            break
        found = again
    if attacks(judge, found.nodes, None, number=ROUNDS, attempts=LAST):
        raise _not_found(subject, [found.nodes])
    return WithEdges(found.nodes, live_edges(found.nodes, subject.model), found.met)


@stage
def without_idle(case: Case, found: WithEdges) -> tuple[Nodes, Edges]:
    """A circuit without what does nothing where it runs alone, as far as the claims allow."""
    judge = case.subject.eased
    judge.forget()
    judge.met = list(found.met)
    return spare(judge, found.nodes, found.edges)


@stage
def measured(case: Case, nodes: Nodes, edges: Edges | None) -> Quality:
    """How a circuit does as the claims will run it; NotFoundError below the bar."""
    subject = case.subject
    spared = edges is not None and subject.spec.claims.minimal is not None  # see `without_idle`
    judge = subject.eased if spared else subject.judge
    judge.forget()
    quality = judge.measure((nodes, edges))
    if not quality.reaches(judge.bar):  # AbsTopK may cut a tie in another way
        raise _not_found(subject, [nodes])
    return quality


def _frequency(nodes: Nodes, of_seeds: Sequence[Nodes]) -> dict[str, tuple[int, ...]]:
    times = Counter(node for some in of_seeds for node in some)
    return {
        hook: tuple(times[hook, channel] for channel in channels)
        for hook, channels in nodes.channels
    }


def _backups(case: Case, nodes: Nodes) -> Iterator[Found]:
    """Circuits that do the task without some nodes, one after the other, until there is none.

    They are asked for sufficiency alone: a backup is what takes over, not what is needed today.
    Gao et al. 2025 find none in their sparse models; in dense ones there are many (Hao and
    Goldstein 2026).
    """
    alone = case.plan.sufficient_only().nodes_alone()
    asked = Subject.of(case.subject.spec, case.subject.model, case.reference, alone)
    forbidden, folders = list(nodes), [case.notes.folder]
    while True:
        barred = Nodes.gather(forbidden)
        (found,) = find_circuits([asked], case.reference, alone, forbidden=barred, folders=folders)
        if isinstance(found, NotFoundError):
            return
        yield found
        forbidden += found.nodes


def _rivals(case: Case, nodes: Nodes) -> Rivals:
    """Circuits that meet the demands with other nodes, one after the other, until there is none.

    Of the nodes of those that are known each costs as much as several others. A circuit that the
    model needs has some in common with any other, so that these are not forbidden.
    """
    plan, folders = case.plan.nodes_alone(), [case.notes.folder]
    asked = Subject.of(case.subject.spec, case.subject.model, case.reference, plan)
    known, found, shared = [nodes], list[Found](), list[float]()
    while len(found) < MOST_RIVALS:
        priced = Nodes.gather(node for each in known for node in each)
        (rival,) = find_circuits([asked], case.reference, plan, priced=priced, folders=folders)
        if isinstance(rival, NotFoundError):
            return Rivals(tuple(found), tuple(shared), "no other circuit was found")
        share = max(_shared(rival.nodes, each) for each in known)
        if share > APART:
            end = f"the next one shares {share:.0%} of its nodes with one that is known"
            return Rivals(tuple(found), tuple(shared), end)
        known.append(rival.nodes)
        found.append(rival)
        shared.append(share)
    return Rivals(tuple(found), tuple(shared), f"{MOST_RIVALS} are searched for at most")


def _shared(nodes: Nodes, others: Nodes) -> float:
    """What two circuits have in common, as a share of the smaller one's nodes."""
    return len({*nodes} & {*others}) / max(1, min(nodes.count, others.count))


def _not_found(subject: Subject, circuits: Sequence[Nodes]) -> NotFoundError:
    bar = subject.judge.bar
    subject.judge.forget()  # a search that went on says the same
    qualities = subject.judge.assess(circuits)
    best = min(range(len(circuits)), key=lambda i: qualities[i].excess(bar))
    reached = qualities[best]
    beside = f", whatever of the rest is ablated, to {bar.max_gap:.2f} nats"
    return NotFoundError(
        f"{subject.spec.circuit}: no circuit found that reaches task loss {bar.max_loss:.3f} with "
        f"a complement that separates no pair by {bar.max_separation:.2f} nats"
        f"{beside * (bar.max_gap < inf)}; the best, of {circuits[best].count} nodes, has loss "
        f"{reached.loss:.3f} and separation {reached.worst_separation:.2f}. Try more --steps "
        "or --seeds"
    )


def reprune(spec: Spec, model: Model, reference: Reference, seeds: int) -> tuple[Nodes, ...]:
    """The nodes that a search of each of so many seeds finds; none where it finds no circuit."""
    return tuple(_again(spec, model, reference, seed) for seed in range(seeds))


def _again(spec: Spec, model: Model, reference: Reference, seed: int) -> Nodes:
    plan = PrunePlan(seed=seed, rounds=0, edges=False, controls=False)
    try:
        (found,) = find_circuits([Subject.of(spec, model, reference, plan)], reference, plan)
    except NotFoundError:
        return Nodes.of({})
    return Nodes.of({}) if isinstance(found, NotFoundError) else found.nodes
