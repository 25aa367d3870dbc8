"""Whether recorded baselines are of today's release, and of the model the candidate is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_circuits.claims.stable.baseline import RECORD
from pytest_circuits.errors import CircuitsError
from pytest_circuits.gate.state import Gate
from pytest_circuits.model.protocol import Descended
from pytest_circuits.report.run import Circuit
from pytest_circuits.spec.load import load_spec


def warnings(gate: Gate, circuits: Sequence[Circuit]) -> Iterator[str]:
    """One sentence for each baseline model that is old or of another line, and what to do."""
    asked = gate.settings.model
    if asked is None:
        return  # what the specifications name is itself the candidate
    paths = {gate.names.relative(path): path for path in gate.found.specs}
    told: dict[str, list[str]] = {}
    for circuit in circuits:
        baseline = circuit.baseline
        if baseline is None or not baseline.recorded or circuit.is_its_baseline:
            continue
        try:
            loaded = load_spec(paths[circuit.spec])
            model = gate.benches.model(asked.path, loaded.spec.named)
        except CircuitsError:
            continue  # a file was changed while the gate ran
        parent = model.parent if isinstance(model, Descended) else ""
        released = gate.benches.digest_or_nothing(loaded.model_path, loaded.spec.named)
        if released not in {"", baseline.model_digest, circuit.model.digest}:
            text = _old(baseline.model_digest, released)
        elif parent not in {"", baseline.model_digest}:
            text = _of_another_line(baseline.model_digest, parent)
        else:
            continue
        told.setdefault(text, []).append(circuit.name)
    for text, names in told.items():
        yield f"warning: {', '.join(names)}: {text}"


def _old(recorded: str, released: str) -> str:
    return (
        f"the baseline is old: it was recorded from the model {recorded[:12]}, and the "
        f"specification names {released[:12]} today; record it from that one with "
        f"`{RECORD}=changed`, review it, and gate the candidate again"
    )


def _of_another_line(recorded: str, parent: str) -> str:
    return (
        f"the candidate was made from the model {parent[:12]}, and the baseline was recorded from "
        f"{recorded[:12]}: a difference may be older than this update; compare with the model that "
        "it was made from, by --circuits-baseline"
    )
