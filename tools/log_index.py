"""Write the index at the top of docs/log.md from the headings below it.

    python tools/log_index.py            # write it; fill in the commit of entries whose commit is still `?`
    python tools/log_index.py --check    # say what is wrong, and exit with 1

A heading is `## DATE: TITLE (COMMIT, MACHINE; VERDICT)`: the commit that brought the entry, the kind of machine as the
entry tells it ("machine not noted" where it does not), and a verdict of a few words. Entries stand newest first.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LOG = Path(__file__).parent.parent / "docs" / "log.md"
BEGIN, END = "<!-- index: written by tools/log_index.py -->", "<!-- end of index -->"
HEADING = re.compile(r"## (\d{4}-\d\d-\d\d): (.+) \(([0-9a-f]{7}|\?), ([^;()]+); ([^;()]+)\)")
FORM = "## DATE: TITLE (COMMIT, MACHINE; VERDICT)"


@dataclass(frozen=True)
class Entry:
    """A heading of the log; `commit` is `?` while it is not known."""

    date: str
    title: str
    commit: str
    machine: str
    verdict: str

    @property
    def heading(self) -> str:
        return f"{self.date}: {self.title} ({self.commit}, {self.machine}; {self.verdict})"

    @property
    def index_line(self) -> str:
        return f"- {self.date} [{self.title}](#{anchor(self.heading)}): {self.verdict}"


def anchor(heading: str) -> str:
    """What a heading is linked by, on the site and on most hosts of repositories."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def entries(text: str) -> list[Entry]:
    """The headings of the log. Raises `ValueError` for one of another form, and where they are not newest first."""
    found = []
    for line in text.splitlines():
        if line.startswith("## "):
            if not (match := HEADING.fullmatch(line)):
                raise ValueError(f"heading {line!r} is not of the form {FORM!r}")
            found.append(Entry(*match.groups()))
    for newer, older in pairwise(found):
        if newer.date < older.date:
            raise ValueError(f"{older.title!r} of {older.date} stands below {newer.title!r} of {newer.date}")
    return found


def with_index(text: str) -> str:
    """The log with the index that belongs to its headings. Raises `ValueError` as `entries` does."""
    head, rest = text.split(BEGIN)
    index = "\n".join(entry.index_line for entry in entries(text))
    return f"{head}{BEGIN}\n{index}\n{END}{rest.split(END, 1)[1]}"


def with_commits(text: str) -> str:
    """The log with the commits that brought the entries whose commit is not known; one not committed yet stays."""
    for entry in entries(text):
        if entry.commit == "?":
            sought = f"## {entry.date}: {entry.title} ("
            command = ["git", "log", "--reverse", "--format=%h", "--abbrev=7", f"-S{sought}", "--", str(LOG)]
            commits = subprocess.run(command, cwd=LOG.parent, check=True, capture_output=True, text=True).stdout.split()
            if commits:
                text = text.replace(f"{sought}?,", f"{sought}{commits[0][:7]},")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    text = LOG.read_text(encoding="utf-8")
    try:
        right = with_index(text if check else with_commits(text))
    except ValueError as error:
        sys.exit(f"{LOG}: {error}")
    if check and right != text:
        sys.exit(f"{LOG}: the index is not that of the headings; run `python tools/log_index.py`")
    if not check:
        LOG.write_text(right, encoding="utf-8")


if __name__ == "__main__":
    main()
