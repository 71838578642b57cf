"""`genner report` on good and bad input."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.report.test_writers import Page
from tests.report_runs import full

Run = Callable[..., tuple[int, str, str]]


def test_everything_is_written(run: Run, tmp_path: Path) -> None:
    full(tmp_path / "runs", 9, formats=("inline_xml", "offset_json"), corpora=("genia",))
    folders = ("--markdown", "md", "--latex", "tex", "--figures", "pictures", "--csv", "csv")
    code, _, err = run("report", "runs", "--out", "page.html", *folders, "--title", "Mine")
    assert (code, err.count("written:")) == (0, 5)
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [v for name in ("href", "xlink:href") for v in page.values(name)]
    assert {link[1:] for link in links} <= set(ids)
    text = " ".join("".join(page.text).split())
    for said in ("Mine", "out of memory", "https://example.org", "waiting", "genner assess study.toml --only score-"):
        assert said in text
    names = {path.stem for path in (tmp_path / "pictures").glob("*.svg")}
    assert names == {path.stem for path in (tmp_path / "pictures").glob("*.png")}
    assert names == {path.stem for path in (tmp_path / "md" / "figures").glob("*.png")}
    assert {f"figure-{name}" for name in names} <= {path.stem for path in (tmp_path / "csv").glob("*.csv")}
    assert {f"figure-{name}" for name in names} <= set(ids)
    tables = {path.stem for path in (tmp_path / "csv").glob("*.csv")} - {f"figure-{name}" for name in names}
    assert tables | {"report"} == {path.stem for path in (tmp_path / "tex").glob("*.tex")}
    assert tables | {"report", "cells"} == {path.stem for path in (tmp_path / "md").glob("*.md")}
    assert {f"table-{name}" for name in tables} <= set(ids)


def test_wrong_use(run: Run, tmp_path: Path) -> None:
    code, _, err = run("report", "gone", "--out", "x.html")
    assert code == 2
    assert "gone" in err
    (tmp_path / "empty").mkdir()
    code, _, err = run("report", "empty", "--out", "x.html")
    assert code == 1
    assert "holds no cells" in err
    code, _, err = run("report", "empty")
    assert code == 2
    assert "--out" in err
    assert not (tmp_path / "x.html").exists()


def test_help_draws_nothing() -> None:
    program = "import sys, genner.report, genner.cli; print({'matplotlib', 'torch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
