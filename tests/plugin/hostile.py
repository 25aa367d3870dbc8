"""Runs whose names and texts try to be more than text, and what a reader of Markdown sees."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from markdown_it import MarkdownIt

from pytest_circuits.claims.evidence import Law, Verdict
from pytest_circuits.gate.provenance import glossary
from pytest_circuits.report.run import Place, Refusal, Result, Run, State
from pytest_circuits.show.drawing import Drawing
from pytest_circuits.show.heat import Attends, Carried, Heat
from tests.plugin.test_failure_text import EVIDENCE, EXAMPLE
from tests.plugin.test_summary import BEHAVES, CIRCUIT

NAME = "a|b`c` [x](http://e.vil),file=z::error::<img src=x onerror=y> @team **b** %0A #1"
REASON = "because | of ``` \n\n# Title\n</details><script>z</script>\n::error::x%0A::warning::y"
DRAWING = Drawing(
    nodes=("0.mlp.act_in[3]", "0.mlp.post_act[31]", "0.mlp.resid_delta[7]", "final_resid[7]"),
    edges=(
        ("0.mlp.act_in[3]", "0.mlp.post_act[31]"),
        ("0.mlp.post_act[31]", "0.mlp.resid_delta[7]"),
    ),
    stream=(("0.mlp.resid_delta[7]", "final_resid[7]"),),
)
HEAT = Heat(
    tokens=(("<script>z</script>", "\x1b[1m"), ("\u202e|`", "::error::")),
    rows=(Carried("<b>[3]", ((1.0, -0.5), (0.1, 0.0))),),
    heads=(Attends("</svg>", ((0.5, 0.4), (0.9, 0.0))),),
)
TOLD = replace(EXAMPLE, prompt="```\n</details>|`::error::x", sent=(0.0, -0.4, 8.2, 0.03))
FAILING = replace(EVIDENCE, reason=REASON, law=Law(12, TOLD))
HOSTILE = Run(
    circuits=(
        replace(
            CIRCUIT, name=NAME, spec="circuits/|,`<b>.circuit.yaml", drawing=DRAWING, heat=HEAT
        ),
    ),
    results=(
        replace(BEHAVES, circuit=NAME),
        Result(
            nodeid=f"circuits/x.circuit.yaml::{NAME}::sufficient",
            circuit=NAME,
            evidence=FAILING,
            state=State.RAN,
            place=Place("circuits/|,`<b>.circuit.yaml", 7, 3, "pytest --circuits '|`::error::'"),
        ),
    ),
    refused=("circuits/a,b:c.circuit.yaml",),
    refusals=(Refusal("circuits/a,b:c.circuit.yaml", 3, 5, "unknown key '::error::%0A`|<b>'"),),
    problems=("::error::x @all <b>lies</b> where | `the` gate [looks](http://e.vil) :smile: #12",),
    claims=glossary(),
)


def many_failing(count: int) -> Run:
    """A run of so many circuits, each with one claim that holds and one that does not."""
    circuits, results = [], []
    for number in range(count):
        name = f"circuit_{number:03}"
        circuits.append(replace(CIRCUIT, name=name, drawing=DRAWING))
        results += [
            replace(BEHAVES, circuit=name),
            Result(f"x::{name}::sufficient", name, EVIDENCE, State.RAN),
        ]
    return Run(tuple(circuits), tuple(results), claims=glossary())


def undecided(run: Run) -> Run:
    """The same run, its last claim undecided."""
    *first, last = run.results
    evidence = replace(last.evidence, verdict=Verdict.INCONCLUSIVE)
    return replace(run, results=(*first, replace(last, evidence=evidence)))


def rendered(text: str) -> str:
    """HTML of a text in GitHub's Markdown, as far as the library knows it."""
    found: str = (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    )
    return found


def tags(page: str) -> set[str]:
    """Names of the elements of a page."""
    return set(re.findall(r"<(\w+)", page))


def read(page: str) -> str:
    """What a person reads of a page; characters of no width are not seen."""
    return html.unescape(re.sub(r"<[^>]*>", "", page)).replace("\u200b", "")
