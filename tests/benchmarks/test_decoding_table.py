"""The benchmark's own parts: the table."""

import re
import sys
from pathlib import Path
from typing import Any

from tests.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from peers import report


def entry(row: str, batch: int, ms: float, form: str | None = "inline_xml", **more: Any) -> dict[str, Any]:
    settings = {"sentences": 4, "threads": 1, "dtype": "float32"}
    entry = {"set": "genia", "format": form, "row": row, "about": row, "batch": batch, "ms_per_sentence": ms}
    return {**entry, "passes": 1.0, "computed": 9.0, "peak_mb": None, "runs": ["a"], "settings": settings, **more}


def test_the_table_compares_like_with_like(tmp_path: Path) -> None:
    rows = [
        entry("limit", 1, 100.0),
        entry("limit", 8, 50.0),
        entry("ours", 1, 250.0, f1=70.0),
        entry("ours", 8, 150.0, f1=71.0),
        entry("ours", 16, 200.0, f1=72.0),
        entry("encoder", 8, 25.0, None),
    ]
    named = {f"{row['row']}/{row['batch']}": row for row in rows}
    lines = [re.split(r" *\| *", line)[1:-1] for line in report.table(named).splitlines() if line.startswith("|")]
    assert lines[2:] == [
        ["limit", "100.0", "1.0", "8", "50.0", "1.0", "1.0", "9", "", ""],
        ["ours", "250.0", "2.5", "8", "150.0", "3.0", "1.0", "9", "71.0", ""],
        ["encoder", "", "", "8", "25.0", "0.5", "1.0", "9", "", ""],
    ]
    assert "runs" not in report.table(named)
    named["ours/1"]["runs"] = ["b"]
    assert "rows of 2 runs" in report.table(named)
    report.draw(named, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
