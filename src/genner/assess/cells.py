"""The grid of a study as frozen cells: each has a description, the cells that it depends on, and a hash as its name.

A cell's description holds exactly what its result depends on: no device, no batch size, no path except the name of the
data file. The hash is computed from canonical JSON, so it is the same on every machine, and two studies with the same
cell share its folder.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from genner.assess.records import Cell, CellKind, Json
from genner.assess.rival_entry import (
    RivalEntry,
    encoder_name,
    place_of,
    tool_places,
    tool_settings,
    trained_rival,
)
from genner.assess.study import Study
from genner.assess.study_entries import (
    ContaminationEntry,
    CorpusEntry,
    Filter,
    ModelEntry,
    ProbeEntry,
    RecipeEntry,
    SystemEntry,
)
from genner.contamination import SIGNALS
from genner.errors import UnknownNameError, UsageError
from genner.few_shot.encoders import identity_of
from genner.model_source import ModelSource
from genner.probes import PROBES
from genner.recipe_keys import with_earlier_keys

SPLIT = "test"


def cell_id(kind: CellKind, description: Json) -> str:
    """`<kind>-<12 hexadecimal digits>` of the SHA-256 of kind and description as canonical JSON."""
    written = json.dumps([kind, description], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{kind}-{hashlib.sha256(written.encode('ascii')).hexdigest()[:12]}"


@dataclass(frozen=True)
class _Point:
    """A point of the grid, without the decoding."""

    model: ModelEntry
    recipe: RecipeEntry | None  # None: the model is used without training
    corpus: CorpusEntry
    format: str
    seed: int

    def within(self, only: Filter) -> bool:
        pairs = (
            (only.models, self.model.name),
            (only.recipes, self.recipe.name if self.recipe else None),
            (only.corpora, self.corpus.name),
            (only.formats, self.format),
        )
        return all(not names or name in names for names, name in pairs)

    def name(self, *more: str) -> str:
        parts = [self.model.name, self.recipe.name if self.recipe else "", *more, f"seed {self.seed}"]
        return " ".join(part for part in parts if part)


@dataclass
class _Plan:
    """Cells in the order of creation, each once; a cell's needs come before it."""

    study: Study
    command: Callable[[str], str]
    data: Path
    cells: dict[str, Cell] = field(default_factory=dict)

    def add(
        self,
        kind: CellKind,
        name: str,
        description: Json,
        needs: Iterable[str | None] = (),
        model: str = "",
        places: dict[str, str] | None = None,
    ) -> str:
        plain = json.loads(json.dumps(description))  # tuples become lists, as when the file is read again
        recipe = {"recipe": with_earlier_keys(plain["recipe"])} if "recipe" in plain else {}
        id = cell_id(kind, plain | recipe)
        if id not in self.cells:
            wanted = tuple(need for need in needs if need is not None)
            self.cells[id] = Cell(kind, id, name, wanted, plain, self.command(id), model, places or {})
        return id

    def points(self) -> Iterator[_Point]:
        study = self.study
        recipes = {recipe.name: recipe for recipe in study.recipes}
        for model in study.models:
            trained: list[RecipeEntry | None] = [recipes[name] for name in model.recipes]
            for recipe in [*trained, None] if model.bare or not trained else trained:
                for corpus in study.corpora_of(model.corpora):
                    for format in model.formats or study.formats:
                        for seed in study.seeds:
                            yield _Point(model, recipe, corpus, format, seed)

    def decodings(self, point: _Point) -> tuple[str, ...]:
        return point.model.decodings or self.study.decodings

    def trained(self, point: _Point, probe: ProbeEntry | None = None) -> str | None:
        """The cell that trains the model of a point, on probed data or not; None if the model is not trained."""
        if point.recipe is None:
            return None
        recipe = point.recipe.recipe(point.model.source, {point.format: 1.0}, point.corpus.training, point.seed)
        form = "+".join(sorted(recipe.formats))
        description: Json = {
            "model": point.model.source,
            "format": form,
            "recipe": recipe.to_dict(),
            "corpus": point.corpus.name,
            "seed": point.seed,
            "limits": point.recipe.limits,
        }
        if recipe.start is not None:
            start = ModelSource.find(recipe.start)
            description["start"] = start.digest if start else "none"  # its name alone does not identify it
        if probe is not None:
            description |= {"probe": probe.source, "options": probe.options, **_sources(probe, point.corpus)}
        name = point.name(form, point.corpus.name, probe.name if probe else "")
        return self.add("train", name, description, model=point.model.name)

    def score(self, point: _Point, decoding: str) -> None:
        trained = self.trained(point)
        # A model that is not trained gives the same answers with every seed, unless decoding samples.
        fixed = trained is None and decoding != "sampled"
        point = replace(point, seed=0) if fixed else point
        name = point.name(point.format, point.corpus.name, decoding)
        self.add("score", name, _scored(point, trained, decoding), [trained], point.model.name)

    def system(self, system: SystemEntry) -> None:
        """The cells of a system, which is not trained. Only random demonstrations depend on the seed."""
        study = self.study
        model = ModelEntry(system.name, system.source)
        settings, places = system.settings, {}
        if system.encoder:  # its name in a cell is the same on any machine
            places = {"encoder": place_of(system.encoder, self.data)}
            settings |= {"encoder": identity_of(places["encoder"])}
        for corpus in study.corpora_of(system.corpora):
            for format in system.formats or study.formats:
                for decoding in system.decodings or tuple(d for d in study.decodings if d != "sampled"):
                    for seed in study.seeds if settings["retrieval"] == "random" else (0,):
                        point = _Point(model, None, corpus, format, seed)
                        description = _scored(point, None, decoding) | {"system": settings}
                        if system.shots:
                            description["train"] = list(corpus.training.train)
                        name = point.name(format, corpus.name, decoding)
                        self.add("score", name, description, (), system.name, places)

    def rival(self, entry: RivalEntry) -> None:
        """The cells of a rival: for each corpus and seed a fitting and a score; a score alone if it is not trained."""
        about: Json
        if entry.folder:
            about = trained_rival(entry.folder, self.data)
            places = {"folder": place_of(entry.folder, self.data)}
        elif not entry.is_fitted:
            about = {"rival": entry.rival, "tool": tool_settings(entry, self.data)}
            places = tool_places(entry, self.data)
        else:
            about = {"rival": entry.rival, "encoder": encoder_name(entry.encoder, self.data)}
            places = {"encoder": place_of(entry.encoder, self.data)}
        for corpus in self.study.corpora_of(entry.corpora):
            for seed in self.study.seeds if entry.is_fitted else (0,):
                name, fitted = f"{entry.name} {corpus.name} seed {seed}", None
                if entry.is_fitted:
                    description = about | entry.training | _training_data(corpus, entry.dev_sentences)
                    fitted = self.add("fit", name, description | {"seed": seed}, (), entry.name, places)
                test = _tested(corpus) | {"trained": fitted, "seed": seed}
                self.add("score", name, about | test, [fitted], entry.name, places)

    def probe(self, point: _Point, decoding: str, probe: ProbeEntry) -> None:
        trained = self.trained(point, probe if probe.train else None)
        description = _scored(point, trained, decoding) | {"probe": probe.source, "options": probe.options}
        if probe.sentences:
            description["sentences"] = probe.sentences
        description |= _sources(probe, point.corpus)
        name = point.name(point.format, point.corpus.name, decoding, probe.name)
        self.add("probe", name, description, [trained], point.model.name)

    def contamination(self, point: _Point, entry: ContaminationEntry) -> None:
        """One check for each model and corpus: a model that is not trained is the same for all formats and seeds."""
        trained = self.trained(point)
        if trained is None:
            wanted = entry.only.formats or point.model.formats or self.study.formats
            point = replace(point, seed=0, format=wanted[0])
        known = trained is None and entry.trained
        corpus = point.corpus
        description: Json = {
            "model": point.model.source,
            "trained": trained,
            "format": point.format,
            "corpus": corpus.name,
            "file": corpus.test,
            "split": SPLIT,
            "sentences": entry.sentences,
            "labels": corpus.labels,
            "signals": list(entry.signals or SIGNALS),
            "train": list(corpus.training.train) if known else [],
            "dev": corpus.training.dev if known or trained else None,
            "seed": point.seed,
            **corpus.syntax,
        }
        name = point.name(point.format, corpus.name, "contamination")
        self.add("contamination", name, description, [trained], point.model.name)


