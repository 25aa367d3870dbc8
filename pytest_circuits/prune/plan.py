"""Settings of a search for circuits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf


class Method(StrEnum):
    """How the nodes of a circuit are proposed, before they are refined."""

    MASKS = "masks"
    ATTRIBUTION = "attribution"
    GREEDY = "greedy"


AUTO = "auto"  # of a request: the method that fits the model
_MOST_RANKED = 128  # nodes, of a ranking that takes the place of masks
_MOST_SURE = 32  # of a ranking that is tried before them
FEW_NODES = 1024  # up to which a ranking is refined sooner than masks are learnt


class Start(StrEnum):
    """The nodes that a mask search starts with."""

    ALL = "all"
    ATTRIBUTION = "attribution"  # those that the method of this name proposes
    GREEDY = "greedy"  # the same
    SPEC = "spec"  # those that the specification has


_OFTEN = 4  # runs of each prompt in a step, from which on it takes fewer prompts


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """Settings of a mask search; the defaults are meant to serve every behavior."""

    steps: int = 300
    pairs: int = 16  # contrast pairs of one step; half of them where each is run often
    lr: float = 2e-2
    weight_decay: float = 1e-3
    target: float = 0.07  # nats, loss that the dual variable holds
    backup_weight: float = 0.05  # loss per nat that the complement separates pairs by, in the
    # mean and again for the pair that it separates most; 0: the complement does not run
    gap_share: float = 0.5  # of the claim's max_gap, that a part of the rest may cost
    unlike_share: float = 0.5  # of what may differ inside: attention and correlation
    inside_weight: float = 1.5  # loss per head that attends wholly elsewhere, or no correlation
    pressure: float = 1e-3  # first value of the dual variable, nats per node
    gain: float = 0.05  # speed of the dual variable
    # tau at the start lies between the first and the sum of both. Were all the same, as in the
    # paper, all nodes would reach zero at once while the loss is still flat, and a chain of nodes
    # that is cut in two places gives none of them a gradient to come back by.
    start: float = 0.1
    spread: float = 0.9

    def pairs_of(self, runs: int) -> int:
        """Contrast pairs of a step that runs each prompt so often."""
        return self.pairs if runs < _OFTEN else max(1, self.pairs // 2)


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Settings of one search; the defaults are meant to serve every behavior."""

    method: Method = Method.MASKS
    start: Start = Start.ALL  # of the masks; their controls always start with all nodes
    most_ranked: int | None = None  # nodes that a ranking begins with; None: all that it takes
    sure: bool = False  # whether a ranking leads nowhere where no beginning of it is good enough
    masks: MaskPlan = field(default_factory=MaskPlan)
    seed: int = 0
    seeds: int = 1  # mask searches of each behavior, in one batch
    rounds: int = 4  # of the exchange of nodes
    edges: bool = True  # whether the edges that are not needed are left out
    controls: bool = True  # whether the same search runs where there is nothing to find
    exhaust: bool = False  # whether backups of the circuit are searched for
    rivals: bool = False  # whether other circuits are, that meet the same demands
    certify: bool = False  # whether smaller circuits are tried one by one, and subsamples asked
    calibrate: bool = False  # whether the circuit is calibrated at the end
    evaluation_pairs: int = 64
    # Stricter than the claims: their bounds leave room for the prompts that were not seen, and a
    # harmless update (a cast to bfloat16, say) moves the loss by some hundredths of a nat.
    loss_share: float = 0.6  # of the claim's max_loss
    rate_share: float = 0.3  # of the misses that the claim's rate allows
    left_share: float = 0.5  # of what the claim's max_rate allows above chance
    whole_share: float = 0.85  # of both, where the claim sees all prompts there are
    separation_share: float = 0.6  # of the margin of the laws
    gap_share: float = 0.92  # of the claim's max_gap; its bound is asked, as on the claim's pairs
    correlation_share: float = 0.75  # of what the claim's min_correlation leaves to one
    attention_share: float = 0.6  # of the claim's max_attention, whose bound is as wide

    def learnt_from(self, runs: int, *, controls: int) -> int:
        """Prompts, forwards and backwards, that masks are learnt from, those of controls too.

        runs: of each prompt, in a step. What comes after hangs on how many nodes they leave.
        """
        masks, of_control = self.masks, self.controls * controls * self.masks.pairs_of(1)
        return masks.steps * self.seeds * 2 * (masks.pairs_of(runs) * runs + of_control)

    def eased(self) -> PrunePlan:
        """What the claims ask for, but for the prompts that were not seen.

        It is for parts of a circuit that do nothing where it runs alone: they are kept where a
        claim needs them, and not where this search's own room does.
        """
        return replace(
            self,
            evaluation_pairs=2 * self.evaluation_pairs,
            rate_share=0.5,
            left_share=0.6,
            separation_share=0.9,
            gap_share=0.96,
            correlation_share=0.9,
            attention_share=0.8,
        )

    def by_ranking(self) -> PrunePlan:
        """The search that begins again with a ranking, where masks led to no circuit.

        Masks may keep one path of two, and refinement adds no path that takes several nodes at
        once. A ranking has the nodes of both at its top, or is of no use: many nodes hold slowly.
        """
        return replace(self, method=Method.ATTRIBUTION, most_ranked=_MOST_RANKED)

    def by_sure_ranking(self) -> PrunePlan:
        """The search that comes before masks where circuits hold whatever of the rest is ablated.

        Masks learn against parts of the rest for a minute. Where a few nodes at the top of a
        ranking are good enough, which is seen in seconds, nothing has to be learnt.
        """
        return replace(self, method=Method.ATTRIBUTION, most_ranked=_MOST_SURE, sure=True)

    def nodes_alone(self) -> PrunePlan:
        """The search for nodes, for nothing that comes after them, and by masks where it was sure.

        What is searched for beside a circuit, of other nodes, is at the top of no ranking.
        """
        method, most = (Method.MASKS, None) if self.sure else (self.method, self.most_ranked)
        return replace(
            self,
            method=method,
            most_ranked=most,
            sure=False,
            start=Start.ALL,
            edges=False,
            controls=False,
            exhaust=False,
            rivals=False,
            certify=False,
            calibrate=False,
        )

    def calibrated(self) -> PrunePlan:
        """The search for circuits that are calibrated: they may be less sure before."""
        masks = replace(self.masks, target=0.16)
        return replace(self, masks=masks, loss_share=1.5, calibrate=True)

    def sufficient_only(self) -> PrunePlan:
        """The search that does not ask whether the model needs what it finds."""
        masks = replace(self.masks, backup_weight=0.0)
        return replace(self, masks=masks, left_share=inf, separation_share=inf)
