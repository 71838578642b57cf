"""A study: a typed TOML file that lists the models, formats, corpora, decodings, seeds and recipes to compare.

    name = "mine"
    seeds = [1, 2]
    formats = ["inline_xml", "offset_json"]
    decodings = ["grammar", "greedy"]

    [[model]]
    name = "default"                    # what `genner extract --model` takes

    [[corpus]]
    name = "genia"
    labels = "genia"
    train = ["genia/train.jsonl"]       # below the data root
    test = "genia/test.jsonl"           # or sample:NAME, a sample that genner ships
    sentences = 200

docs/assess.md describes every key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

from genner.assess.rival_entry import RivalEntry
from genner.assess.study_entries import (
    AbilityEntry,
    ContaminationEntry,
    CorpusEntry,
    Filter,
    ModelEntry,
    ProbeEntry,
    RecipeEntry,
    SystemEntry,
    check_names,
)
from genner.errors import DataError, UnknownNameError, UsageError
from genner.formats import FORMATS
from genner.toml_config import build, check, listed, read_toml
from genner.training.recipe import ChatSpec, nested_tables, set_spec

Decoding = Literal["grammar", "greedy", "sampled"]
DECODING_MEANINGS: dict[Decoding, str] = {
    "grammar": "the most probable of the legal tokens",
    "greedy": "the most probable of all tokens: the model writes freely",
    "sampled": "freely, drawn as LLaMA-Factory does where nothing is said: temperature 0.95, top-p 0.7, top-k 50",
}
assert set(DECODING_MEANINGS) == set(get_args(Decoding))

SAMPLE = "sample:"
"""Prefix of the name of a shipped sample, given in place of a file."""


@dataclass(frozen=True)
class Study:
    """Everything that determines the cells."""

    name: str
    corpora: tuple[CorpusEntry, ...]
    models: tuple[ModelEntry, ...] = ()
    systems: tuple[SystemEntry, ...] = ()
    rivals: tuple[RivalEntry, ...] = ()
    about: str = ""
    seeds: tuple[int, ...] = (1,)
    formats: tuple[str, ...] = ("inline_xml",)
    decodings: tuple[str, ...] = ("grammar",)
    recipes: tuple[RecipeEntry, ...] = ()
    probes: tuple[ProbeEntry, ...] = ()
    abilities: tuple[AbilityEntry, ...] = ()
    contaminations: tuple[ContaminationEntry, ...] = ()

    def __post_init__(self) -> None:
        if not (self.models or self.systems or self.rivals) or not self.corpora:
            raise UsageError("a study needs at least one [[model]] or [[system]], and one [[corpus]]")
        named = {
            "model": [m.name for m in self.models],
            "system": [*(s.name for s in self.systems), *(r.name for r in self.rivals)],
            "corpus": [c.name for c in self.corpora],
            "recipe": [r.name for r in self.recipes],
            "probe": [p.name for p in self.probes],
        }
        for kind, names in named.items():
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise UsageError(f"[[{kind}]] {twice!r} is there twice; give each a name of its own")
        for values, what in ((self.seeds, "seeds"), (self.formats, "formats"), (self.decodings, "decodings")):
            if not values or len(set(values)) < len(values):
                raise UsageError(f"{what} = {list(values)!r}; legal: one or more, each once")
        filters = [p.only for p in self.probes] + [a.only for a in self.abilities]
        filters += [c.only for c in self.contaminations]
        filters += [Filter((), m.recipes, m.corpora, m.formats, m.decodings) for m in self.models]
        filters += [Filter((), (), s.corpora, s.formats, s.decodings) for s in self.systems]
        filters += [Filter((), (), r.corpora) for r in self.rivals]
        for entry in [*filters, Filter(formats=self.formats, decodings=self.decodings)]:
            check_names("model", entry.models, named["model"])
            check_names("recipe", entry.recipes, named["recipe"])
            check_names("corpus", entry.corpora, named["corpus"])
            check_names("format", entry.formats, FORMATS)
            check_names("decoding", entry.decodings, DECODING_MEANINGS)
        self._check_training()
        for system in (s for s in self.systems if s.shots):
            self._check_train(f"[[system]] {system.name!r} is shown sentences of", system.corpora, "system")
        for rival in (r for r in self.rivals if r.is_fitted):
            self._check_train(f"[[system]] {rival.name!r} is trained on", rival.corpora, "system")

    def corpora_of(self, names: Sequence[str]) -> list[CorpusEntry]:
        """The corpora that an entry names; all if it names none."""
        return [corpus for corpus in self.corpora if corpus.name in names or not names]

    def _check_train(self, what: str, corpora: Sequence[str], of: str) -> None:
        """Raise `UsageError` for a corpus without training files."""
        for corpus in self.corpora_of(corpora):
            if not corpus.training.train:
                raise UsageError(
                    f"{what} corpus {corpus.name!r}, which has no 'train'; give it a file, or name the {of}'s 'corpora'"
                )

    def _check_training(self) -> None:
        """Raise `UsageError` for a model that has recipes but cannot be trained."""
        recipes = {recipe.name: recipe for recipe in self.recipes}
        for model in (m for m in self.models if m.recipes):
            self._check_train(f"model {model.name!r} is trained on", model.corpora, "model")
            for corpus in self.corpora_of(model.corpora):
                for name in model.recipes:
                    recipes[name].recipe("", {}, corpus.training, 0)
        if (probe := next((p for p in self.probes if p.train), None)) and not any(m.recipes for m in self.models):
            raise UsageError(f"[[probe]] {probe.name!r} trains, and no model has 'recipes'; give one a recipe")

    @classmethod
    def from_file(cls, path: Path) -> "Study":
        """Read a study. Raises `DataError` naming the key that is missing, unknown, of a wrong type or out of range."""
        raw = read_toml(path)
        try:
            return cls.from_dict(raw)
        except UsageError as error:
            raise DataError(str(path), str(error)) from None

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Study":
        """A study from the tables of its file. Raises `UsageError`."""
        if unknown := sorted(set(raw) - set(_PLAIN) - set(_TABLES)):
            tables = ", ".join(f"[[{name}]]" for name in _TABLES)
            raise UsageError(f"there is no key {unknown[0]!r}; known: {', '.join(_PLAIN)}, {tables}")
        values: dict[str, Any] = {key: raw[key] for key in _PLAIN if key in raw}
        for name, (plural, entry) in _TABLES.items():
            values[plural] = tuple(entry(table) for table in listed(raw.get(name, []), name))
        values["rivals"] = tuple(entry for entry in values["systems"] if isinstance(entry, RivalEntry))
        values["systems"] = tuple(entry for entry in values["systems"] if isinstance(entry, SystemEntry))
        return build(cls, values, "study")


def shipped_studies() -> dict[str, Path]:
    """The studies inside the package, by name."""
    root = Path(str(files("genner") / "assets" / "studies"))
    return {path.stem: path for path in sorted(root.glob("*.toml"))}


def find_study(name: str) -> Path:
    """The file of a study: a path, or the name of a shipped one. Raises `UnknownNameError` when it is neither."""
    if Path(name).is_file():
        return Path(name)
    if name in shipped_studies():
        return shipped_studies()[name]
    raise UnknownNameError("study", name, shipped_studies(), "or a TOML file")


# -- tables


def _model(table: dict[str, Any]) -> ModelEntry:
    return build(ModelEntry, table, "model")


def _system(table: dict[str, Any]) -> SystemEntry | RivalEntry:
    if {"rival", "folder"} & set(table):
        return build(RivalEntry, table, "system")
    return build(SystemEntry, table, "system")


def _corpus(table: dict[str, Any]) -> CorpusEntry:
    own: dict[str, Any] = {key: table[key] for key in _OF_CORPUS if key in table}
    entry = build(CorpusEntry, own, "corpus")
    rest = {key: value for key, value in table.items() if key not in own}
    training = set_spec({**rest, "name": entry.name, "labels": entry.labels}, "corpus")
    return replace(entry, training=training)


_OF_CORPUS = ("name", "labels", "test", "sentences", "lexicon")


def _recipe(table: dict[str, Any]) -> RecipeEntry:
    extra = [set_spec(item, "recipe.extra") for item in listed(table.get("extra", []), "extra")]
    chat = [build(ChatSpec, {"train": [], **item}, "recipe.chat") for item in listed(table.get("chat", []), "chat")]
    return build(
        RecipeEntry, {**table, **nested_tables(table, "recipe."), "extra": tuple(extra), "chat": tuple(chat)}, "recipe"
    )


def _probe(table: dict[str, Any]) -> ProbeEntry:
    table = dict(table)
    options = table.pop("options", {})
    if not isinstance(options, dict):
        raise UsageError(f"[probe] options = {options!r} is not a table; write options = {{ key = value }}")
    entry = build(ProbeEntry, {**_filtered(table), "options": {}}, "probe")
    check(entry, f"probe] {entry.name!r} [", sentences=(0, inf))
    return replace(entry, options=options)


def _ability(table: dict[str, Any]) -> AbilityEntry:
    table = dict(table)
    if type(table.get("shots")) is int:
        table["shots"] = [table["shots"]]
    entry = build(AbilityEntry, _filtered(table), "ability")
    check(entry, f"ability] {entry.task!r} [", limit=(0, inf))
    if not entry.shots or any(n < 0 for n in entry.shots):
        raise UsageError(f"[ability] shots = {list(entry.shots)!r}; legal: one or more numbers, 0 or more each")
    return entry


def _contamination(table: dict[str, Any]) -> ContaminationEntry:
    return build(ContaminationEntry, _filtered(table), "contamination")


_FILTERS = ("models", "recipes", "corpora", "formats", "decodings")


def _filtered(table: dict[str, Any]) -> dict[str, Any]:
    """The table with its filter keys moved into a `Filter`."""
    rest = {key: value for key, value in table.items() if key not in _FILTERS}
    only = build(Filter, {key: table[key] for key in _FILTERS if key in table}, "filter")
    return {**rest, "only": only}


_PLAIN = ("name", "about", "seeds", "formats", "decodings")
_TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "model": ("models", _model),
    "system": ("systems", _system),
    "corpus": ("corpora", _corpus),
    "recipe": ("recipes", _recipe),
    "probe": ("probes", _probe),
    "ability": ("abilities", _ability),
    "contamination": ("contaminations", _contamination),
}
