"""`pytest-circuits plan SPEC`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pytest_circuits.commands import PATH
from pytest_circuits.spec.load import load_spec


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
    pass nearly always. Ends with status 1 where a claim cannot pass with so few prompts.
    """
    loaded = load_spec(spec)
    # What needs torch is imported after the file has been checked.
    from pytest_circuits.claims.lax import lax_of  # noqa: PLC0415
    from pytest_circuits.claims.registry import require_nodes  # noqa: PLC0415
    from pytest_circuits.claims.setup import checked_bench, load_others  # noqa: PLC0415
    from pytest_circuits.model.open import load_model  # noqa: PLC0415
    from pytest_circuits.plan.needs import costs_of, needs_of, seconds_per_prompt  # noqa: PLC0415
    from pytest_circuits.plan.table import plan_lines  # noqa: PLC0415

    require_nodes(loaded)
    place = model_path or loaded.model_path
    model = load_model(place) if model_path or place.is_dir() else None
    needs = needs_of(loaded.spec)
    costs = costs_of(loaded.spec, model, load_others(loaded))
    seconds = seconds_per_prompt(checked_bench(loaded, model)) if model else None
    for line in plan_lines(loaded.spec, needs, costs, lax=lax_of(loaded), seconds=seconds):
        click.echo(line)
    if any(need.is_hopeless for need in needs):
        sys.exit(1)
