"""Names as paths, and the folder that genner keeps its files in."""

import errno
import os
from pathlib import Path


def home() -> Path:
    """The folder for everything that genner keeps: `$GENNER_HOME`, or `~/.cache/genner`."""
    return expanded(os.environ.get("GENNER_HOME") or "~/.cache/genner")


def expanded(name: str) -> Path:
    """The path of a name, with the home folder for `~`; `~nobody` is a name like any other."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def is_path(name: str) -> bool:
    """Whether there is a file or folder of this name. Raises `OSError` where that cannot be told."""
    try:
        return expanded(name).exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise
