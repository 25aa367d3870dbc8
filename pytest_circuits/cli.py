"""The command line: `pytest-circuits schema`, `train`, `prune`, ...

A command lives in its own module and is imported when it is used, so that `--help` is quick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import pytest_circuits
from pytest_circuits.errors import MISUSED, CircuitsError, StoppedError, UsageError, exit_status

_ABOUT = {  # commands that live in a module of their own
    "convert": "Read published models, and circuits of other tools.",
    "diff": "Say what an update did to the circuits.",
    "history": "Say what changed over versions, from their evidence.",
    "init": "Make a first specification of two prompts.",
    "plan": "Say what claims need and cost before a run.",
    "prune": "Find the circuit of a behavior.",
    "reference": "Measure the activations that ablation uses.",
    "report": "Make the outputs of a run from its evidence.",
    "show": "Print a circuit as a short program, or draw it.",
    "train": "Make a weight-sparse model.",
}
COMMANDS = _ABOUT | {
    "keep": "Keep a prompt that broke a law, under regressions.",
    "schema": "Print the JSON Schema of a specification.",
}  # with what `--help` says of them


class _LazyGroup(click.Group):
    """A group that imports a command when it is run, and lists all without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ABOUT:
            module = import_module(f"pytest_circuits.commands.{cmd_name}")
            self.add_command(getattr(module, cmd_name))
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        *,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401  (click's own signature)
    ) -> Any:  # noqa: ANN401  (the same)
        """Run a command; what a user did wrong is one message and an exit status."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **extra)
        try:
            sys.exit(super().main(args, standalone_mode=False, **extra) or 0)
        except click.ClickException as error:
            error.show()
            sys.exit(MISUSED if isinstance(error, click.UsageError) else error.exit_code)
        except click.Abort:
            click.echo("Aborted.", err=True)
            sys.exit(1)
        except CircuitsError as error:
            stopped = isinstance(error, StoppedError)
            click.echo(f"{error}" if stopped else f"Error: {error}", err=True)
            sys.exit(exit_status(error))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(pytest_circuits.__version__, prog_name="pytest-circuits")
def main() -> None:
    """Make models with small circuits, find the circuits, and gate releases on them.

    The gate itself is pytest: `pytest --circuits`.
    """


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("--json", "is_json", is_flag=True, help="PROMPT is a JSON string, with its escapes.")
def keep(spec: Path, prompt: str, *, is_json: bool) -> None:
    """Append PROMPT to the regressions of SPEC, which always run first.

    Everything else in the file stays as it is. A prompt that is there already is not added again,
    one that does not fit the template is refused.
    """
    from pytest_circuits.spec.write import keep_prompt  # noqa: PLC0415  (only this needs it)

    added = keep_prompt(spec, _json_text(prompt) if is_json else prompt)
    click.echo(f"{spec}: {'kept' if added else 'it is among the regressions already'}")


def _json_text(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, str):
        raise UsageError(f"PROMPT is not a JSON string: {text!r}")
    return value


@main.command()
def schema() -> None:
    """Print the JSON Schema of a specification, for editors."""
    from pytest_circuits.spec.schema import json_schema  # noqa: PLC0415  (as above)

    click.echo(json.dumps(json_schema(), indent=2, sort_keys=True))
