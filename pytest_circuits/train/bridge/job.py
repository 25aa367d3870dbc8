"""One bridge from configuration to a model directory; it can be stopped at any moment."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_circuits.errors import ModelError
from pytest_circuits.model.checkpoints import Checkpoint, save
from pytest_circuits.model.huggingface import directory
from pytest_circuits.model.huggingface.adapter import HuggingFaceModel
from pytest_circuits.model.reference_file import measure_reference, window_of
from pytest_circuits.system.files import whole_directory, write_atomic
from pytest_circuits.system.stopping import Stop
from pytest_circuits.train.bridge.card import Made, model_card
from pytest_circuits.train.bridge.config import BridgeConfig
from pytest_circuits.train.bridge.dense import matrices_of
from pytest_circuits.train.bridge.held_out import HeldOut, Measured, Text, held_out
from pytest_circuits.train.bridge.sparsify import Kept, Sparsifier, Step
from pytest_circuits.train.course import follow, recent_losses, state_of, taken_up
from pytest_circuits.train.data.corpus import Corpus, prepare
from pytest_circuits.train.run_folder import RunFolder

_REFERENCE_SEED, _REFERENCE_WINDOWS = 1, 128  # whatever the seed of the run
# What else of a directory belongs to the model and holds no weights.
_WITH_IT = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json", "LICENSE"),
)


@dataclass(slots=True)
class Job:
    """A bridge and all that it is made of."""

    config: BridgeConfig
    folder: RunFolder
    corpus: Corpus
    text: Text
    held_out: HeldOut
    dense: Measured
    bound: float  # nats per token
    sparsifier: Sparsifier
    recent: deque[float]

    def run(self, stop: Stop) -> Kept:
        """Go to the end; returns the sparsest weights that met the bound.

        Raises StoppedError when a signal came, with all saved; ModelError where no weight could go.
        """
        config = self.config
        with directory.quiet():
            follow(
                self,
                config,
                stop,
                about="making sparse",
                folder=self.folder.path,
                measured_every=config.evaluation.every,
                recent=self.recent,
                tokens=config.batch * config.max_tokens,
            )
        kept = self.sparsifier.kept
        if kept is None or kept.weights == self.sparsifier.size:
            raise ModelError(
                f"{self.folder.out}: not written: no weight could go within {self.bound:.3g} nats "
                "per token; raise max_rise or steps, lower optimizer.lr, or measure more often "
                "(evaluation.every)"
            )
        return kept

    @property
    def done(self) -> int:
        return self.sparsifier.done

    def step(self, *, asked_to_stop: Callable[[], bool]) -> Step:
        return self.sparsifier.step(asked_to_stop=asked_to_stop)

    def told(self, step: Step) -> str:
        return f"rise {step.rise:.3f} of {self.bound:.3f}  density {step.density:.4f}"

    def figures(self, step: Step) -> dict[str, float]:
        return {
            "loss": step.loss,
            "rise": step.rise,
            "gradient_norm": step.gradient_norm,
            "density": step.density,
            "lr": step.lr,
        }

    def measure(self) -> Measured:
        """Measure on held-out text; weights that meet the bound are kept."""
        measured = self.held_out.measure(self.sparsifier.module)
        self.sparsifier.keep(measured, within=measured.rise(self.dense) <= self.bound)
        return measured

    def summary(self, measured: Measured) -> tuple[str, dict[str, Any]]:
        weights = self.sparsifier.weights
        told = "within" if measured.rise(self.dense) <= self.bound else "above"
        line = (
            f"{weights:,} weights, held-out loss {measured.loss:.4f} "
            f"({measured.loss - self.dense.loss:+.4f}), divergence {measured.divergence:.4f}: "
            f"{told} the bound"
        )
        kept = {"held_out_loss": dict(measured.losses), "divergence": measured.divergence}
        return line, kept | {"nonzeros": weights}

    def save(self) -> None:
        found = self.sparsifier.state()
        state = {**found.state, **state_of(self.corpus, self.recent)}
        checkpoint = Checkpoint(found.step, found.tensors, state)
        save(self.folder.path, checkpoint, keep=self.config.checkpoints.keep)

    def write(self, kept: Kept, *, command: str) -> None:
        """Write the model directory, which appears whole or not at all."""
        dense, out = self.sparsifier.dense, self.folder.out
        module = deepcopy(dense.module)
        weights = dict(module.named_parameters())
        with torch.no_grad():
            for name, tensor in kept.tensors.items():
                weights[name].copy_(tensor)
        counts = {
            name: (int(weights[name].count_nonzero()), weights[name].numel())
            for name in matrices_of(dense)
        }
        with whole_directory(out) as unfinished:
            with directory.quiet():
                module.save_pretrained(unfinished)
            for name in _WITH_IT:
                if (dense.path / name).is_file():
                    shutil.copyfile(dense.path / name, unfinished / name)
            model = directory.load(unfinished, device=dense.device)
            windows = self.text.rows(
                "training",
                seed=_REFERENCE_SEED,
                step=0,
                count=_REFERENCE_WINDOWS,
                length=min(window_of(model), self.config.max_tokens),
            )
            measure_reference(model, windows.cpu())
            made = Made(
                dense=dense,
                before=self.dense,
                kept=kept,
                size=self.sparsifier.size,
                nonzeros=counts,
                sources=self.corpus.sources,
                reference=(
                    f"mean activations over {len(windows)} windows of {windows.shape[1]} tokens of "
                    "the training mixture"
                ),
            )
            card = model_card(self.config, made, name=out.name, command=command)
            write_atomic(unfinished / "README.md", card.encode())

    def outcome(self, kept: Kept) -> str:
        """One line about what was made."""
        size, after = self.sparsifier.size, kept.measured
        return (
            f"{kept.weights:,} of {size:,} weights of the layers are left "
            f"({kept.weights / size:.2%}), held-out loss {after.loss:.3f}, "
            f"{after.loss - self.dense.loss:+.3f} on the dense model's"
        )


def prepared(
    config: BridgeConfig, folder: RunFolder, dense: HuggingFaceModel, *, base: Path
) -> Job:
    """A bridge at its beginning, or at the newest checkpoint that its folder holds.

    Raises ModelError where the dense model has no room below `max_loss` itself.
    """
    corpus = prepare(config.data, folder.tokens, base=base)
    text = Text(corpus, dense.prefix, dense.device)
    corpus.training.check(config.max_tokens + 1)
    found = held_out(dense, text, config)
    with directory.quiet():
        before, bound = found.measure(dense.module), config.max_rise
    if config.max_loss is not None and before.loss >= config.max_loss:
        raise ModelError(
            f"{dense.path}: loses {before.loss:.3f} nats per token of held-out text as it is, and "
            f"max_loss is {config.max_loss:g}; raise it, leave it out, or take text that the model "
            "knows"
        )
    if config.max_loss is not None:
        bound = min(bound, config.max_loss - before.loss)
    sparsifier = Sparsifier(dense, text, config, bound=bound)
    job = Job(config, folder, corpus, text, found, before, bound, sparsifier, recent_losses())

    def restore(checkpoint: Checkpoint) -> None:
        sparsifier.restore(checkpoint)
        job.recent.extend(checkpoint.state["recent"])

    taken_up(folder, corpus, restore, quiet=False)
    return job
