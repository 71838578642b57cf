"""The cells of one or more runs folders, grouped into the rows and columns of tables.

Cells that differ only in the seed form one group: its score is the mean over the finished seeds. Any other difference
that is not an axis of a table (a rank, a number of steps) becomes part of the system's name, so that two recipes are
never averaged.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genner.assess.folders import StudyFolder
from genner.report.cell_items import CellItem, absence, read_item
from genner.report.paper import TITLES
from genner.report.system_names import name_suffixes
from genner.report.table import Missing
from genner.report.terms import ENCODER, TOOL, decoding_place, decoding_title, format_place
from genner.rivals.tools import TOOLS


@dataclass(frozen=True, slots=True, order=True)
class System:
    """A model, by its name in the study, and its training; `trained` is False for an untuned model, and `through` is
    the probe applied to its training data. `source` is the argument for `genner.load`. For a rival, `rival` says which
    and over which encoder; else it is empty."""

    model: str
    trained: bool
    variant: str = ""
    through: str = ""
    source: str = ""
    rival: str = ""

    @property
    def title(self) -> str:
        if self.rival:
            return f"{self.model}{f' ({self.variant})' if self.variant else ''}"
        trained = f", trained{f' on {self.through}' if self.through else ''}" if self.trained else ""
        return f"{self.model}{trained}{f' ({self.variant})' if self.variant else ''}"


@dataclass(frozen=True, slots=True, order=True)
class TestSet:
    """What is scored: the number of `sentences` (-1: all) of a split of a corpus, with one label set. `file` is their
    source."""

    corpus: str
    split: str
    sentences: int
    labels: str
    file: str = ""

    @property
    def title(self) -> str:
        return TITLES.get(self.corpus, self.corpus)

    @property
    def about(self) -> str:
        """The split, the number of sentences and the labels in words."""
        number = "all sentences" if self.sentences < 0 else f"{self.sentences:,} sentences"
        sample = "the shipped sample" if self.file.startswith("sample:") else ""
        labels = f"labels {self.labels}" if self.labels else ""
        return ", ".join(part for part in (self.split, sample, number, labels) if part)

    @property
    def whole(self) -> bool:
        """Whether this is the whole test split, as far as is known."""
        return self.split == "test" and self.sentences < 0 and not self.file.startswith("sample:")


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The key of a group; `probe` is empty for plain scores, `options` are those of the probe, as JSON."""

    system: System
    format: str
    test: TestSet
    decoding: str
    probe: str = ""
    options: str = ""

    @property
    def heads(self) -> tuple[str, str, str]:
        """Row heads: system, format and decoding."""
        return self.system.title, self.format, decoding_title(self.decoding)

    @property
    def place(self) -> tuple[object, ...]:
        """Sort key for tables: format, then decoding."""
        return format_place(self.format), (decoding_place(self.decoding), self.decoding)


@dataclass(frozen=True, slots=True)
class CellGroup:
    """The cells of one key, one per seed."""

    key: GroupKey
    items: tuple[CellItem, ...]

    @property
    def done(self) -> tuple[CellItem, ...]:
        return tuple(item for item in self.items if item.result)

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(item.id for item in self.done)

    def recorded(self, *path: str) -> list[float]:
        """A metric of each seed that recorded it."""
        return [value for item in self.done if (value := item.metric(*path)) is not None]

    def mean(self, *path: str) -> float | None:
        """The mean of a metric over the seeds that recorded it."""
        found = self.recorded(*path)
        return sum(found) / len(found) if found else None

    @property
    def seeds(self) -> str:
        """`2 of 3 seeds` if some cells have no result yet; `3 seeds` if several have one; else empty."""
        done, all_ = len(self.done), len(self.items)
        return f"{done} of {all_} seeds" if done < all_ else f"{done} seeds" if done > 1 else ""

    def missing(self, note: str = "") -> Missing:
        """Why the group has no number: not defined, for the reason in `note`, or not measured."""
        return Missing("undefined", self.cells, note) if self.done else absence(self.items)

    def trained(self) -> dict[str | None, list[CellItem]]:
        """The finished cells by the training that they use."""
        found: dict[str | None, list[CellItem]] = {}
        for item in self.done:
            found.setdefault(item.description.get("trained"), []).append(item)
        return found


