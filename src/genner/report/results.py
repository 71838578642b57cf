"""The cells of one or more runs folders, grouped into the rows and columns of tables.

Cells that differ only in the seed form one group: its score is the mean over the finished seeds. Any other difference
that is not an axis of a table (a rank, a number of steps) becomes part of the system's name, so that two recipes are
never averaged.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genner.assess.records import RECORDS_SCHEMA, Cell, CellFolder, CellResult, CellState, Numbers, StudyFolder
from genner.assess.scoring import scores, strict_anew
from genner.errors import GennerError
from genner.report.paper import TITLES
from genner.report.table import Missing, Why

# Axes of the tables. `seed` is averaged over; everything else in a description distinguishes systems.
_AXES = {
    "model",
    "format",
    "corpus",
    "file",
    "from",
    "split",
    "sentences",
    "labels",
    "decoding",
    "seed",
    "trained",
    "probe",
}
_TASK = {"task", "shots", "limit", "data"}  # the axes of ability


@dataclass(frozen=True, slots=True)
class CellItem:
    """A cell, its state, and its result or the reason why there is none. `strict` has the strict counts of each answer
    if they were recounted because the record is of an earlier version."""

    run: CellFolder
    state: CellState
    result: CellResult | None
    reason: str = ""
    strict: tuple[Numbers, ...] | None = None

    @property
    def cell(self) -> Cell:
        return self.run.cell

    @property
    def id(self) -> str:
        return self.run.cell.id

    @property
    def description(self) -> dict[str, Any]:
        return self.run.cell.description

    def metric(self, *path: str) -> float | None:
        """A number in the result's metrics; None if it is missing."""
        found: Any = self.result.metrics if self.result else None
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


@dataclass(frozen=True, slots=True, order=True)
class System:
    """A model, by its name in the study, and its training; `trained` is False for an untuned model, and `through` is
    the probe applied to its training data. `source` is the argument for `genner.load`."""

    model: str
    trained: bool
    variant: str = ""
    through: str = ""
    source: str = ""

    @property
    def title(self) -> str:
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

    def mean(self, *path: str) -> float | None:
        """The mean of a metric over the seeds that recorded it."""
        found = [value for item in self.done if (value := item.metric(*path)) is not None]
        return sum(found) / len(found) if found else None

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
        self._variants: dict[str, str] = self._tell_apart()
        groups: defaultdict[GroupKey, list[CellItem]] = defaultdict(list)
        for item in self.of("score", "probe"):
            groups[self.key(item)].append(item)
        self.groups: dict[GroupKey, CellGroup] = {key: CellGroup(key, tuple(found)) for key, found in groups.items()}

    @classmethod
    def open(cls, folders: Sequence[Path]) -> "Collection":
        """Read runs folders. A damaged result counts as a failure; a folder without cells raises `DataError`."""
        return cls(_item(run) for folder in folders for run in StudyFolder.open(folder).runs())

    def of(self, *kinds: str) -> list[CellItem]:
        return [item for item in self.items.values() if item.cell.kind in kinds]

    def scores(self) -> list[CellGroup]:
        """The groups of plain scores."""
        return [group for key, group in self.groups.items() if not key.probe]

    def probes(self) -> list[CellGroup]:
        return [group for key, group in self.groups.items() if key.probe]

    def tests(self) -> list[TestSet]:
        """The test sets of plain scores, the paper's corpora first."""
        order = list(TITLES)
        found = {group.key.test for group in self.scores()}
        return sorted(found, key=lambda t: (order.index(t.corpus) if t.corpus in order else len(order), t))

    def title(self, test: TestSet) -> str:
        """The name of a test set: the corpus, and what distinguishes it from other test sets of that corpus."""
        rivals = [t for t in self.tests() if t.corpus == test.corpus and t != test]
        about = test.about if all(t.about != test.about for t in rivals) else f"{test.about}, {test.file}"
        return f"{test.title} ({about})" if rivals else test.title

    def documents(self, test: TestSet) -> int:
        """How many documents of a test set were scored, plain or probed; 0 if none."""
        found = [item.metric("documents") for key, g in self.groups.items() if key.test == test for item in g.items]
        return round(max((n for n in found if n is not None), default=0))

    def count(self, test: TestSet) -> str:
        """`n = 60 documents`."""
        n = self.documents(test)
        return f"n = {n:,} document{'s' * (n != 1)}"

    def about(self, test: TestSet) -> str:
        """What is scored, and the number of documents."""
        return f"{test.about}; {self.count(test)}"

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
        return System(self.name(source), trained, self._variants.get(item.id, ""), through, source)

    def name(self, source: str) -> str:
        """The name of a model in tables: its name in the study, or else its source."""
        return self._names.get(source, source)

    def _named(self) -> dict[str, str]:
        """The study's name of each model; a name shared by several models is not used."""
        names: dict[str, str] = {}
        for item in self.items.values():
            if item.cell.model:
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
        return GroupKey(self.system(item), str(d.get("format", "")), test, str(d.get("decoding", "")), probe, options)

    def _tell_apart(self) -> dict[str, str]:
        """For each cell the suffix of the model's name: a training corpus other than the test corpus, and each setting
        that differs between otherwise equal cells."""
        alike: defaultdict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
        names: dict[str, list[str]] = defaultdict(list)
        for item in self.of("score", "probe", "ability"):
            ability = item.cell.kind == "ability"
            # A probe's inputs other than the documents do not describe the system.
            known = _AXES | (_TASK if ability else {"options", "train", "lexicon"})
            settings = _flat({k: v for k, v in item.description.items() if k not in known})
            training = self.training(item)
            if training:
                about = training.description
                axes = ("format", "seed", "corpus", "model", "probe", "options", "train", "lexicon")
                settings |= _flat({k: v for k, v in about.items() if k not in axes})
                if about.get("corpus") != item.description.get("corpus"):
                    names[item.id].append(f"on {about.get('corpus')}")
                if ability:
                    names[item.id].append(str(about.get("format")))
            settings = {k: v for k, v in settings.items() if k.split(".")[-1] != "seed"}
            same = {
                k: v for k, v in item.description.items() if k in (_AXES | _TASK | {"options"}) - {"seed", "trained"}
            }
            same |= {
                "kind": item.cell.kind,
                "from": names[item.id],
                "trained": item.description.get("trained") is not None,
            }
            same |= {"through": training.description.get("probe") if training else None}
            alike[json.dumps(same, sort_keys=True, default=str)].append((item.id, settings))
        differing = {
            k
            for found in alike.values()
            for k in {k for _, settings in found for k in settings}
            if len({settings.get(k) for _, settings in found}) > 1
        }
        values = {k: {s[k] for found in alike.values() for _, s in found if k in s} for k in differing}
        said = {k: {v: _brief(v) for v in known} for k, known in values.items()}
        # Only where the name distinguishes them: cells with the same name would be averaged.
        said = {k: v if len(set(v.values())) == len(v) else {x: x for x in v} for k, v in said.items()}
        for found in alike.values():
            for id, settings in found:
                names[id] += [
                    f"{k.removeprefix('recipe.')}={said[k][settings[k]]}" for k in sorted(differing & settings.keys())
                ]
        return {id: ", ".join(parts) for id, parts in names.items() if parts}


