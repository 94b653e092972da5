"""Entry point of `python -m gansweep`, for machines on which the console script `gansweep` is not on the PATH."""

from gansweep.cli.main import main

main()
