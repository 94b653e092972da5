"""`python -m gansweep`, where the console script is not on the path."""

from gansweep.cli.main import main

main()