def absence(items: Sequence[CellItem]) -> Missing:
    """Why there is no number: the most severe state among its cells."""
    order: tuple[Why, ...] = ("failed", "skipped", "running", "waiting")
    for why in order:
        found = [item for item in items if item.state == why]
        if found:
            return Missing(why, tuple(item.id for item in found), found[0].reason)
    return Missing("absent")


def _item(run: CellFolder) -> CellItem:
    try:
        state, result = run.state, run.result
        if state == "done":
            return _up_to_date(CellItem(run, state, result))
        reason = ""
        if state == "failed" and (failure := run.failure):
            reason = f"{failure.error}: {failure.message}"
        elif state == "skipped":
            reason = run.skipped or ""
        return CellItem(run, state, None, reason)
    except GennerError as error:
        return CellItem(run, "failed", None, str(error))


def _up_to_date(item: CellItem) -> CellItem:
    """The item with the strict score of its answers, which records of free answers by an earlier version lack."""
    result = item.result
    if result is None or result.schema >= RECORDS_SCHEMA or result.kind not in ("score", "probe"):
        return item
    try:
        anew = strict_anew(item.run)
    except GennerError:  # the answers are damaged; the report says so where it reads them
        return item
    if not anew or result.metrics.get("strict"):
        return replace(item, strict=tuple(anew) if anew else None)
    return replace(item, result=replace(result, metrics=result.metrics | {"strict": scores(anew)}), strict=tuple(anew))


def _brief(text: str) -> str:
    """The names in a JSON list of named tables (`none` if it is empty); anything else unchanged."""
    if not text.startswith("["):
        return text
    try:
        return "+".join(table["name"] for table in json.loads(text)) or "none"
    except (ValueError, TypeError, KeyError):
        return text


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` as `{"a.b": "1"}`; lists as JSON."""
    found: dict[str, str] = {}
    for key, v in value.items():
        if isinstance(v, Mapping):
            found |= _flat(v, f"{before}{key}.")
        else:
            found[before + str(key)] = v if isinstance(v, str) else json.dumps(v, sort_keys=True, default=str)
    return found
