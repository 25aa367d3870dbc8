"""Prompts as trees: what several of them begin with stands once, and is computed once.

What an ablated activation becomes at a token may depend on more than the tokens up to it, on those
of the partner or on the prompt itself. Beginnings are the same where that is the same as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_circuits.circuit.encoding import Batch, Encoder, padded_length
from pytest_circuits.circuit.partners import carried_by_tree
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference import Reference
from pytest_circuits.model.tree import Tree
from pytest_circuits.prompts.space import Prompt
from pytest_circuits.spec.ablations import Given, Kind

Symbol = tuple[int, int]  # a token, and what else tells it from the same one in another prompt

NO_PARTNER = -1  # of a beginning


@dataclass(frozen=True, slots=True)
class Grown:
    """Some prompts as a tree, and all that an ablation needs of them."""

    tree: Tree
    choices: Tensor  # [B, 2] ids of answer and foil
    marks: Tensor  # [P] the partner's beginning that corresponds to each, or a token of the bank
    partners: Tree | None  # the other prompts of the pairs, if they are needed

    @property
    def batch(self) -> Batch:
        """The same prompts padded, one a row."""
        return Batch(self.tree.padded, self.tree.last, self.choices)

    def fill(self, model: Model, reference: Reference, kind: Kind) -> dict[str, Tensor]:
        """What an ablated activation becomes, by site: [D], [1, P, D], or [1, B, D] of prompts."""
        if self.partners is None:
            picks = self.marks[self.tree.ends].cpu()  # where the bank is, whatever the device
            fill = kind.fill(Given(reference, picks=picks))
            by_site = ((name, x if x.dim() == 1 else x.transpose(0, 1)) for name, x in fill.items())
            return {name: x.to(model.device) for name, x in by_site}
        there = self.marks != NO_PARTNER  # [P]
        known = {len(self.marks): there, len(self.choices): there[self.tree.ends]}
        fill = {}
        for name, x in carried_by_tree(model, self.partners).items():
            of_ends = x.shape[1] == len(self.choices)
            found = x if of_ends else x[:, self.marks.clamp(min=0)]
            is_known = known[found.shape[1]][None, :, None]
            fill[name] = torch.where(is_known, found, reference.mean[name].to(x))
        return kind.fill(Given(reference, partner=fill))


@dataclass(frozen=True, slots=True)
class Trees:
    """Makes trees of prompts for one model, and for an ablation or none.

    partners: the ablation needs those. bank: of so many tokens it gives a prompt one; 0: of none.
    """

    encoder: Encoder
    partners: bool = False
    bank: int = 0

    @classmethod
    def of(cls, encoder: Encoder, reference: Reference, kind: Kind) -> Trees:
        bank = 0 if kind.constant else len(next(iter(reference.bank.values())))
        return cls(encoder, kind.from_partner, bank)

    def groups(self, prompts: Sequence[Prompt], *, rows: int) -> Iterator[tuple[list[int], Grown]]:
        """Prompts in trees of at most so many, each with its prompts' indexes."""
        for group in self.encoder.groups(prompts, rows=rows, partners=self.partners):
            growing = _Growing(self)
            for index in group:
                growing.add(prompts[index])
            yield group, growing.grown()

    def blocks(self, prompts: Sequence[Prompt], *, rows: int) -> Iterator[tuple[list[int], Grown]]:
        """The same in trees of a size that depends on a prompt's padded length alone.

        Each has so many prompts, and a quarter of as many beginnings as they may have tokens; what
        is over is padding.
        """
        tokens = self.encoder.tokens
        for group in self.encoder.groups(prompts, rows=len(prompts), partners=self.partners):
            growing, chosen = _Growing(self, rows), list[int]()
            for index in sorted(group, key=lambda index: tokens(prompts[index])):
                if not growing.add(prompts[index]):
                    yield chosen, growing.grown()
                    growing, chosen = _Growing(self, rows), []
                    growing.add(prompts[index])
                chosen.append(index)
            yield chosen, growing.grown()


