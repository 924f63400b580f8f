"""Runs the command line: `python -m valuestrata`."""

from valuestrata.cli import main

main()
