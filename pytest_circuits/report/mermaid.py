"""A circuit as a Mermaid graph, which GitHub and GitLab draw where Markdown is shown.

Solid arrows are weights. A dotted one leads from a channel of the residual stream that a sublayer
writes to every later node that reads the same channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_circuits.report.run import Drawing

_NODE = re.compile(r"(?P<hook>.*)\[(?P<channel>\d+)\]")
_WRITES, _READS = ".resid_delta", (".act_in", "final_resid")


def mermaid(drawing: Drawing) -> str:
    """The source of the graph."""
    names = {node: f"n{place}" for place, node in enumerate(drawing.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {name}["{_label(node)}"]' for node, name in names.items()]
    lines += [f"  {names[start]} --> {names[end]}" for start, end in drawing.edges]
    lines += [f"  {names[start]} -.-> {names[end]}" for start, end in _stream(drawing)]
    return "\n".join(lines)


def _stream(drawing: Drawing) -> Iterator[tuple[str, str]]:
    """Pairs of nodes that are joined by one channel of the residual stream."""
    for place, writer in enumerate(drawing.nodes):
        hook, channel = _parts(writer)
        if not hook.endswith(_WRITES):
            continue
        for reader in drawing.nodes[place + 1 :]:
            there, same = _parts(reader)
            if there.endswith(_READS) and same == channel:
                yield writer, reader


def _parts(node: str) -> tuple[str, str]:
    found = _NODE.fullmatch(node)
    return (found["hook"], found["channel"]) if found else (node, "")


def _label(node: str) -> str:
    return re.sub(r"[^\w.\[\] -]", lambda found: f"#{ord(found[0])};", node)