class _Growing:
    """A tree that prompts are added to; with `rows`, of the size that `Trees.blocks` says."""

    def __init__(self, trees: Trees, rows: int = 0) -> None:
        self._trees, self._encoder = trees, trees.encoder
        self._choices: list[tuple[int, int]] = []
        self._own, self._other = _Beginnings(rows), _Beginnings(rows)

    def add(self, prompt: Prompt) -> bool:
        """Whether there was room for a prompt, which is then in the tree."""
        tokens = self._encoder.partner(prompt) if self._trees.partners else ()
        partner = [(token, 0) for token in tokens]
        other = self._other.path(partner)
        symbols = self._symbols(prompt, other)
        own = self._own.path(symbols)
        if not (self._own.has_room(own) and self._other.has_room(other)):
            return False
        self._own.add(symbols, own)
        self._other.add(partner, other)
        self._choices.append(self._encoder.choices(prompt))
        return True

    def _symbols(self, prompt: Prompt, partner: Sequence[int]) -> list[Symbol]:
        """The tokens of a prompt and what marks them; partner: the beginnings of its partner."""
        tokens, mark = self._encoder.tokens(prompt), 0
        if partner:
            marks = (partner[place] for place in self._encoder.places(prompt))
            return list(zip(tokens, marks, strict=True))
        if self._trees.partners:
            mark = NO_PARTNER
        elif self._trees.bank:
            digest = hashlib.sha256(prompt.text.encode()).digest()
            mark = int.from_bytes(digest[:8]) % self._trees.bank
        return [(token, mark) for token in tokens]

    def grown(self) -> Grown:
        device, partners = self._encoder.model.device, None
        tree, marks = self._own.tree(device)
        if self._trees.partners:
            partners, _ = self._other.tree(device)
        choices = torch.zeros(len(tree.last), 2, dtype=torch.long)
        choices[: len(self._choices)] = torch.tensor(self._choices)
        return Grown(tree, choices.to(device), marks, partners)


class _Beginnings:
    """The beginnings of some sequences of symbols, each of which stands once."""

    def __init__(self, rows: int) -> None:
        self._rows = rows  # 0: as many as there will be
        self._known: dict[tuple[int, Symbol], int] = {}  # (the beginning before it, its last)
        self._symbols: list[Symbol] = []
        self._places: list[tuple[int, int]] = []  # the sequence and place where each stands first
        self._paths: list[list[int]] = []

    def path(self, symbols: Sequence[Symbol]) -> list[int]:
        """The beginnings of a sequence; those that are new are numbered as they will be."""
        path, before = list[int](), NO_PARTNER
        for symbol in symbols:
            before = self._known.get((before, symbol), max(before + 1, len(self._symbols)))
            path.append(before)
        return path

    def has_room(self, path: Sequence[int]) -> bool:
        if not self._rows or not path:
            return True
        most = self._rows * padded_length(len(path)) // 4
        return len(self._paths) < self._rows and max(path) < most

    def add(self, symbols: Sequence[Symbol], path: list[int]) -> None:
        before = NO_PARTNER
        for place, (symbol, beginning) in enumerate(zip(symbols, path, strict=True)):
            if beginning == len(self._symbols):
                self._known[before, symbol] = beginning
                self._symbols.append(symbol)
                self._places.append((len(self._paths), place))
            before = beginning
        self._paths.append(path)

    def tree(self, device: torch.device) -> tuple[Tree, Tensor]:
        """As a tree, and what marks each of its beginnings, [P]."""
        rows = self._rows or len(self._paths)
        length = padded_length(max(1, *map(len, self._paths)))
        size = rows * length // 4 if self._rows else max(len(self._symbols), rows + 1)
        paths, last = torch.zeros(rows, length, dtype=torch.long), torch.zeros(rows).long()
        for row, path in enumerate(self._paths):
            if path:
                paths[row] = torch.tensor([*path, *[path[0]] * (length - len(path))])
                last[row] = len(path) - 1
        known = zip(self._symbols, self._places, strict=True)
        columns = torch.zeros(size, 4, dtype=torch.long)
        found = torch.tensor([[*symbol, *place] for symbol, place in known], dtype=torch.long)
        columns[: len(self._symbols)] = found.view(-1, 4)  # none where no prompt has a partner
        tokens, marks, row_of, depths = columns.to(device).unbind(1)
        places = row_of * length + depths
        return Tree(tokens, depths, paths.to(device), last.to(device), places), marks
