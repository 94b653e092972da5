"""Entry point of `python -m gansweep.cli`, used if the console script is not on the path."""

from gansweep.cli.main import main

main()
