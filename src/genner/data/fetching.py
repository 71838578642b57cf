"""Fetch the public corpora of the shipped recipes from their publishers and convert them into JSON Lines by split.

`assets/downloads.json` names the files of each corpus, at a fixed commit and with their hashes; the readers of `genner
convert` read them. The package contains no corpus data. For a corpus that may not be fetched, or cannot be read, the
error says how to get it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from genner.data.base import ReadLog
from genner.data.catalog import catalog
from genner.data.corpus import read_corpus
from genner.data.download import download
from genner.data.jsonl import Jsonl
from genner.data.records import stem
from genner.document import Document
from genner.errors import DataError, UnknownNameError
from genner.paths import home


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the web and its hash: SHA-256, or if that is unknown its git blob id."""

    url: str
    sha256: str | None = None
    git: str | None = None

    def fetch(self) -> Path:
        """Fetch the file; returns its local path. Raises `DataError`."""
        parts = urlsplit(self.url)
        path = home() / "downloads" / parts.netloc / parts.path.lstrip("/")
        download(self.url, path, sha256=self.sha256, git=self.git)
        return path


@dataclass(frozen=True, slots=True)
class RemoteSplit:
    """A split: its files in order; `member` is the path within them if they are archives.

    `read` lists readers whose entities are merged (nested entities are in several columns); `{list}` in them is the
    path of the file `list`. `sentences` and `entities` are the published counts. `group` says what the groups are:
    those that the files name, or each file (`file`), or unknown, whatever the files say (`none`).
    """

    files: tuple[Remote, ...]
    read: tuple[str, ...]
    sentences: int
    entities: int
    member: str = ""
    list: Remote | None = None
    group: Literal["", "file", "none"] = ""


@dataclass(frozen=True, slots=True)
class Download:
    """A corpus: its splits, or, `by_hand`, how to get it."""

    name: str
    title: str
    licence: str
    splits: dict[str, RemoteSplit] = field(default_factory=dict)
    by_hand: str = ""
    note: str = ""


@cache
def downloads() -> dict[str, Download]:
    """All corpora that can be fetched, or for which instructions are known, by name."""
    assets = files("genner") / "assets"
    raw = json.loads((assets / "downloads.json").read_text(encoding="utf-8"))
    known = json.loads((assets / "sources.json").read_text(encoding="utf-8"))
    found = dict[str, Download]()
    for name, about in raw.items():
        title, licence = known.get(name, (catalog()[name].title if name in catalog() else name, ""))
        found[name] = Download(
            name,
            title,
            about.get("licence", licence),
            {split: _part(part, about.get("group", "")) for split, part in about.get("splits", {}).items()},
            about.get("by_hand", ""),
            about.get("note", ""),
        )
    for name, corpus in catalog().items():
        if name not in found:
            steps = f"Get it from {corpus.get}; then: genner convert SOURCE {name}/test.jsonl --from {corpus.syntax}"
            found[name] = Download(name, corpus.title, corpus.licence, by_hand=f"{steps}. {corpus.note}")
    return found


def _part(raw: dict[str, Any], group: Literal["", "file", "none"]) -> RemoteSplit:
    sentences, entities = raw["counts"]
    return RemoteSplit(
        files=tuple(Remote(**file) for file in raw["files"]),
        read=tuple(raw["read"]),
        sentences=sentences,
        entities=entities,
        member=raw.get("member", ""),
        list=Remote(**raw["list"]) if "list" in raw else None,
        group=group,
    )


def fetch(name: str, root: Path, say: Callable[[str], None], *, force: bool = False) -> list[str]:
    """Make `root/NAME/SPLIT.jsonl` for each split of a corpus; existing ones are kept, unless `force`.

    Returns the differences from the published counts, empty if there are none.

    Raises `UnknownNameError`; `DataError` for a corpus that cannot be fetched (the message says how to get it), or for
    a file that cannot be fetched.
    """
    if name not in downloads():
        raise UnknownNameError("corpus to fetch", name, downloads())
    corpus = downloads()[name]
    if corpus.by_hand:
        raise DataError(name, f"({corpus.title}; {corpus.licence}) cannot be fetched by genner. {corpus.by_hand}")
    say(f"{corpus.title}; licence: {corpus.licence}" + (f". {corpus.note}" if corpus.note else ""))
    differing, failed = list[str](), list[DataError]()
    for split, part in corpus.splits.items():
        target = root / name / f"{split}.jsonl"
        if target.exists() and not force:
            say(f"{target}: there already, kept; --force makes it anew")
            continue
        try:
            sentences, entities = _make(part, target)
        except DataError as error:  # the other splits may still be available
            say(f"{target}: not made")
            failed.append(error)
            continue
        say(f"{target}: {sentences:,} sentences, {entities:,} entities")
        if (sentences, entities) != (part.sentences, part.entities):
            differing.append(
                f"{target} has {sentences:,} sentences and {entities:,} entities; published are {part.sentences:,} and "
                f"{part.entities:,}"
            )
    if failed:
        raise failed[0]
    return differing


def _make(part: RemoteSplit, target: Path) -> tuple[int, int]:
    """Write a split; returns its number of sentences and entities. `target` appears only when all is written."""
    entities = 0

    def counted() -> Iterator[Document]:
        nonlocal entities
        for document in documents(part):
            entities += len(document.entities)
            yield document

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(str(target.parent), f"cannot be written: {error.strerror or error}") from None
    sentences = Jsonl().write(counted(), target, ReadLog())
    return sentences, entities


def documents(part: RemoteSplit) -> Iterator[Document]:
    """The sentences of a split, fetched file by file."""
    listed = str(part.list.fetch()) if part.list else ""
    for file in part.files:
        file_path = file.fetch()
        place = file_path / part.member
        readings = [read_corpus(place, how.replace("{list}", listed)) for how in part.read]
        for same in zip(*readings, strict=True):
            group = {"": same[0].group, "file": stem(file_path), "none": ""}[part.group]
            together = dict.fromkeys(entity for document in same for entity in document.entities)
            yield Document(same[0].text, tuple(together), same[0].id, group=group)
