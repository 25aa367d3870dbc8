"""Specifications: YAML to frozen types, every problem at its line; imports no torch, no pytest."""

from __future__ import annotations

from pytest_circuits.spec.bounded_yaml import parse_yaml, read_yaml
from pytest_circuits.spec.keep import keep_prompt
from pytest_circuits.spec.load import LoadedSpec, load_spec, parse_spec, spec_digest
from pytest_circuits.spec.problems import Problem, quoted, suggest, visible
from pytest_circuits.spec.schema import json_schema
from pytest_circuits.spec.template import cues
from pytest_circuits.spec.tree import Limits, Tree
from pytest_circuits.spec.typed import read_as
from pytest_circuits.spec.types import (
    WITHOUT_NODES,
    Ablation,
    Ambiguous,
    BehavesClaim,
    Behavior,
    BlindClaim,
    Calibration,
    ChoiceSlot,
    Claims,
    DependsOnClaim,
    FaithfulClaim,
    IntegerSlot,
    MinimalClaim,
    NecessaryClaim,
    Protocol,
    Slot,
    Spec,
    SpecificClaim,
    StableClaim,
    SufficientClaim,
    Undeclared,
    Waiver,
    Waivers,
    WordList,
    WordsSlot,
    edge_ends,
    edge_key,
)
from pytest_circuits.spec.write import dump_spec, scalar_text, write_spec

__all__ = [
    "WITHOUT_NODES",
    "Ablation",
    "Ambiguous",
    "BehavesClaim",
    "Behavior",
    "BlindClaim",
    "Calibration",
    "ChoiceSlot",
    "Claims",
    "DependsOnClaim",
    "FaithfulClaim",
    "IntegerSlot",
    "Limits",
    "LoadedSpec",
    "MinimalClaim",
    "NecessaryClaim",
    "Problem",
    "Protocol",
    "Slot",
    "Spec",
    "SpecificClaim",
    "StableClaim",
    "SufficientClaim",
    "Tree",
    "Undeclared",
    "Waiver",
    "Waivers",
    "WordList",
    "WordsSlot",
    "cues",
    "dump_spec",
    "edge_ends",
    "edge_key",
    "json_schema",
    "keep_prompt",
    "load_spec",
    "parse_spec",
    "parse_yaml",
    "quoted",
    "read_as",
    "read_yaml",
    "scalar_text",
    "spec_digest",
    "suggest",
    "visible",
    "write_spec",
]
