"""Everything that a gate loads, so that gates inside this process find it.

pytester forgets what was first loaded while it ran; the next run would load it again.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from pytest_circuits import claims, gate, report
from pytest_circuits.model.protocol import Model
from pytest_circuits.model.reference_file import check_reference

_LIBRARIES = ("pydantic.type_adapter", "scipy.optimize", "scipy.special")
_CHECKED: set[tuple[str, bytes]] = set()

for room in (claims, gate, report):
    for module in walk_packages(room.__path__, f"{room.__name__}."):
        import_module(module.name)
for name in _LIBRARIES:
    import_module(name)


def check_once(model: Model) -> None:
    """Hold a reference to its model, once a process: of the bundled model it takes seconds."""
    found = model.digest, Path(model.path, "reference.safetensors").read_bytes()
    if found not in _CHECKED:
        check_reference(model)
        _CHECKED.add(found)
