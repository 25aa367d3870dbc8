"""What of a model a circuit is chosen among: all its sites, or those that its specification names.

Sites of a model may overlap (`model.protocol.Overlapping`): the same signal shows at several of
them. Were all that is not in a circuit ablated at every one, a circuit of heads would have to name
the stream that they are added to. So a specification says of which sort its nodes are.
"""

from __future__ import annotations

from collections.abc import Iterator

from pytest_circuits.circuit.divided import by_place
from pytest_circuits.errors import SpecError
from pytest_circuits.model.protocol import Model, Overlapping, undivided, whole_of
from pytest_circuits.spec.load import LoadedSpec
from pytest_circuits.spec.places import site_of
from pytest_circuits.spec.problems import Problem, listed, quoted, suggest
from pytest_circuits.spec.types import Spec


def in_scope(spec: Spec, model: Model) -> Model:
    """The model with the sites that a specification is about, divided by places that it names.

    Raises SpecError where that cannot be, which `check_scope` has told with its line.
    """
    model = undivided(model)
    if not spec.points:
        return by_place(model, spec)
    if not isinstance(model, Overlapping) or not {*spec.points} <= {*model.points}:
        raise SpecError(f"{spec.circuit}: {model.path} has no sites {', '.join(spec.points)}")
    return by_place(model.among(spec.points), spec)


def check_scope(loaded: LoadedSpec, model: Model, *, searched: bool = False) -> Iterator[Problem]:
    """Give what is wrong with the sites that a specification names, or leaves out.

    searched: its nodes are to be found.
    """
    named, by_name = loaded.spec.points, bool(loaded.spec.named)
    if not isinstance(model, Overlapping):
        if named:
            text = "of this model a circuit is always chosen among all hook points"
            yield loaded.problem_at(("sites",), text, "leave 'sites' out", key=True)
        return
    for place, point in enumerate(named):
        if point not in model.points:
            text = f"the model has no sites {quoted(point)}"
            hint = suggest(point, model.points)
            yield loaded.problem_at(("sites", point if by_name else place), text, hint, key=by_name)
    if not named and (searched or any(loaded.spec.nodes.values())):
        whole = whole_of(model).sites
        named_at = map(site_of, loaded.spec.nodes)
        used = [whole[name].point for name in named_at if name in whole]
        text = (
            "'sites' has to say what the circuit is chosen among: hook points of this model "
            "overlap, and what is not named stays as it is"
        )
        write = f"write 'sites: [{', '.join(dict.fromkeys(used)) or 'attn.head'}]'"
        some = write if used else f"{write}, or others of {listed(model.points)}"
        yield loaded.problem_at(("nodes",), text, some, key=True)
