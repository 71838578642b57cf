"""Where the files are that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
FILES = ROOT / "tests" / "files"
"""Small files that belong to the tests."""
