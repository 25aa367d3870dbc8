"""`pytest-circuits plan SPEC`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_circuits.commands import PATH
from pytest_circuits.prune.plan import PrunePlan
from pytest_circuits.spec.load import LoadedSpec, load_spec

if TYPE_CHECKING:
    from pytest_circuits.model.protocol import Model

_BACKWARD = 3  # forwards that one takes with its way back
_CONTROLS = 2  # of a search in a model whose weights can be shuffled


@click.command()
@click.argument("spec", type=PATH)
@click.option(
    "--model",
    "model_path",
    type=PATH,
    help="Measure on this model instead of the one that SPEC names.",
)
def plan(spec: Path, model_path: Path | None) -> None:
    """Say what the claims of SPEC need before they are run: prompts, forwards, time.

    For each claim: whether its rate is shown by proof, over the whole prompt space, or by a sample;
    how many prompts of a sample may go wrong; how many are needed to have a chance at all, and to
    pass nearly always. Where SPEC has no nodes yet: what it costs to find them. Ends with status 1
    where a claim cannot pass with so few prompts.
    """
    loaded = load_spec(spec)
    # What needs torch is imported after the file has been checked.
    from pytest_circuits.claims.lax import lax_of  # noqa: PLC0415
    from pytest_circuits.claims.setup import checked_bench, load_others  # noqa: PLC0415
    from pytest_circuits.model.open import opener  # noqa: PLC0415
    from pytest_circuits.plan.needs import costs_of, needs_of, seconds_per_prompt  # noqa: PLC0415
    from pytest_circuits.plan.table import plan_lines  # noqa: PLC0415

    place = model_path or loaded.model_path
    model = opener()(loaded, place) if model_path or place.is_dir() else None
    needs = needs_of(loaded.spec)
    costs = costs_of(loaded.spec, model, load_others(loaded))
    seconds = seconds_per_prompt(checked_bench(loaded, model)) if model else None
    for line in plan_lines(loaded.spec, needs, costs, lax=lax_of(loaded), seconds=seconds):
        click.echo(line)
    if not any(loaded.spec.nodes.values()):
        click.echo(_pruning(loaded, model, seconds))
    if any(need.is_hopeless for need in needs):
        sys.exit(1)


def _pruning(loaded: LoadedSpec, model: Model | None, seconds: float | None) -> str:
    """What it costs to find the nodes, as far as that is known before; seconds: of a forward."""
    from pytest_circuits.prune.controls import controls_of  # noqa: PLC0415
    from pytest_circuits.prune.subject import demands_of, ranks_nodes  # noqa: PLC0415

    begins = f"no nodes yet; to find them: pytest-circuits prune {loaded.path}: "
    if model and ranks_nodes(loaded.spec, model):
        return begins + (
            "a forward and backward ranks the nodes, and what the ranking says is refined, which "
            "takes the longer the more nodes are needed"
        )
    settings = PrunePlan()
    controls = len(controls_of(model)) if model else _CONTROLS
    prompts = settings.learnt_from(demands_of(loaded.spec, settings).runs, controls=controls)
    time = "" if seconds is None else f" (about {_BACKWARD * seconds * prompts:.2g} s here)"
    return (
        f"{begins}masks are learnt from {prompts:,} prompts, forwards and backwards{time}, in "
        f"{settings.masks.steps} steps; what they leave is refined, which takes the longer the "
        "more nodes they leave"
    )
