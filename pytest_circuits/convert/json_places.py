"""A value of a JSON file that a stranger wrote, and where in the file it stands.

Places are JSON pointers (RFC 6901), such as `/edges/a0.h3->m1/in_graph`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_circuits.errors import ModelError
from pytest_circuits.spec.problems import quoted, visible

_LONG = 120  # characters of a place


@dataclass(frozen=True, slots=True)
class At:
    """A value and its place; what is asked of it and is not so raises ModelError."""

    path: Path
    value: Any
    place: str = ""

    def wrong(self, problem: str) -> ModelError:
        """What is wrong here, to be raised."""
        where = self.place if len(self.place) <= _LONG else f"{self.place[:_LONG]}..."
        return ModelError(f"{self.path}: at {visible(where) or 'its top'}: {problem}")

    def _below(self, key: str | int, value: object) -> At:
        name = str(key).replace("~", "~0").replace("/", "~1")
        return At(self.path, value, f"{self.place}/{name}")

    def get(self, key: str) -> At | None:
        """What an object holds under a key, if it does."""
        inside = self._object()
        return self._below(key, inside[key]) if key in inside else None

    def __getitem__(self, key: str) -> At:
        found = self.get(key)
        if found is None:
            raise self.wrong(f"{quoted(key)} is missing")
        return found

    def entries(self) -> Iterator[tuple[str, At]]:
        """What an object holds, by key."""
        for key, value in self._object().items():
            yield key, self._below(key, value)

    def items(self) -> list[At]:
        """What a list holds."""
        if not isinstance(self.value, list):
            raise self._expected("a list")
        return [self._below(place, value) for place, value in enumerate(self.value)]

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            raise self._expected("true or false")
        return self.value

    def number(self) -> float:
        """A finite number."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._expected("a number")
        if not -1e308 < value < 1e308 or math.isnan(value):
            raise self._expected("a finite number")
        return float(value)

    def count(self) -> int:
        """A whole number that is not negative."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self._expected("a whole number")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self._expected("a text")
        return self.value

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self._expected("an object")
        return self.value

    def _expected(self, what: str) -> ModelError:
        value = self.value
        if isinstance(value, dict | list):
            got = "an object" if isinstance(value, dict) else "a list"
        else:
            got = quoted(value) if isinstance(value, str) else quoted(json.dumps(value)).strip("'")
        return self.wrong(f"expected {what}, got {got}")