class Collection:
    """All cells of the given runs folders. A cell in several folders is taken from one where it is done."""

    def __init__(self, items: Iterable[CellItem]) -> None:
        self.items: dict[str, CellItem] = {}
        for item in items:
            known = self.items.get(item.id)
            if known is None or (known.result is None and item.result is not None):
                self.items[item.id] = item
        self._names = self._named()
        self._variants = name_suffixes(self.of("score", "probe", "ability"), self.training)
        groups: defaultdict[GroupKey, list[CellItem]] = defaultdict(list)
        for item in self.of("score", "probe"):
            groups[self.key(item)].append(item)
        self.groups: dict[GroupKey, CellGroup] = {key: CellGroup(key, tuple(found)) for key, found in groups.items()}

    @classmethod
    def open(cls, folders: Sequence[Path]) -> "Collection":
        """Read runs folders. A damaged result counts as a failure; a folder without cells raises `DataError`."""
        return cls(read_item(run) for folder in folders for run in StudyFolder.open(folder).runs())

    def of(self, *kinds: str) -> list[CellItem]:
        return [item for item in self.items.values() if item.cell.kind in kinds]

    def scores(self) -> list[CellGroup]:
        """The groups of plain scores."""
        return [group for key, group in self.groups.items() if not key.probe]

    def ordered(self) -> list[CellGroup]:
        """The groups of plain scores, sorted by test set, system, format and decoding."""
        tests = self.tests()
        return sorted(self.scores(), key=lambda g: (tests.index(g.key.test), g.key.system, *g.key.place))

    def probes(self) -> list[CellGroup]:
        return [group for key, group in self.groups.items() if key.probe]

    def tests(self) -> list[TestSet]:
        """The test sets of plain scores, the paper's corpora first."""
        order = list(TITLES)
        found = {group.key.test for group in self.scores()}
        return sorted(found, key=lambda t: (order.index(t.corpus) if t.corpus in order else len(order), t))

    def get(self, key: GroupKey) -> CellGroup:
        """The group of a key; an empty group if there is none."""
        return self.groups.get(key) or CellGroup(key, ())

    def training(self, item: CellItem) -> CellItem | None:
        """The training that a cell uses; None if it uses none, or one outside this collection."""
        return self.items.get(item.description.get("trained") or "")

    def system(self, item: CellItem) -> System:
        trained = item.description.get("trained") is not None
        training = self.training(item)
        through = str(training.description.get("probe") or "") if training else ""
        source = str(item.description.get("model", ""))
        rival = ""
        if "rival" in item.description:
            tool = item.description.get("tool", {})
            over = item.description.get("encoder") or item.description.get("folder") or tool.get("model") or ""
            rival = f"{item.description['rival']}, {over}"
        name = item.cell.model if rival or "system" in item.description else self.name(source)
        return System(name, trained, self._variants.get(item.id, ""), through, source, rival)

    def name(self, source: str) -> str:
        """The name of a model in tables: its name in the study, or else its source."""
        return self._names.get(source, source)

    def _named(self) -> dict[str, str]:
        """The study's name of each model; a name shared by several models is not used."""
        names: dict[str, str] = {}
        for item in self.items.values():
            if item.cell.model and "model" in item.description and "system" not in item.description:
                # A [[system]] has its name, not its model.
                names.setdefault(str(item.description.get("model", "")), item.cell.model)
        return {source: name for source, name in names.items() if [*names.values()].count(name) == 1}

    def key(self, item: CellItem) -> GroupKey:
        d = item.description
        sentences, labels = d.get("sentences"), d.get("labels")
        test = TestSet(
            str(d.get("corpus", "")),
            str(d.get("split") or ""),
            -1 if sentences is None else int(sentences),
            "" if labels is None else labels if isinstance(labels, str) else ",".join(map(str, labels)),
            str(d.get("file") or ""),
        )
        probe = str(d.get("probe") or "")
        options = json.dumps(d["options"], sort_keys=True) if d.get("options") else ""
        format = str(d.get("format", ""))
        if "rival" in d:
            format = TOOL if d["rival"] in TOOLS else ENCODER
        return GroupKey(self.system(item), format, test, str(d.get("decoding", "")), probe, options)
