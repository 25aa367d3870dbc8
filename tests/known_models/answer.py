"""A model, a behavior and the one circuit that is the right answer to "which nodes do it?".

What makes a set of nodes the true circuit, under mean ablation:

- Every node of it varies with the prompt or along the text. One that does not (a query that its
  bias alone drives, the constant channel that keeps the norm in place) is the same before and after
  ablation, so that no measurement can tell whether it belongs, and it is left out.
- The nodes of a path stand in series. Most of them *cut* it: without the channel that holds the
  cue, the value, the write, the neuron or the output nothing that varies with the cue arrives.
  The others *aim* a head: without its key (or its query) the head attends evenly, and what arrives
  is the signal divided by the number of tokens, which prompts are long enough to make worthless.
  So any proper subset of a path either carries nothing or carries what a path with its aim removed
  does, and the tests need to try only the subsets that lack a single node.
- What lies outside the path reaches no output: decoys write where nothing reads, what the noise
  reads and writes is noise, the weak copy's effect is far below every bar.
- With two paths the output is their sum. At the bar of the pruner one is not enough (though it
  prefers the answer every time), so that both have to be whole. Were one enough, the smallest
  circuit that is sufficient and necessary would be that one and any single node that cuts the
  other: a right answer to the bar, and a wrong one to the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pytest_circuits.model.open import load_model
from pytest_circuits.model.reference import measure
from pytest_circuits.model.reference_file import save_reference
from pytest_circuits.model.sparse.directory import save_model
from pytest_circuits.model.sparse.gpt import SparseGPT
from tests.known_models.again import write_again
from tests.known_models.copier import Circuit
from tests.known_models.text import ReferenceText

CLAIMS = (
    "  behaves: {rate: 0.98}\n"
    "  sufficient: {rate: 0.95, max_loss: 0.15}\n"
    "  necessary: {max_rate: 0.65}\n"
    "  stable: {max_drop: 0.02}\n"
)


@dataclass(frozen=True, slots=True, eq=False)
class KnownAnswer:
    """One model of one kind; equal kind and seed give equal files and nodes."""

    name: str
    behavior: str  # YAML of the key `behavior`
    nodes: Circuit  # the true circuit, under mean ablation
    paths: tuple[Circuit, ...]  # what it is made of; more than one where there is a backup
    module: SparseGPT
    text: ReferenceText
    protocol: str = "{}"  # of the claims
    other: str = ""  # the same of a second behavior of the model, if it has one

    @property
    def spec(self) -> str:
        """The specification of the behavior with all four claims and no nodes."""
        return self.spec_with({})

    def spec_with(self, nodes: Mapping[str, Sequence[int]]) -> str:
        """The same with a circuit; the model lies beside it in `model/`."""
        listed = "".join(f"\n  {hook}: {list(channels)}" for hook, channels in nodes.items())
        return (
            f"version: 1\ncircuit: {self.name}\nmodel: model\nbehavior:\n{self.behavior}"
            f"ablation: mean\nnodes:{listed or ' {}'}\nclaims:\n{CLAIMS}protocol: {self.protocol}\n"
        )

    def write(self, folder: Path) -> Path:
        """Write the model directory with its tokenizer and reference; returns the folder."""

        def make(folder: Path) -> None:
            card = f"# {self.name}, set by hand\n"
            save_model(folder, module=self.module, tokenizer=self.text.tokenizer, card=card)
            model = load_model(folder)
            save_reference(model, measure(model, self.text.windows))

        content = sha256(self.name.encode())
        for tensor in (self.text.windows, *self.module.state_dict().values()):
            content.update(tensor.numpy().tobytes())
        return write_again(folder, make, content.digest())
