"""Searches for circuits, from behaviors to nodes, edges and the evidence that they do it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_circuits.circuit import Nodes, all_nodes, live_edges
from pytest_circuits.progress import reporting
from pytest_circuits.prune.attribution import attribute, ranked
from pytest_circuits.prune.calibrate import Calibrated, calibrate
from pytest_circuits.prune.controls import Control, run_control, shuffled_fill, shuffled_model
from pytest_circuits.prune.discretise import nodes_of, smallest
from pytest_circuits.prune.edges import needed_edges
from pytest_circuits.prune.greedy import greedy
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.plan import Method
from pytest_circuits.prune.refine import exchange, remove, repair
from pytest_circuits.prune.subject import NotFoundError, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_circuits.circuit import Edges
    from pytest_circuits.model import Reference
    from pytest_circuits.prune.plan import PrunePlan
    from pytest_circuits.prune.quality import Quality

Node = tuple[str, int]
_TOP_OF_RANKING = 2, 64  # a prefix may have so many times the nodes that were on, and so many more


@dataclass(frozen=True, slots=True)
class Found:
    """A circuit, and how it does on the evaluation prompts."""

    nodes: Nodes
    edges: Edges | None  # None: all weights between the nodes
    quality: Quality
    drafted: int  # nodes before it was refined
    frequency: dict[str, tuple[int, ...]]  # of each node, how many seeds found it
    controls: dict[str, Control]
    backups: tuple[Found, ...] | None  # circuits that take over without it; None: not searched
    calibrated: Calibrated | None = None  # with it goes the quality; None: not calibrated


def find_circuits(
    subjects: Sequence[Subject],
    reference: Reference,
    plan: PrunePlan,
    *,
    forbidden: Nodes | None = None,
) -> Iterator[Found | NotFoundError]:
    """The smallest circuit of each behavior, in the order of the subjects, of one model.

    The masks of all of them are learnt in one batch. A behavior for which no circuit is good
    enough gives the error that says so, and the others go on. forbidden: nodes that no circuit may
    have, which asks for the backup of a circuit.
    """
    barred = forbidden or Nodes.of({})
    drafts = _drafts(subjects, plan, barred)
    for subject, candidates in zip(subjects, drafts, strict=True):
        try:
            found = _refined(subject, candidates, plan, barred)
            drafted = min(nodes.count for nodes in candidates)
            complete = _with_evidence(found, subject, reference, plan, drafted=drafted)
        except NotFoundError as error:
            yield error
            continue
        yield complete


def _drafts(
    subjects: Sequence[Subject], plan: PrunePlan, forbidden: Nodes
) -> Iterator[list[Nodes]]:
    """Nodes to begin with, for each subject a few alternatives."""
    match plan.method:
        case Method.MASKS:
            yield from _by_masks(subjects, plan, forbidden)
        case Method.ATTRIBUTION:
            yield from ([_by_attribution(subject, forbidden)] for subject in subjects)
        case Method.GREEDY:
            yield from ([_by_removal(subject, forbidden)] for subject in subjects)


def _by_masks(
    subjects: Sequence[Subject], plan: PrunePlan, forbidden: Nodes
) -> Iterator[list[Nodes]]:
    length = max(subject.pool.length for subject in subjects)
    seeds = range(plan.seed, plan.seed + plan.seeds)
    searches = [
        Search(subject.pool.padded(length), seed, forbidden)
        for subject in subjects
        for seed in seeds
    ]
    first = subjects[0]
    masks = Masks(first.model, searches, plan.masks)
    about = f"masks of {first.spec.circuit}"
    if len(searches) > 1:
        about = f"masks of {len(searches)} searches"
    with reporting(about, plan.masks.steps) as reporter:
        for step in learn(first.model, first.fill, masks, plan.masks):
            nodes, loss = step.nodes.mean().item(), step.loss.mean().item()
            reporter.at(step.step + 1, f"{nodes:.0f} nodes  loss {loss:.3f}")
    learnt = masks.learnt()
    for index, subject in enumerate(subjects):
        candidates = []
        for k in range(index * plan.seeds, (index + 1) * plan.seeds):
            on = masks.on(k)
            candidates += [nodes for nodes in (learnt[k].smallest, on) if nodes is not None][:1]
            if learnt[k].smallest is None:
                times, more = _TOP_OF_RANKING
                prefix = smallest(subject.judge, learnt[k].ranking, most=times * on.count + more)
                candidates[-1] = prefix or on
        yield candidates


def _by_attribution(subject: Subject, forbidden: Nodes) -> Nodes:
    """The smallest prefix of the ranking by attribution that is good enough."""
    barred = set(forbidden)
    scores = attribute(subject.model, subject.fill, subject.pool.first(64))
    ranking = [node for node in ranked(scores) if node not in barred]
    nodes = smallest(subject.judge, ranking, most=len(ranking))
    return nodes or nodes_of(ranking)


def _by_removal(subject: Subject, forbidden: Nodes) -> Nodes:
    nodes = all_nodes(subject.model)
    hooks = list(reversed(subject.model.hook_points))
    with reporting(f"removing nodes of {subject.spec.circuit}", len(hooks)) as reporter:
        for hook, nodes in greedy(subject.judge, forbidden=frozenset(forbidden)):
            reporter.at(hooks.index(hook), f"{nodes.count} nodes")
    return nodes


def _refined(
    subject: Subject, candidates: Sequence[Nodes], plan: PrunePlan, forbidden: Nodes
) -> list[Nodes]:
    """The circuits that the candidates lead to, the smallest first; NotFoundError without any."""
    judge, barred = subject.judge, frozenset(forbidden)
    found = []
    for nodes in candidates:
        good = repair(judge, subject.proposer, nodes, forbidden=barred)
        if good is not None:
            found.append(_smaller(subject, good, plan, barred))
    if not found:
        raise _not_found(subject, candidates)
    if len(found) > 1:
        union = nodes_of(dict.fromkeys(node for nodes in found for node in nodes))
        good = repair(judge, subject.proposer, union, forbidden=barred)
        if good is not None:
            found.append(_smaller(subject, good, plan, barred))
    best = min(found, key=lambda nodes: (nodes.count, judge.assess([nodes])[0].loss))
    return [best, *found[: len(candidates)]]


def _smaller(subject: Subject, nodes: Nodes, plan: PrunePlan, forbidden: frozenset[Node]) -> Nodes:
    """What is left of a good circuit without the nodes that it can spare or exchange."""
    judge, total, best = subject.judge, nodes.count, nodes
    with reporting(f"refining {subject.spec.circuit}", total) as reporter:
        for best in remove(judge, subject.proposer, nodes):
            reporter.at(total - best.count, f"{best.count} nodes")
        smaller = exchange(judge, subject.proposer, best, rounds=plan.rounds, forbidden=forbidden)
        for best in smaller:
            reporter.at(total - best.count, f"{best.count} nodes")
    return best


def _not_found(subject: Subject, candidates: Sequence[Nodes]) -> NotFoundError:
    bar = subject.judge.bar
    qualities = subject.judge.assess(candidates)
    best = min(range(len(candidates)), key=lambda i: qualities[i].excess(bar))
    reached = qualities[best]
    return NotFoundError(
        f"{subject.spec.circuit}: no circuit found that reaches task loss {bar.max_loss:.3f} with "
        f"a complement that separates no pair by {bar.max_separation:.2f} nats; the best, of "
        f"{candidates[best].count} nodes, has loss {reached.loss:.3f} and separation "
        f"{reached.worst_separation:.2f}. Try more --steps or --seeds"
    )


def _with_evidence(
    found: Sequence[Nodes],
    subject: Subject,
    reference: Reference,
    plan: PrunePlan,
    *,
    drafted: int,
) -> Found:
    nodes, *of_seeds = found
    edges = None
    if plan.edges:
        edges = needed_edges(subject.judge, nodes)
        # What only mattered through other edges goes too.
        *_, nodes = nodes, *remove(subject.judge, subject.proposer, nodes, edges)
        edges = live_edges(nodes, subject.model, edges)
    quality = subject.judge.measure((nodes, edges))
    if not quality.reaches(subject.judge.bar):  # AbsTopK may cut a tie in another way
        raise _not_found(subject, [nodes])
    calibrated = calibrate(subject, nodes, edges, quality, plan) if plan.calibrate else None
    times = Counter(node for some in of_seeds for node in some)
    return Found(
        nodes=nodes,
        edges=edges,
        quality=calibrated.quality if calibrated else quality,
        drafted=drafted,
        frequency={
            hook: tuple(times[hook, channel] for channel in channels)
            for hook, channels in nodes.channels
        },
        controls=_controls(subject, reference, plan) if plan.controls else {},
        backups=tuple(_backups(subject, reference, plan, nodes)) if plan.exhaust else None,
        calibrated=calibrated,
    )


def _controls(subject: Subject, reference: Reference, plan: PrunePlan) -> dict[str, Control]:
    """The same search for a behavior that makes no sense, and in a model that knows nothing."""
    shuffled = shuffled_model(subject.model, seed=plan.seed)
    fill = shuffled_fill(shuffled, reference.tokens, subject.spec.ablation)
    wheres = {
        "shuffled_labels": (subject.model, subject.fill, subject.pool.swapped(seed=plan.seed)),
        "shuffled_weights": (shuffled, fill, subject.pool),
    }
    found = {}
    for name, (model, constants, pool) in wheres.items():
        about = f"control of {subject.spec.circuit}: {name.replace('_', ' ')}"
        with reporting(about, plan.masks.steps) as reporter:
            found[name] = run_control(
                model,
                constants,
                pool,
                plan.masks,
                seeds=range(plan.seed, plan.seed + plan.seeds),
                max_loss=subject.judge.bar.max_loss,
                tell=reporter.at,
            )
    return found


def _backups(
    subject: Subject, reference: Reference, plan: PrunePlan, nodes: Nodes
) -> Iterator[Found]:
    """Circuits that do the task without some nodes, one after the other, until there is none.

    They are asked for sufficiency alone: a backup is what takes over, not what is needed today.
    Gao et al. 2025 find none in their sparse models; in dense ones there are many (Hao and
    Goldstein 2026).
    """
    alone = replace(
        plan.sufficient_only(), edges=False, controls=False, exhaust=False, calibrate=False
    )
    asked = Subject.of(subject.spec, subject.model, reference, alone)
    forbidden = list(nodes)
    while True:
        (found,) = find_circuits([asked], reference, alone, forbidden=nodes_of(forbidden))
        if isinstance(found, NotFoundError):
            return
        yield found
        forbidden += found.nodes
