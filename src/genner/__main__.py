"""`genner`, and `python -m genner`: starts the command line, so that Ctrl-C ends in one line from the first moment on.

Loading the command line takes some tenths of a second, in which nothing else could catch it.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Load and run the command line (see `genner.cli.main`)."""
    try:
        from genner.cli import main as run
    except KeyboardInterrupt:
        print("genner: interrupted before anything was done", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
