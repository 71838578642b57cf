"""Opens every page that genner writes, with hostile texts, in a browser: does a script run, does a page open quickly?

    python benchmarks/browser.py [--browser chromium] [--out browser.json]

A hostile text, label, id, model name, corpus name, problem and answer each try to set a mark on the page: by a script,
an event, a link, a style, a comment that is closed. The pages are those of `genner extract --html`, `genner evaluate
--html` and `genner report`. Each is opened in a headless browser, and the resulting DOM is checked: no mark, no element
that could run something, every text unchanged. Two controls show that the test can fail: the same texts unescaped set
the mark, and unescaped under the page's own policy they do not. Then pages of 500 documents are timed. Without a
browser the script says so and ends with 0.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from html import unescape
from pathlib import Path

from genner.document import Document, Entity, Label, LabelSet, Prediction, Problem
from genner.evaluation import analyse
from genner.evaluation.taxonomy import ERROR_KINDS
from genner.render.errors import error_page
from genner.render.page import html_page
from genner.report.html import html
from genner.report.plots import label as plot_label
from genner.report.plots import legend, panels
from genner.report.table import (
    CellEntry,
    Column,
    ErrorExample,
    ErrorExamples,
    Figure,
    Listing,
    Missing,
    Section,
    StudyReport,
    Table,
    TableRow,
    TableText,
    Value,
)

MARK = "document.documentElement.setAttribute('data-ran','1')"
HOSTILE = [
    f"<script>{MARK}</script>",
    f'"><img src=x onerror="{MARK}">',
    f'\'><img src=x onerror="{MARK}">',
    f'<svg onload="{MARK}"></svg>',
    f"</style><script>{MARK}</script>",
    f"</script><script>{MARK}</script>",
    f"</title><script>{MARK}</script>",
    f"--><script>{MARK}</script><!--",
    f"]]><script>{MARK}</script>",
    f'<iframe srcdoc="<script>parent.{MARK}</script>"></iframe>',
    f'<a href="javascript:{MARK}" autofocus onfocus="{MARK}">x</a>',
    f'<details open ontoggle="{MARK}">',
    f"<body onload={MARK}>",
    f"<math><mtext></mtext><script>{MARK}</script></math>",
    f"javascript:{MARK}",
    "{{constructor.constructor('" + MARK.replace("'", '"') + "')()}}",
    "${" + MARK + "}",
    "<base href='https://example.invalid/'><meta http-equiv=refresh content='0;url=https://example.invalid/'>",
    "<link rel=stylesheet href=https://example.invalid/x.css><style>*{display:none}</style>",
    "\u202egnol\u202c \x00 \x1b]0;x\x07 \u2028 &lt;script&gt; &#60;",
]
FORBIDDEN = re.compile(
    r"<(?:script|iframe|img|object|embed|base|link|form|math)\b|\son[a-z]+\s*=|http-equiv=[\"']?refresh", re.IGNORECASE
)


def entity(text: str, label: str) -> Entity:
    return Entity(0, len(text), label, 0.5)


def extract_page(texts: list[str]) -> str:
    labels = LabelSet(tuple(Label(f"L{i}", t, t) for i, t in enumerate(texts)))
    found = [Prediction(t, (entity(t, t), Entity(0, 1, "other")), t, (Problem("invalid", t),)) for t in texts]
    return html_page(found, title=texts[0], notes="\n".join(texts), attributions={t: t for t in texts}, labels=labels)


def errors_page(texts: list[str]) -> str:
    gold = [Document(t, (entity(t, t),), t) for t in texts]
    pred = [Document(t, (entity(t, f"{t} "), Entity(0, 1, "other")), t) for t in texts]
    return error_page(analyse(gold, pred).cases, title=texts[0], notes="\n".join(texts), kinds=ERROR_KINDS)


def report_page(texts: list[str]) -> str:
    sections, cells = [], []
    for i, t in enumerate(texts):
        table = Table(
            f"t{i}", t, (t,), (Column(t, t), Column(t, text=True)),
            (TableRow((t,), (Value(0.5, part=t, mark=t, cells=(t,)), TableText(t)), t),
             TableRow((t,), (Missing("failed", (t, "b"), t), TableText(t, code=True)), t)), t, (t,),
        )  # fmt: skip

        def draw(drawing: object, t: str = t) -> None:
            (axes,) = panels(drawing, [t])
            bar = axes.bar([0], [1])
            axes.set_xticks([0], [plot_label(t)])
            legend(drawing, {t: bar})

        document = Document(t, (entity(t, t),), t)
        example = ErrorExample("missed", t, t, document, document, (t,), (t,))
        figure = Figure(f"f{i}", t, (t,), ((t,),), draw, (3, 2), t, t)
        sections.append(Section(f"s{i}", t, (t, Listing((t,)), table, figure, ErrorExamples(t, t, (example,)))))
        cells.append(CellEntry(t, t, "done", ((t, t),), t, "E1"))
    versions = {"E1": {t: t for t in texts}}
    return html(StudyReport(texts[0], tuple(texts), tuple(sections), tuple(cells), versions))


class Browser:
    """A headless browser; `open` returns the page after all scripts have run, and the seconds taken."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder, self._n = program, folder, 0

    def open(self, page: str) -> tuple[str, float]:
        self._n += 1
        path = self._folder / f"{self._n}.html"
        path.write_text(page, encoding="utf-8", errors="surrogatepass")
        begun = time.monotonic()
        done = subprocess.run(
            [
                self._program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run",
                f"--user-data-dir={self._folder / f'profile-{self._n}'}", "--virtual-time-budget=2000", "--dump-dom",
                path.as_uri(),
            ],
            capture_output=True, timeout=300, check=True,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace"), time.monotonic() - begun


def ran(dom: str) -> bool:
    return re.search(r"<html[^>]*data-ran", dom) is not None


def unescaped(texts: list[str], policy: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{policy}<title>x</title></head><body>{' '.join(texts)}</body></html>"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = [args.browser] if args.browser else ["chromium", "chromium-browser", "google-chrome", "chrome"]
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        print(f"skipped: there is no browser here (looked for {', '.join(names)}); apt-get install chromium")
        return 0
    record: dict[str, object] = {"hostile texts": len(HOSTILE)}
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(program, Path(folder))
        (policy,) = re.findall(r"<meta http-equiv[^>]*>", extract_page(["some text"]))
        if not ran(browser.open(unescaped(HOSTILE))[0]):
            faults.append("the control without a policy did not run: this trial shows nothing")
        if ran(browser.open(unescaped(HOSTILE, policy))[0]):
            faults.append("the policy of the pages did not stop an unescaped text")
        for name, page in (("extract", extract_page), ("evaluate", errors_page), ("report", report_page)):
            dom, seconds = browser.open(page(HOSTILE))
            own = re.sub(r"<script>\nconst examples.*?</script>", "", dom, flags=re.DOTALL)  # its own script
            body = own.partition("<body>")[2]
            tags = re.findall(r"<[^>]*>", body)  # a text's own brackets are escaped, within attributes too
            if ran(dom):
                faults.append(f"{name}: a text ran")
            faults += [f"{name}: an element {tag[:80]}" for tag in tags if FORBIDDEN.match(tag)]
            said = re.sub(r"\s+", "", unescape(re.sub(r"<[^>]*>", "", body)))
            faults += [
                f"{name}: {t[:40]!r} is not there as it was" for t in HOSTILE[:-1] if re.sub(r"\s+", "", t) not in said
            ]
            record[f"{name}: hostile page, bytes and seconds"] = [len(dom), round(seconds, 2)]
        line = "Ada Lovelace met Charles Babbage in London, and wrote to him from Ockham Park. " * 4
        marks = (Entity(0, 12, "PER", 0.9), Entity(17, 32, "PER"), Entity(36, 42, "LOC"))
        found = [Prediction(line, marks, f"d{i}") for i in range(500)]
        gold = [Document(line, (Entity(0, 12, "ORG"), Entity(43, 46, "LOC")), d.id) for d in found]
        cases = analyse(gold, found).cases
        for name, text in (
            ("an empty page", html_page([], title="nothing")),
            ("extract: 500 documents", html_page(found, title="500 documents")),
            ("evaluate: 500 documents", error_page(cases, title="500 documents", kinds=ERROR_KINDS, per_cell=500)),
        ):
            record[f"{name}, bytes and seconds"] = [len(text), round(browser.open(text)[1], 2)]
    record["faults"] = faults
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
