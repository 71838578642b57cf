"""What tells to install something tells a command that works here, in a checkout and in an installed package."""

import re
import sys
from pathlib import Path

import pytest

from genner import extras
from genner.extras import install_command
from tests.places import ROOT


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pip of the path is this Python's."""
    monkeypatch.setattr("shutil.which", lambda name: str(Path(sys.executable).parent / name))


@pytest.mark.usefixtures("pip")
def test_a_checkout_installs_from_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("hf") == "pip install -e '.[hf]'"
    monkeypatch.chdir(tmp_path)
    assert install_command("hf") == f"pip install -e '{ROOT}[hf]'"
    assert install_command(package="wandb") == "pip install wandb"


@pytest.mark.usefixtures("pip")
@pytest.mark.parametrize("other", [None, "name = 'another'", "\xff"])
def test_an_installed_package_names_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: str | None) -> None:
    if other is not None:
        (tmp_path / "pyproject.toml").write_text(other, encoding="latin-1")
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert install_command("hf") == "pip install 'genner[hf]'"


@pytest.mark.parametrize("found", [None, "/usr/bin/pip"])
def test_another_pythons_pip_is_not_taken(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    monkeypatch.setattr("shutil.which", lambda name: found)
    monkeypatch.setattr(sys, "executable", "/a place/bin/python")
    assert install_command(package="wandb") == "'/a place/bin/python' -m pip install wandb"


def test_nothing_tells_to_install_from_an_index_that_lacks_genner() -> None:
    """In code only `extras` knows the command; in docs it is the one of a checkout, and its extras are there."""
    known = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "src").rglob("*.py"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if page.name not in ("extras.py", "log.md"):
            assert "genner[" not in text, page
        for extra in re.findall(r"pip install (?:-e )?'\.\[(\w+)\]'", text):
            assert extra in known, page
