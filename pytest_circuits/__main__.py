"""`python -m pytest_circuits`: the command line, for `torchrun -m pytest_circuits train ...`."""

from pytest_circuits.cli import main

main()
