"""What a search is asked for, as plain values that other processes are given as they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, slots=True)
class Request:
    """Specifications that are searched together, where each result is written, and the options."""

    specs: tuple[str, ...]
    targets: tuple[str, ...]
    model: str | None
    state: str | None
    device: str | None
    method: str
    start: str
    steps: int
    seed: int
    seeds: int
    sufficient_only: bool
    exhaust: bool
    calibrate: bool
    edges: bool
    controls: bool

    def each(self) -> list[Request]:
        """The same for one specification at a time."""
        both = zip(self.specs, self.targets, strict=True)
        return [replace(self, specs=(spec,), targets=(target,)) for spec, target in both]

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Request:
        """What `to_json` wrote."""
        values = json.loads(text)
        values |= {name: tuple(values[name]) for name in ("specs", "targets")}
        return Request(**values)