def _scored(point: _Point, trained: str | None, decoding: str) -> Json:
    return {
        "model": point.model.source,
        "trained": trained,
        "format": point.format,
        "decoding": decoding,
        "seed": point.seed,
        **_tested(point.corpus),
    }


def _tested(corpus: CorpusEntry) -> Json:
    """The documents on which a system is scored."""
    return {
        "corpus": corpus.name,
        "file": corpus.test,
        "split": SPLIT,
        "sentences": corpus.sentences or None,
        "labels": corpus.labels,
        **corpus.syntax,
    }


def _training_data(corpus: CorpusEntry, dev_sentences: int) -> Json:
    """The documents on which a rival is trained. Further keys of a corpus are for generative models."""
    given = corpus.training
    return {
        "corpus": corpus.name,
        "train": given.train,
        "dev": given.dev,
        "dev_sentences": dev_sentences or None,
        "labels": corpus.labels,
        "fraction": given.fraction,
        "shots": given.shots,
        "lenient": given.lenient,
        **corpus.syntax,
    }


def _sources(probe: ProbeEntry, corpus: CorpusEntry) -> Json:
    """The files that a probe needs besides the test documents. Raises `UsageError` when the corpus lacks them."""
    if probe.source not in PROBES:
        raise UnknownNameError("probe", probe.source, PROBES)
    given: Json = {"train": list(corpus.training.train), "lexicon": corpus.lexicon or corpus.training.dev}
    needs = PROBES[probe.source].needs
    for need in needs:
        if not given[need]:
            key = "train = ['FILE']" if need == "train" else "lexicon = 'FILE', or a dev file"
            raise UsageError(
                f"[[probe]] {probe.name!r} needs more of [[corpus]] {corpus.name!r}: give that {key}; or name the "
                "probe's 'corpora'"
            )
    return {need: given[need] for need in needs} | corpus.syntax


