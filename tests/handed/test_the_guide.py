"""The hook that docs/extending.md shows, on a module that is built as it says."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.docs.pages import ROOT, blocks_of
from tests.known_models import quote_copier

PAGE = ROOT / "docs" / "extending.md"
WIDTH, HEADS = 24, 12


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            each(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.q, self.k, self.v)
        )
        later = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        seen: Tensor = self.softmax((q @ k.mT).masked_fill(later, -torch.inf)) @ v
        mixed: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down(self.up(x).relu())
        return down


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn_norm, self.attn = nn.LayerNorm(WIDTH), _Attention()
        self.mlp_norm, self.mlp = nn.LayerNorm(WIDTH), _Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x))
        after: Tensor = x + self.mlp(self.mlp_norm(x))
        return after


class _Theirs(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(vocabulary, WIDTH), nn.LayerNorm(WIDTH)
        self.blocks = nn.Sequential(_Block(), _Block())
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(self.embed(tokens))))
        return logits


def test_the_hook_of_the_guide_hands_over_a_model_that_is_built_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = (b for b in blocks_of(PAGE) if "def pytest_circuits_model" in b.text)
    folder = tmp_path / "my_model"
    folder.mkdir()
    shutil.copy(quote_copier(0).write(tmp_path / "other") / "tokenizer.json", folder)
    project, names = ModuleType("my_project"), dict[str, Any]()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        project.build = lambda _weights: _Theirs(320)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "my_project", project)
        exec(compile(block.text, "conftest.py", "exec"), names)  # noqa: S102  (the page's own)

        handed = names["pytest_circuits_model"](folder, "cpu")

    assert names["pytest_circuits_model"](tmp_path / "other", "cpu") is None
    assert {"0.attn.head", "1.mlp.neuron", "0.resid", "final_resid"} <= {*handed.sites}
