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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

from genner.contamination import SIGNALS
from genner.errors import DataError, UnknownNameError, UsageError
from genner.formats import FORMATS
from genner.toml_config import build, check, listed, read_toml
from genner.training.recipe import (
    ChatSpec,
    DrafterSpec,
    LoraSpec,
    OptimSpec,
    PromptSpec,
    Recipe,
    SetSpec,
    nested_tables,
    set_spec,
)

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
class Filter:
    """A part of the grid: the named models, recipes, corpora, formats, decodings; none: all."""

    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    decodings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelEntry:
    """A model: `model` is what `genner extract --model` takes (default: `name`).

    It is trained with each of `recipes`; without recipes it is used as given. With `bare`, it is also used as given.
    `corpora`, `formats` and `decodings` override the study's.
    """

    name: str
    model: str = ""
    recipes: tuple[str, ...] = ()
    bare: bool = False
    corpora: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    decodings: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return self.model or self.name


@dataclass(frozen=True)
class CorpusEntry:
    """A corpus: the location of its test documents, how many are drawn, evenly spaced (0: all), and its labels.

    `lexicon` are annotated documents with mentions that are not in the training data, for the probes that replace
    mentions; default: the dev documents. `training` says how the corpus is used in training, as a `[[set]]` of a
    recipe; all other keys of the table belong to that set. Its `from` is the file syntax of all these files except
    samples; if not given, it is guessed.
    """

    name: str
    labels: str
    test: str
    sentences: int = 0
    lexicon: str = ""
    training: SetSpec = field(default_factory=lambda: SetSpec("", (), ""))

    def __post_init__(self) -> None:
        check(self, f"corpus] {self.name!r} [", sentences=(0, inf))

    @property
    def syntax(self) -> dict[str, str]:
        """`{"from": ...}` if the file syntax is given; part of the descriptions of its cells."""
        return {"from": self.training.from_} if self.training.from_ else {}


@dataclass(frozen=True)
class RecipeEntry:
    """How models are trained: a recipe without base, corpora, formats and seed, which come from the grid.

    With `mix`, one adapter is trained for all these formats; without, one for each. `extra` are additional corpora,
    `chat` are conversations. `start` is the adapter from which training starts. The model is evaluated on
    `eval_sentences` dev sentences at the end and every `eval_steps` steps.
    """

    name: str
    method: str = "lora"
    lora: LoraSpec = field(default_factory=LoraSpec)
    optim: OptimSpec = field(default_factory=OptimSpec)
    prompt: PromptSpec = field(default_factory=PromptSpec)
    drafter: DrafterSpec = field(default_factory=DrafterSpec)
    mix: dict[str, float] = field(default_factory=dict)
    extra: tuple[SetSpec, ...] = ()
    chat: tuple[ChatSpec, ...] = ()
    start: str | None = None
    max_minutes: float | None = None
    eval_steps: int | None = None
    eval_sentences: int = 40

    def __post_init__(self) -> None:
        where = f"recipe] {self.name!r} ["
        check(self, where, eval_sentences=(0, inf))
        if self.max_minutes is not None:
            check(self, where, max_minutes=(0.01, inf))
        if self.eval_steps is not None:
            check(self, where, eval_steps=(1, inf))
        _known("format", self.mix, FORMATS)

    def recipe(self, base: str, formats: Mapping[str, float], corpus: SetSpec, seed: int) -> Recipe:
        """The whole recipe. Raises `UsageError` when its parts do not go together."""
        return Recipe(
            base=base,
            sets=(corpus, *self.extra),
            formats=dict(self.mix or formats),
            method=self.method,
            seed=seed,
            lora=self.lora,
            optim=self.optim,
            prompt=self.prompt,
            drafter=self.drafter,
            start=self.start,
            chat=self.chat,
        )

    @property
    def limits(self) -> dict[str, Any]:
        return {
            "max_minutes": self.max_minutes,
            "eval_steps": self.eval_steps,
            "eval_sentences": self.eval_sentences,
        }


