"""`python -m genner.cli` is `genner`."""

from genner.cli import main

main()
