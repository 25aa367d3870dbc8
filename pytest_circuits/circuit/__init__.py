"""Run a model with nodes ablated, many circuits at once."""

from pytest_circuits.circuit.calibration import calibrated, fit, shift_of
from pytest_circuits.circuit.check import check_circuit
from pytest_circuits.circuit.compiled import CompiledCircuit, compile_circuit
from pytest_circuits.circuit.controls import random_circuits
from pytest_circuits.circuit.edges import Edges, count_edges, edges_of, live_edges
from pytest_circuits.circuit.encoding import Encoder
from pytest_circuits.circuit.family import Family
from pytest_circuits.circuit.nodes import Nodes, all_nodes
from pytest_circuits.circuit.rest import Rest
from pytest_circuits.circuit.run import Runner
from pytest_circuits.circuit.view import WHOLE, View

__all__ = [
    "WHOLE",
    "CompiledCircuit",
    "Edges",
    "Encoder",
    "Family",
    "Nodes",
    "Rest",
    "Runner",
    "View",
    "all_nodes",
    "calibrated",
    "check_circuit",
    "compile_circuit",
    "count_edges",
    "edges_of",
    "fit",
    "live_edges",
    "random_circuits",
    "shift_of",
]