@dataclass(frozen=True)
class ProbeEntry:
    """A probe (`genner probe list`) of the trained models, on `sentences` of each corpus (0: the corpus's number).

    With `train`, models are also trained on probed data, as in the paper's two probes; else they are only tested.
    """

    name: str
    probe: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    train: bool = False
    sentences: int = 0
    only: Filter = field(default_factory=Filter)

    @property
    def source(self) -> str:
        return self.probe or self.name


@dataclass(frozen=True)
class AbilityEntry:
    """A task of general ability (docs/ability.md): solved examples before each question, a `limit` of questions
    (0: all). `data` is the folder of the offline tasks' files, below the data root; without it, data come from the hub.
    """

    task: str
    shots: tuple[int, ...] = (0,)
    limit: int = 0
    data: str = ""
    only: Filter = field(default_factory=Filter)


@dataclass(frozen=True)
class ContaminationEntry:
    """Signals of contamination (docs/contamination.md) of each model by each corpus: `signals` (none: all), and how
    many `sentences` of each kind are given to the model. `trained` declares that models which the study does not train
    were already trained on the corpus's `train` files, and not on its `dev` file; for models that the study trains this
    is known.
    """

    signals: tuple[str, ...] = ()
    sentences: int = 60
    trained: bool = False
    only: Filter = field(default_factory=Filter)

    def __post_init__(self) -> None:
        check(self, "contamination", sentences=(1, inf))
        _known("signal", self.signals, SIGNALS)


@dataclass(frozen=True)
class Study:
    """Everything that determines the cells."""

    name: str
    models: tuple[ModelEntry, ...]
    corpora: tuple[CorpusEntry, ...]
    about: str = ""
    seeds: tuple[int, ...] = (1,)
    formats: tuple[str, ...] = ("inline_xml",)
    decodings: tuple[str, ...] = ("grammar",)
    recipes: tuple[RecipeEntry, ...] = ()
    probes: tuple[ProbeEntry, ...] = ()
    abilities: tuple[AbilityEntry, ...] = ()
    contaminations: tuple[ContaminationEntry, ...] = ()

    def __post_init__(self) -> None:
        if not self.models or not self.corpora:
            raise UsageError("a study needs at least one [[model]] and one [[corpus]]")
        named = {
            "model": [m.name for m in self.models],
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
        for entry in [*filters, Filter(formats=self.formats, decodings=self.decodings)]:
            _known("model", entry.models, named["model"])
            _known("recipe", entry.recipes, named["recipe"])
            _known("corpus", entry.corpora, named["corpus"])
            _known("format", entry.formats, FORMATS)
            _known("decoding", entry.decodings, DECODING_MEANINGS)
        self._check_training()

    def _check_training(self) -> None:
        """Raise `UsageError` for a model that has recipes but cannot be trained."""
        recipes = {recipe.name: recipe for recipe in self.recipes}
        for model in (m for m in self.models if m.recipes):
            for corpus in (c for c in self.corpora if c.name in model.corpora or not model.corpora):
                if not corpus.training.train:
                    raise UsageError(
                        f"model {model.name!r} is trained on corpus {corpus.name!r}, which has no 'train'; give it a "
                        "file, or name the model's 'corpora'"
                    )
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


def _corpus(table: dict[str, Any]) -> CorpusEntry:
    own: dict[str, Any] = {key: table[key] for key in _OF_CORPUS if key in table}
    entry = build(CorpusEntry, own, "corpus")
    rest = {key: value for key, value in table.items() if key not in own}
    training = set_spec({**rest, "name": entry.name, "labels": entry.labels}, "corpus")
    return replace(entry, training=training)


_OF_CORPUS = ("name", "labels", "test", "sentences", "lexicon")


def _recipe(table: dict[str, Any]) -> RecipeEntry:
    if type(table.get("max_minutes")) is int:
        table = {**table, "max_minutes": float(table["max_minutes"])}
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


def _known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UnknownNameError` for the first unknown name."""
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)


_PLAIN = ("name", "about", "seeds", "formats", "decodings")
_TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "model": ("models", _model),
    "corpus": ("corpora", _corpus),
    "recipe": ("recipes", _recipe),
    "probe": ("probes", _probe),
    "ability": ("abilities", _ability),
    "contamination": ("contaminations", _contamination),
}
