"""`python -m valuestrata` is the command `valuestrata`."""

from valuestrata.cli import main

main()