def plan(study: Study, command: Callable[[str], str] = lambda id: "", data: Path = Path()) -> list[Cell]:
    """The cells of a study, each once, in an order in which they can be run.

    `command` is how to run one cell alone; below `data` are the folders of encoders.
    """
    made = _Plan(study, command, data)
    points = list(made.points())
    for point in points:
        for decoding in made.decodings(point):
            made.score(point, decoding)
    for system in study.systems:
        made.system(system)
    for rival in study.rivals:
        made.rival(rival)
    for probe in study.probes:
        for point in (p for p in points if p.within(probe.only) and (p.recipe or not probe.train)):
            for decoding in made.decodings(point):
                if not probe.only.decodings or decoding in probe.only.decodings:
                    made.probe(point, decoding, probe)
    for ability in study.abilities:
        for point in (p for p in points if p.within(ability.only)):
            tuned, source = made.trained(point), point.model.source
            # Before, then after: the adapter's base, or the model before training.
            found = ModelSource.find(source)
            base = found.base if found and found.adapter else source
            for model, trained in ((base, None), (source, tuned)):
                for shots in ability.shots:
                    of = point.name(point.format, point.corpus.name) if trained else f"{model} seed {point.seed}"
                    description: dict[str, Any] = {
                        "model": model,
                        "trained": trained,
                        "task": ability.task,
                        "shots": shots,
                        "limit": ability.limit or None,
                        "data": ability.data or None,
                        "seed": point.seed,
                    }
                    called = point.model.name if model == source else ""
                    made.add("ability", f"{of} {ability.task} {shots}-shot", description, [trained], called)
    for contamination in study.contaminations:
        for point in (p for p in points if p.within(contamination.only)):
            made.contamination(point, contamination)
    return sorted(made.cells.values(), key=lambda cell: cell.kind not in ("train", "fit"))


def chosen(cells: Iterable[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells whose id or name matches one of `only`, and those that they need; all if `only` is empty.

    Each of `only` is a part of the id or name; `*` in it matches anything. Raises `UsageError` when one matches
    nothing.
    """
    listed = list(cells)
    if not only:
        return listed
    wanted: set[str] = set()
    for part in only:
        pattern = f"*{part}*"
        found = {c.id for c in listed if fnmatchcase(c.id, pattern) or fnmatchcase(c.name, pattern)}
        if not found:
            some = ", ".join(repr(c.name) for c in listed[:3])
            raise UsageError(f"--only {part!r} matches no cell; ids and names are those of --dry-run, as in {some}")
        wanted |= found
    for cell in reversed(listed):  # needs come first, so in reverse order each cell is seen after all that need it
        if cell.id in wanted:
            wanted |= set(cell.needs)
    return [c for c in listed if c.id in wanted]
