"""The locks are complete, pinned and hashed: what pip installs from them is what was tried."""

import re
import tomllib

import pytest

from tests.places import ROOT

LOCKS = ("requirements.lock", "requirements-train.lock", "requirements-cuda.lock", "requirements-dev.lock")
DOCS = "requirements-docs.lock"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def blocks(name: str) -> dict[str, str]:
    """The entries of a lock by the names of their packages."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M)
    return {plain(block): block for block in re.split(r"^(?=\S)", text, flags=re.M) if block}


def plain(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.mark.parametrize("name", [*LOCKS, DOCS])
def test_every_package_is_pinned_with_hashes(name: str) -> None:
    for package, block in blocks(name).items():
        head, *hashes = block.strip().replace("\\\n", "\n").split("\n")
        assert re.fullmatch(r"[\w.-]+==[^\s;=]+( ; .+)?", head.strip()), package
        assert hashes, package
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line.strip()) for line in hashes), package
        assert len(set(hashes)) == len(hashes), package


def test_locks_hold_what_the_project_asks_for_and_share_nothing() -> None:
    base, train, cuda, dev = (set(blocks(name)) for name in LOCKS)
    extras = PROJECT["optional-dependencies"]
    wanted = {plain(line) for line in PROJECT["dependencies"]}
    running = {plain(line) for key in ("local", "plots", "train") for line in extras[key]} - {"genner"}
    asked = {plain(line) for key in ("spacy", "hf", "tracking", "dev") for line in extras[key]} - {"genner"}
    assert wanted <= base
    assert {"hatchling", "editables"} <= base
    assert running <= train
    assert asked <= base | train | dev
    assert len(base | train | cuda | dev) == len(base) + len(train) + len(cuda) + len(dev)
    assert not [package for package in base | train | dev if package.startswith(("nvidia-", "cuda-", "triton"))]


def test_what_builds_the_documentation_is_locked() -> None:
    assert {plain(line) for line in PYPROJECT["dependency-groups"]["docs"]} <= set(blocks(DOCS))


def test_pytorchs_cpu_builds_are_in_the_lock() -> None:
    """They have another file for the same version, on an index of its own."""
    version = re.search(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert version
    block = blocks("requirements-train.lock")["torch"]
    assert block.startswith(f"torch=={version[1]} ")
    lines = (ROOT / "tools" / "torch-cpu.sha256").read_text(encoding="utf-8").splitlines()
    known = dict(line.split()[::-1] for line in lines if not line.startswith("#"))
    for python in ("cp311", "cp312", "cp313", "cp314"):
        for machine in ("x86_64", "aarch64"):
            name = f"torch-{version[1]}+cpu-{python}-{python}-manylinux_2_28_{machine}.whl"
            assert f"--hash=sha256:{known[name]}" in block, name
