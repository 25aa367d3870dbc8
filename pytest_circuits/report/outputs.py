"""What a run can be asked to write: one row for each output, and those of other distributions.

Only pytest and the standard library are needed here; what makes an output is loaded when it is
written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

GROUP = "pytest_circuits.outputs"  # of entry points: name of an output -> an `Output`
RECORD = "report"  # the output that all others are made from


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a run is asked for by `--circuits-NAME FILE`, in the ini file `circuits_NAME`.

    maker: "module:function" of what gives its bytes, from a `run.Run` and a `writing.Target`.
    mark: what only a file holds that a run made, and by which an old one is known and removed.
        None: the file belongs to its owner, and is changed in place.
    """

    about: str  # for `--help`
    maker: str
    mark: bytes | None
    always: bool = False  # also where there is no verdict: it says so
    appends: bool = False  # to $GITHUB_STEP_SUMMARY, once, and so is written last


# In the order of writing: others name the record.
OUTPUTS = {
    RECORD: Output(
        "write the evidence as JSON to FILE",
        "pytest_circuits.report.record:make",
        b'"seconds_by_claim"',
    ),
    "html": Output(
        "write one page for people to FILE, which needs neither scripts nor the network",
        "pytest_circuits.report.html:make",
        b'<meta name="generator" content="pytest-circuits ',
        always=True,
    ),
    "predicate": Output(
        "write an in-toto test-result predicate to FILE, to be signed by others",
        "pytest_circuits.report.predicate:make",
        b'"passedTests"',
        always=True,
    ),
    "metrics": Output(
        "write the numbers as one flat JSON object to FILE",
        "pytest_circuits.report.metrics:make",
        b'"gate.passed"',
    ),
    "sarif": Output(
        "write what does not pass as SARIF 2.1.0 to FILE",
        "pytest_circuits.report.sarif:make",
        b'"circuits/spec"',
        always=True,
    ),
    "model-card": Output(
        "put the results into the model card FILE, and leave all else there as it is",
        "pytest_circuits.report.model_card:make",
        None,
    ),
    "markdown": Output(
        "write a summary in Markdown to FILE; to $GITHUB_STEP_SUMMARY it is appended",
        "pytest_circuits.report.markdown:make",
        b"<sub>pytest-circuits ",
        always=True,
        appends=True,
    ),
}


_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TAKEN = {  # by other settings of the gate
    *OUTPUTS,
    *("model", "baseline", "match", "update", "update-in-ci", "device", "selfcheck"),
    *("annotations", "paths", "require"),
}


@cache
def offered() -> dict[str, EntryPoint]:
    """Outputs of other distributions, by name; none is loaded."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    return {
        entry.name: entry
        for entry in found
        if _NAME.fullmatch(entry.name) and entry.name not in _TAKEN
    }


def names() -> Iterator[tuple[str, str]]:
    yield from ((name, output.about) for name, output in OUTPUTS.items())
    for name, entry in offered().items():
        by = f", by {entry.dist.name}" if entry.dist else ""
        yield name, f"write the output {name} to FILE{by}"
