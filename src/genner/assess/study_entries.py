"""The tables of a study, one class each: models, corpora, recipes, probes, abilities, contamination."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, get_args

from genner.contamination import SIGNALS
from genner.engines import engine_names
from genner.errors import UnknownNameError, UsageError
from genner.few_shot.retrieval import Retrieval
from genner.few_shot.wording import Wording
from genner.formats import FORMATS
from genner.toml_config import check
from genner.training.recipe import ChatSpec, DrafterSpec, LoraSpec, OptimSpec, PromptSpec, Recipe, SetSpec


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
class SystemEntry:
    """A model that is prompted and not trained (docs/few_shot.md): on an engine, with demonstrations and verification.

    `model` is what `genner extract --model` takes (default: `name`), `engine` and `engine_options` are as there;
    `base_url` is the option of that name. `shots` demonstrations (0: none) come from the corpus's `train` files, of
    which `limit` sentences are used (0: all). `corpora`, `formats` and `decodings` override the study's.
    """

    name: str
    model: str = ""
    engine: str = "local"
    base_url: str = ""
    engine_options: dict[str, Any] = field(default_factory=dict)
    shots: int = 0
    retrieval: str = ""
    encoder: str = ""
    limit: int = 0
    search: str = "matrix"
    verify: bool = False
    label_by_label: bool | None = None
    wording: str = "genner"
    corpora: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    decodings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self, f"system] {self.name!r} [", shots=(0, inf), limit=(0, inf))
        check_names("wording", [self.wording], get_args(Wording))
        check_names("engine", [self.engine], engine_names())
        check_names("retrieval", [self.retrieval] if self.retrieval else [], get_args(Retrieval))
        if self.retrieval not in ("", "random") and not self.encoder:
            raise UsageError(f"[[system]] {self.name!r}: retrieval = {self.retrieval!r} needs an 'encoder'; give one")
        if not self.shots and (self.retrieval or self.encoder or self.limit):
            raise UsageError(
                f"[[system]] {self.name!r} has no demonstrations; give 'shots', or leave out what is on them"
            )
        if "sampled" in self.decodings:
            raise UsageError(f"[[system]] {self.name!r}: decoding 'sampled' is for [[model]]; legal: grammar, greedy")

    @property
    def source(self) -> str:
        return self.model or self.name

    @property
    def options(self) -> dict[str, Any]:
        """The options of the engine."""
        return self.engine_options | ({"base_url": self.base_url} if self.base_url else {})

    @property
    def settings(self) -> dict[str, Any]:
        """What its cells depend on, besides model, format, corpus and decoding."""
        return {
            "engine": self.engine,
            "options": self.options,
            "shots": self.shots,
            "retrieval": self.retrieval or ("entity" if self.encoder else "random") if self.shots else "",
            "encoder": self.encoder,
            "limit": self.limit,
            "search": self.search,
            "verify": self.verify,
            "label_by_label": self.label_by_label,
            "wording": self.wording,
        }


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
        check_names("format", self.mix, FORMATS)

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
        check_names("signal", self.signals, SIGNALS)


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UnknownNameError` for the first unknown name."""
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)
