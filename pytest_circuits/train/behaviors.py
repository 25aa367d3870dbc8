"""The contrast pairs of the specifications that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pytest_circuits.errors import SpecError, UsageError
from pytest_circuits.model.tokenizer import Tokenizer
from pytest_circuits.prompts.space import Pair, PromptSpace
from pytest_circuits.prompts.tokens import check_prompts
from pytest_circuits.spec.load import LoadedSpec, load_spec
from pytest_circuits.train.config import TrainConfig

LEARNT = 512  # pairs of a behavior that are learnt, where its space has more
_MEASURED_SEED, _LEARNT_SEED = 3, 4


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model in training says about itself, for prompts to be put into its tokens."""

    tokenizer: Tokenizer
    max_tokens: int
    device: torch.device

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)


Behaviors = Mapping[str, Sequence[Pair]]  # by the names of their files


def behaviors(config: TrainConfig, base: Path, tokenizer: Tokenizer | None) -> Behaviors:
    """The pairs on which accuracy is measured.

    tokenizer: None where it is not known yet. Raises UsageError with everything that it makes
    impossible, such as an answer that is not one token, SpecError where a file is wrong by itself.
    """
    plan = config.evaluation
    some = _Asked("evaluation.behaviors", plan.behaviors, plan.prompts // 2, _MEASURED_SEED)
    return some.pairs(config, base, tokenizer)


def learnt(config: TrainConfig, base: Path, tokenizer: Tokenizer | None) -> Behaviors:
    """The pairs that are learnt beside the text; errors as above."""
    if config.pairs is None:
        return {}
    some = _Asked("pairs.behaviors", config.pairs.behaviors, LEARNT, _LEARNT_SEED)
    return some.pairs(config, base, tokenizer)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Files of a configuration's key, and how many pairs of each."""

    key: str
    patterns: Sequence[str]
    count: int
    seed: int

    def pairs(self, config: TrainConfig, base: Path, tokenizer: Tokenizer | None) -> Behaviors:
        loaded = {name: load_spec(path) for name, path in self._found(base).items()}
        asked = {name: self._some(each) for name, each in loaded.items()}
        problems = [
            problem
            for name, each in loaded.items()
            if tokenizer is not None
            for problem in check_prompts(
                each,
                tokenizer.encode,
                max_tokens=config.shape.max_tokens,
                pairs=asked[name],
                decode=tokenizer.token,
            )
        ]
        if problems:
            raise UsageError(
                f"{self.key} cannot be asked with the tokenizer of this run; change them, or leave "
                f"them out:\n{SpecError(*problems)}"
            )
        return asked

    def _found(self, base: Path) -> dict[str, Path]:
        """The files, by the first part of their names.

        Raises UsageError where a pattern matches nothing, or two of them have one name.
        """
        found: dict[str, Path] = {}
        for pattern in self.patterns:
            path = base / pattern
            matches = sorted(path.parent.glob(path.name))
            if not matches:
                raise UsageError(f"{self.key}: {path} matches no specification")
            for match in matches:
                name = match.name.partition(".")[0]
                if found.setdefault(name, match) != match:
                    raise UsageError(
                        f"{self.key}: {found[name]} and {match} have the same name; their figures "
                        "could not be told apart"
                    )
        return found

    def _some(self, loaded: LoadedSpec) -> Sequence[Pair]:
        """So many pairs, or the whole space where that is not more."""
        space = PromptSpace(loaded.spec.behavior)
        if space.size <= self.count:
            return [pair for pair, _ in space.enumerate()]
        return space.sample(self.count, seed=self.seed)
