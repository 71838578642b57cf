"""The index of the log of experiments agrees with its headings, and headings of another form are refused."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.places import ROOT


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("log_index", ROOT / "tools" / "log_index.py")
    assert spec
    assert spec.loader
    made = sys.modules["log_index"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


tool = module()
EMPTY = f"# Log\n\n{tool.BEGIN}\n{tool.END}\n\n"
NEWER = "## 2026-11-28: A, b; c? (0123abc, two cores in bf16; not taken)\n\nText.\n\n"
OLDER = "## 2026-11-27: Old (?, machine not noted; taken)\n"


def test_the_index_is_that_of_the_headings() -> None:
    text = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    assert len(tool.entries(text)) > 70
    assert tool.with_index(text) == text, "run `python tools/log_index.py`"


def test_an_index_is_written_from_headings_and_stays() -> None:
    made = tool.with_index(EMPTY + NEWER + OLDER)
    first, second = made.splitlines()[3:5]
    assert first == "- 2026-11-28 [A, b; c?](#2026-11-28-a-b-c-0123abc-two-cores-in-bf16-not-taken): not taken"
    assert second == "- 2026-11-27 [Old](#2026-11-27-old--machine-not-noted-taken): taken"
    assert made.endswith(NEWER + OLDER)
    assert tool.with_index(made) == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("## A heading\n", "is not of the form"),
        ("## 2026-11-28: A (0123abc, two cores)\n", "is not of the form"),
        (OLDER + NEWER, "stands below"),
    ],
)
def test_other_headings_and_another_order_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tool.with_index(EMPTY + text)
