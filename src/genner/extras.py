"""How to install what genner does without by default, from where genner itself came."""

import shlex
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout that this package lies in, if it lies in one."""


def install_command(extra: str = "", package: str = "") -> str:
    """The command that installs an extra of genner, or another package, into this very Python.

    genner is on no package index: in a checkout, its extras are installed from there, and it stays editable.
    """
    bin = Path(sys.executable).parent
    pip = shutil.which("pip")
    command = "pip" if pip and Path(pip).parent == bin else f"{shlex.quote(sys.executable)} -m pip"
    if package:
        return f"{command} install {package}"
    if not _is_checkout(ROOT):
        return f"{command} install 'genner[{extra}]'"
    place = "." if Path.cwd() == ROOT else str(ROOT)
    return f"{command} install -e {shlex.quote(f'{place}[{extra}]')}"


def _is_checkout(root: Path) -> bool:
    try:
        return 'name = "genner"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
