"""Searches for circuits, from behaviors to nodes, edges and the evidence that they do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from pytest_circuits.circuit.edges import Edges, live_edges
from pytest_circuits.circuit.nodes import Node, Nodes, all_nodes
from pytest_circuits.model.protocol import Model, Shuffles
from pytest_circuits.model.reference import Reference
from pytest_circuits.prune.attribution import attribute, ranked
from pytest_circuits.prune.calibrate import Calibrated, calibrate
from pytest_circuits.prune.controls import Control, run_control, shuffled_fill
from pytest_circuits.prune.discretise import smallest
from pytest_circuits.prune.edges import needed_edges
from pytest_circuits.prune.greedy import greedy
from pytest_circuits.prune.masks import Masks, Search, learn
from pytest_circuits.prune.notes import Checkpoints, Notes
from pytest_circuits.prune.plan import Method, PrunePlan, Start
from pytest_circuits.prune.pool import Pool
from pytest_circuits.prune.quality import Quality
from pytest_circuits.prune.refine import exchange, remove, repair
from pytest_circuits.prune.stages import circuits, circumstances, control, with_edges
from pytest_circuits.prune.subject import NotFoundError, Subject
from pytest_circuits.system.progress import reporting

if TYPE_CHECKING:
    from torch import Tensor

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
    notes: Sequence[Notes] = (),
) -> Iterator[Found | NotFoundError]:
    """The smallest circuit of each behavior, in the order of the subjects, of one model.

    The masks of all of them are learnt in one batch. A behavior for which no circuit is good
    enough gives the error that says so, and the others go on. forbidden: nodes that no circuit may
    have, which asks for the backup of a circuit. notes: where what is found on the way is kept, one
    a subject, so that a search that was killed goes on from there to the same result.
    """
    barred = forbidden or Nodes.of({})
    notes = notes or [Notes()] * len(subjects)
    kept = [
        note.about(circumstances(subject, reference, plan), list(barred))
        for subject, note in zip(subjects, notes, strict=True)
    ]
    drafts = _drafts(subjects, plan, barred, kept)
    for subject, candidates, note in zip(subjects, drafts, kept, strict=True):
        try:
            found = circuits(
                note.about("refined"), partial(_refined, subject, candidates, plan, barred)
            )
            drafted = min(nodes.count for nodes in candidates)
            complete = _with_evidence(found, subject, reference, plan, drafted=drafted, note=note)
        except NotFoundError as error:
            yield error
            continue
        yield complete


def _drafts(
    subjects: Sequence[Subject], plan: PrunePlan, forbidden: Nodes, notes: Sequence[Notes]
) -> Iterator[list[Nodes]]:
    """Nodes to begin with, for each subject a few alternatives."""
    match plan.method:
        case Method.MASKS:
            yield from _by_masks(subjects, plan, forbidden, notes)
        case Method.ATTRIBUTION | Method.GREEDY:
            for subject, note in zip(subjects, notes, strict=True):
                yield [_proposed(subject, Start(plan.method), forbidden, note)]


def _proposed(subject: Subject, start: Start, forbidden: Nodes, note: Notes) -> Nodes:
    """The nodes that another method than masks begins with."""
    match start:
        case Start.ALL:
            return all_nodes(subject.model)
        case Start.SPEC:
            return Nodes.of(subject.spec.nodes)
        case Start.ATTRIBUTION:
            propose = _by_attribution
        case Start.GREEDY:
            propose = _by_removal
    (nodes,) = circuits(note.about(start), lambda: [propose(subject, forbidden)])
    return nodes


def _by_masks(
    subjects: Sequence[Subject], plan: PrunePlan, forbidden: Nodes, notes: Sequence[Notes]
) -> Iterator[list[Nodes]]:
    batch = notes[0].about("masks", [note.key for note in notes])
    learnt = cache(lambda: _learnt(subjects, plan, forbidden, notes, batch))
    for index, (subject, note) in enumerate(zip(subjects, notes, strict=True)):
        yield circuits(
            note.about("drafts", batch.key), partial(_of_masks, learnt, index, subject, plan)
        )


def _learnt(
    subjects: Sequence[Subject],
    plan: PrunePlan,
    forbidden: Nodes,
    notes: Sequence[Notes],
    batch: Notes,
) -> Masks:
    """The masks of all seeds of all subjects, learnt."""
    length = max(subject.pool.length for subject in subjects)
    first = [
        None if plan.start is Start.ALL else _proposed(subject, plan.start, forbidden, note)
        for subject, note in zip(subjects, notes, strict=True)
    ]
    searches = [
        Search(subject.pool.padded(length), seed, forbidden, nodes)
        for subject, nodes in zip(subjects, first, strict=True)
        for seed in range(plan.seed, plan.seed + plan.seeds)
    ]
    model, fill = subjects[0].model, subjects[0].fill
    masks = Masks(model, searches, plan.masks)
    about = f"masks of {subjects[0].spec.circuit}"
    if len(searches) > 1:
        about = f"masks of {len(searches)} searches"
    with reporting(about, plan.masks.steps) as reporter:
        for step in learn(model, fill, masks, plan.masks, batch.checkpoints()):
            count, loss = step.nodes.mean().item(), step.loss.mean().item()
            reporter.at(step.step + 1, f"{count:.0f} nodes  loss {loss:.3f}")
    return masks


def _of_masks(
    batch: Callable[[], Masks], index: int, subject: Subject, plan: PrunePlan
) -> list[Nodes]:
    """What the masks of one subject lead to, one circuit a seed."""
    masks = batch()
    candidates, learnt = [], masks.learnt()
    for k in range(index * plan.seeds, (index + 1) * plan.seeds):
        on = masks.on(k)
        candidates += [nodes for nodes in (learnt[k].smallest, on) if nodes is not None][:1]
        if learnt[k].smallest is None:
            times, more = _TOP_OF_RANKING
            prefix = smallest(subject.judge, learnt[k].ranking, most=times * on.count + more)
            candidates[-1] = prefix or on
    return candidates


def _by_attribution(subject: Subject, forbidden: Nodes) -> Nodes:
    """The smallest prefix of the ranking by attribution that is good enough."""
    barred = set(forbidden)
    scores = attribute(subject.model, subject.fill, subject.pool.first(64))
    ranking = [node for node in ranked(scores) if node not in barred]
    nodes = smallest(subject.judge, ranking, most=len(ranking))
    return nodes or Nodes.gather(ranking)


def _by_removal(subject: Subject, forbidden: Nodes) -> Nodes:
    nodes = all_nodes(subject.model)
    hooks = list(subject.model.sites)[::-1]
    with reporting(f"removing nodes of {subject.spec.circuit}", len(hooks)) as reporter:
        for hook, nodes in greedy(subject.judge, forbidden=frozenset(forbidden)):
            reporter.at(hooks.index(hook), f"{nodes.count} nodes")
    return nodes


def _refined(
    subject: Subject, candidates: Sequence[Nodes], plan: PrunePlan, forbidden: Nodes
) -> list[Nodes]:
    """The circuits that the candidates lead to, the smallest first; NotFoundError without any."""
    judge, barred = subject.judge, frozenset(forbidden)
    judge.forget()
    found = []
    for nodes in candidates:
        good = repair(judge, subject.proposer, nodes, forbidden=barred)
        if good is not None:
            found.append(_smaller(subject, good, plan, barred))
    if not found:
        raise _not_found(subject, candidates)
    if len(found) > 1:
        union = Nodes.gather(dict.fromkeys(node for nodes in found for node in nodes))
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
    note: Notes,
) -> Found:
    nodes, *of_seeds = found
    edges = None
    if plan.edges:
        nodes, edges = with_edges(note.about("edges"), partial(_by_edges, subject, nodes))
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
        controls=_controls(subject, reference, plan, note) if plan.controls else {},
        backups=tuple(_backups(subject, reference, plan, nodes, note)) if plan.exhaust else None,
        calibrated=calibrated,
    )


def _by_edges(subject: Subject, nodes: Nodes) -> tuple[Nodes, Edges]:
    """The edges that a circuit needs, and its nodes without those that other edges needed."""
    subject.judge.forget()
    edges = needed_edges(subject.judge, nodes)
    *_, nodes = nodes, *remove(subject.judge, subject.proposer, nodes, edges)
    return nodes, live_edges(nodes, subject.model, edges)


def _controls(
    subject: Subject, reference: Reference, plan: PrunePlan, note: Notes
) -> dict[str, Control]:
    """The same search for a behavior that makes no sense, and in a model that knows nothing.

    None of the second where no such model can be made.
    """
    wheres = {
        "shuffled_labels": (subject.model, subject.fill, subject.pool.swapped(seed=plan.seed)),
    }
    if isinstance(subject.model, Shuffles):
        shuffled = subject.model.shuffled(seed=plan.seed)
        fill = shuffled_fill(shuffled, reference.tokens, subject.spec.ablation)
        wheres["shuffled_weights"] = (shuffled, fill, subject.pool)
    return {
        name: control(
            note.about(name),
            partial(_control, subject, plan, name, where, note.about(name).checkpoints()),
        )
        for name, where in wheres.items()
    }


def _control(
    subject: Subject,
    plan: PrunePlan,
    name: str,
    where: tuple[Model, Mapping[str, Tensor], Pool],
    checkpoints: Checkpoints,
) -> Control:
    about = f"control of {subject.spec.circuit}: {name.replace('_', ' ')}"
    with reporting(about, plan.masks.steps) as reporter:
        return run_control(
            *where,
            plan.masks,
            seeds=range(plan.seed, plan.seed + plan.seeds),
            max_loss=subject.judge.bar.max_loss,
            tell=reporter.at,
            checkpoints=checkpoints,
        )


def _backups(
    subject: Subject, reference: Reference, plan: PrunePlan, nodes: Nodes, note: Notes
) -> Iterator[Found]:
    """Circuits that do the task without some nodes, one after the other, until there is none.

    They are asked for sufficiency alone: a backup is what takes over, not what is needed today.
    Gao et al. 2025 find none in their sparse models; in dense ones there are many (Hao and
    Goldstein 2026).
    """
    alone = replace(
        plan.sufficient_only(),
        start=Start.ALL,
        edges=False,
        controls=False,
        exhaust=False,
        calibrate=False,
    )
    asked = Subject.of(subject.spec, subject.model, reference, alone)
    forbidden = list(nodes)
    while True:
        (found,) = find_circuits(
            [asked], reference, alone, forbidden=Nodes.gather(forbidden), notes=[note]
        )
        if isinstance(found, NotFoundError):
            return
        yield found
        forbidden += found.nodes
