from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from pytest_circuits.errors import SpecError
from pytest_circuits.spec.load import read_as


class Settings(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    steps: Annotated[int, Field(ge=1)] = 10
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5
    kind: Literal["relu", "gelu"] = "gelu"
    sizes: tuple[int, ...] = ()
    biased: bool = True


def test_any_strict_type_can_be_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("steps: 3\nsizes: [1, 2]\nkind: relu\n", encoding="utf-8")

    assert read_as(path, Settings) == Settings(steps=3, sizes=(1, 2), kind="relu")


def test_the_problems_of_any_type_are_told_like_those_of_a_specification(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "step: 3\nrate: .inf\nkind: relo\nsizes: 3\nbiased: yes\nbiased: no\n", encoding="utf-8"
    )

    with pytest.raises(SpecError) as caught:
        read_as(path, Settings)

    first_lines = [str(problem).splitlines()[0] for problem in caught.value.problems]
    assert first_lines == [
        f"{path}:1:1: unknown key 'step'; did you mean 'steps'?",
        f"{path}:2:7: 'rate' must be a number above 0 and below 1, not the text '.inf'",
        f"{path}:3:7: 'kind' must be one of relu, gelu, not 'relo'; did you mean 'relu'?",
        f"{path}:4:8: 'sizes' must be a list of whole numbers, not the number 3",
        f"{path}:5:9: 'biased' must be true or false, not the text 'yes'",
        f"{path}:6:1: duplicate key 'biased': first given on line 5; keep one",
    ]
