"""A training recipe: a typed TOML file that says which data, how much of each, in which form, and how to train."""

import dataclasses
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from genner.errors import DataError, UsageError
from genner.presets import ALL_LINEAR
from genner.recipe_keys import RENAMED_KEYS, with_new_keys
from genner.toml_config import build, check, check_sum, listed, read_toml


@dataclass(frozen=True)
class SetSpec:
    """One corpus in the mixture.

    `train` and `dev` are files, folders or zip archives of annotated texts below the data root, in any syntax that
    `genner convert` reads; `from` (`from_` here) names the syntax and its options (`conll:column=3`) if guessing would
    fail; with `lenient`, errors in these files are counted and skipped. `labels` names a shipped label set, or is a
    JSON file below the data root; `weight` is how often each training document is used in an epoch (0.5: half of
    them). `formats`, if given, replaces the recipe's [formats] for this set.

    Selection of documents: `fraction` is the share used (a smaller share is a subset of any larger one); `shots`
    instead takes a k-shot subset with about that many entities of each label (0: all documents); `max_empty` is the
    maximum share of documents without entities; `concat` is the share of examples that join two or three consecutive
    documents into one text.

    Noise: `lowercase`, `uppercase`, `typos`, `spacing` and `detokenize` are the shares of examples that are put in
    lower case, are put in upper case, get misspelt words, get superfluous or missing blanks and line ends, or become
    running text.

    `absent` names labels that are known not to occur in the texts, for [prompt] `negatives`: TAG or SET:TAG.
    """

    name: str
    train: tuple[str, ...]
    labels: str
    dev: str | None = None
    weight: float = 1.0
    detokenize: float = 0.0
    formats: dict[str, float] = field(default_factory=dict)
    fraction: float = 1.0
    shots: int = 0
    max_empty: float = 1.0
    concat: float = 0.0
    lowercase: float = 0.0
    uppercase: float = 0.0
    typos: float = 0.0
    spacing: float = 0.0
    absent: tuple[str, ...] = ()
    from_: str | None = None
    lenient: bool = False

    def __post_init__(self) -> None:
        check(self, "set", weight=(0.0, inf), detokenize=(0.0, 1.0), fraction=(0.0001, 1.0), shots=(0, inf))
        check(self, "set", max_empty=(0.0, 1.0), concat=(0.0, 1.0), lowercase=(0.0, 1.0), uppercase=(0.0, 1.0))
        check(self, "set", typos=(0.0, 1.0), spacing=(0.0, 1.0))
        check_sum(self, "set", "lowercase", "uppercase")
        if self.shots and self.fraction < 1:
            raise UsageError(
                f"[set] {self.name!r} has shots = {self.shots} and fraction = {self.fraction}, two ways to take a part "
                "of its documents; keep one"
            )


@dataclass(frozen=True)
class ChatSpec:
    """General conversations that are mixed in (`genner.training.conversations`): JSONL files `train`
    below the data root.

    `weight` is how often each conversation is used in an epoch, as in a set.
    """

    name: str
    train: tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        check(self, "chat", weight=(0.0, inf))
        if not self.train:
            raise UsageError(f"[chat] {self.name!r} has no file; give it train = ['FILE.jsonl']")


METHODS = {
    "lora": "an adapter beside the frozen base",
    "qlora": "an adapter beside the base in 4 bits (bitsandbytes, on a CUDA GPU)",
    "full": "all weights; no adapter, a model of its own",
}


@dataclass(frozen=True)
class LoraSpec:
    """The adapter: `rank`, `alpha`, `dropout`.

    Its output is scaled by alpha / rank, or with `rslora` by alpha / sqrt(rank). `dora` trains the magnitude of each
    weight's columns separately from their direction. `targets` are the layers that get an adapter: `all-linear`, or
    suffixes of module names (`["q_proj", "v_proj"]`). `tag_tokens` adds the tags of the compact format to the
    vocabulary, one token each, and trains their embeddings. With the method `full` only `tag_tokens` applies.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    rslora: bool = False
    dora: bool = False
    targets: str | tuple[str, ...] = ALL_LINEAR
    tag_tokens: bool = False

    def __post_init__(self) -> None:
        check(self, "lora", rank=(1, inf), alpha=(1, inf), dropout=(0.0, 0.99))
        if not self.targets or (isinstance(self.targets, str) and self.targets != ALL_LINEAR):
            raise UsageError(
                f"[lora] targets = {self.targets!r}; legal: {ALL_LINEAR!r}, or a list of the ends of module names, as "
                "in ['q_proj', 'v_proj']"
            )


@dataclass(frozen=True)
class OptimSpec:
    """AdamW with warm-up and cosine decay.

    A group is run as one batch and holds at most `group_tokens` tokens (padded, without the shared instruction);
    `groups_per_step` groups make an optimizer step. Examples of more than `max_tokens` tokens are left out and counted.
    The run takes `epochs` epochs, but at least `min_steps` steps: a few dozen sentences make one or two steps an epoch,
    and an adapter needs a hundred. It ends early after `patience` evaluations in a row without a better dev F1; 0:
    never.
    """

    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    epochs: float = 1.0
    group_tokens: int = 1024
    groups_per_step: int = 2
    max_tokens: int = 2048
    patience: int = 0
    min_steps: int = 0

    def __post_init__(self) -> None:
        check(self, "optim", learning_rate=(0.0, inf), warmup=(0.0, 0.99), weight_decay=(0.0, inf), clip=(0.0, inf))
        check(self, "optim", epochs=(0.0, inf), group_tokens=(1, inf), groups_per_step=(1, inf), max_tokens=(1, inf))
        check(self, "optim", patience=(0, inf), min_steps=(0, inf))


@dataclass(frozen=True)
class PromptSpec:
    """How label sets are put into the prompt, drawn anew for each group.

    `full_prompt` is the share of groups that ask for the full label set in its own order, with definitions, as users
    do. Of the other groups, the share `no_definitions` has no definitions, the share `subset` asks for only some of the
    labels (entities of the others are dropped), and all have shuffled labels.

    The other shares are of all groups: `negatives` also ask for some of the set's `absent` labels; `renamed` replace
    tags by synonyms (`assets/synonyms.json`); `anonymous_tags` replace them by meaningless tags (`X7`), so that only
    the definition says what is asked for. The last two exclude each other.
    """

    full_prompt: float = 0.5
    no_definitions: float = 0.5
    subset: float = 0.4
    negatives: float = 0.0
    renamed: float = 0.0
    anonymous_tags: float = 0.0

    def __post_init__(self) -> None:
        check(self, "prompt", full_prompt=(0.0, 1.0), no_definitions=(0.0, 1.0), subset=(0.0, 1.0))
        check(self, "prompt", negatives=(0.0, 1.0), renamed=(0.0, 1.0), anonymous_tags=(0.0, 1.0))
        check_sum(self, "prompt", "renamed", "anonymous_tags")


@dataclass(frozen=True)
class DrafterSpec:
    """The drafter, trained after the adapter: it makes decoding faster and changes no answer.

    It is trained on `sentences` sentences of the mixture (0: no drafter) for `epochs` epochs. `full_prompt` is the
    share of prompts that ask for a full label set in its own order: higher than for the adapter, which has to learn
    what a label is. For the share `self_distill` of prompts, the targets are the adapter's own predictions instead of
    gold: closer to what the drafter has to propose, at the cost of generating them. Hidden states are kept in memory: 4
    bytes for each token and each unit of the model's width.
    """

    sentences: int = 12000
    epochs: int = 5
    learning_rate: float = 2e-3
    full_prompt: float = 0.9
    self_distill: float = 0.0

    def __post_init__(self) -> None:
        check(self, "drafter", sentences=(0, inf), epochs=(1, inf), learning_rate=(0.0, inf))
        check(self, "drafter", full_prompt=(0.0, 1.0), self_distill=(0.0, 1.0))


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run, except its time limit.

    `method` is one of `METHODS`. `start` is an adapter whose weights initialize the new one: the name of a shipped
    adapter, the folder of an adapter, or the folder of its training run.
    """

    base: str
    sets: tuple[SetSpec, ...]
    formats: dict[str, float]
    method: str = "lora"
    seed: int = 1
    lora: LoraSpec = field(default_factory=LoraSpec)
    optim: OptimSpec = field(default_factory=OptimSpec)
    prompt: PromptSpec = field(default_factory=PromptSpec)
    drafter: DrafterSpec = field(default_factory=DrafterSpec)
    start: str | None = None
    chat: tuple[ChatSpec, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"[recipe] method = {self.method!r}; legal: {', '.join(METHODS)}")
        if self.start is not None and self.method == "full":
            raise UsageError(
                f"[recipe] start = {self.start!r} is an adapter, and method = 'full' makes none; merge it into its "
                f"base (genner merge {self.start} --out FOLDER) and give base = 'FOLDER', or use method = 'lora'"
            )
        if self.method == "full" and (self.lora.rslora or self.lora.dora):
            raise UsageError("[lora] rslora and dora say how an adapter is made; method = 'full' makes none")
        names = [spec.name for spec in self.sets] + [spec.name for spec in self.chat]
        if twice := next((spec.name for spec in self.chat if names.count(spec.name) > 1), None):
            raise UsageError(f"[chat] {twice!r} is the name of two; give each [[set]] and [[chat]] a name of its own")
        if self.prompt.negatives and not any(spec.absent for spec in self.sets):
            raise UsageError(
                f"[prompt] negatives = {self.prompt.negatives}, but no [[set]] says which labels do not occur in it; "
                "give one absent = ['TAG', ...], or leave negatives out"
            )

    @classmethod
    def from_file(cls, path: Path) -> "Recipe":
        """Read a recipe. Raises `DataError` naming the key that is missing, unknown or of the wrong type."""
        raw = read_toml(path)
        try:
            _refuse_unknown(raw)
            tables = raw.pop("set", [])
            recipe = cls.from_dict({**raw, "sets": tables})
        except UsageError as error:
            raise DataError(str(path), str(error)) from None
        if not recipe.sets or not recipe.formats:
            raise DataError(str(path), "needs at least one [[set]] and one entry under [formats]")
        return recipe

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "Recipe":
        """From the tables of a recipe, with the sets as a list `sets`; missing keys have their defaults.

        Raises `UsageError`; for a renamed key it names the new one.
        """
        sets = tuple(set_spec(item, "set") for item in listed(raw.get("sets", []), "set"))
        chat = tuple(build(ChatSpec, {"train": [], **item}, "chat") for item in listed(raw.get("chat", []), "chat"))
        return build(cls, {**raw, **nested_tables(raw), "sets": sets, "chat": chat}, "recipe")

    @classmethod
    def from_recorded(cls, raw: dict[str, Any]) -> "Recipe":
        """From the result of `to_dict` of this or an earlier version, before or after JSON. Raises `UsageError`."""
        return cls.from_dict(with_new_keys(raw))

    def to_dict(self) -> dict[str, Any]:
        """All keys, but those of `_LATER` only if set: so recipes without them keep their old hashes."""
        found = dataclasses.asdict(self)
        found["optim"] = _kept(found["optim"])
        found["sets"] = tuple(
            {_KEYS.get(key, key): value for key, value in _kept(item).items()} for item in found["sets"]
        )
        return _kept(found)


def set_spec(table: dict[str, Any], where: str) -> SetSpec:
    """The set of a TOML table; its key `from` is a Python keyword. Raises `UsageError`, naming the table `where`."""
    _refuse_renamed(table, "set", where)
    return build(SetSpec, {"train": [], **{_FIELDS.get(key, key): value for key, value in table.items()}}, where)


def nested_tables(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The tables [lora], [optim], [prompt] and [drafter] of a recipe; errors name them with `prefix`. Raises
    `UsageError`."""
    for name in TABLES:
        _refuse_renamed(recipe.get(name), name, f"{prefix}{name}")
    return {name: build(kind, recipe.get(name, {}), f"{prefix}{name}") for name, kind in TABLES.items()}


def _refuse_unknown(recipe: dict[str, Any]) -> None:
    """Raise `UsageError` for a key outside all tables of a file that is unknown, or belongs in a table."""
    known = {name: name for name in ("base", "method", "seed", "start")}
    known |= {name: f"[{name}]" for name in ("formats", *TABLES)} | {name: f"[[{name}]]" for name in ("set", "chat")}
    if not (unknown := sorted(recipe.keys() - known.keys())):
        return
    key = unknown[0]
    if key == "sets":
        raise UsageError("has no key 'sets'; write [[set]], once for each corpus")
    keys = {name: {f.name for f in dataclasses.fields(kind)} for name, kind in TABLES.items()}
    if tables := [f"[{name}]" for name in TABLES if key in keys[name] | RENAMED_KEYS.get(name, {}).keys()]:
        raise UsageError(f"{key!r} stands in no table; write it below {' or '.join(tables)}")
    raise UsageError(f"has no key {key!r}; known: {', '.join(known.values())}")


def _refuse_renamed(table: Any, kind: str, where: str) -> None:
    """Raise `UsageError` for a renamed key of a table."""
    renamed = RENAMED_KEYS.get(kind, {})
    if old := next((key for key in renamed if isinstance(table, dict) and key in table), None):
        raise UsageError(f"[{where}] {old!r} is called {renamed[old]!r} now; write {renamed[old]} = {table[old]}")


def read_sets(path: Path) -> tuple[SetSpec, ...]:
    """The sets of a file that contains only [[set]] tables. Raises `DataError`."""
    raw = read_toml(path)
    try:
        if other := sorted(raw.keys() - {"set"}):
            raise UsageError(f"has {other[0]!r}; legal here: [[set]] alone, with name, dev, labels and from")
        if not raw.get("set"):
            raise UsageError("has no [[set]]; write one for each data set, with name, dev, labels and from")
        return Recipe.from_dict({"base": "", "formats": {}, "sets": raw.get("set", [])}).sets
    except UsageError as error:
        raise DataError(str(path), str(error)) from None


def _kept(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value or key not in _LATER}


_LATER = ("start", "chat", "min_steps", "from_", "lenient")
_FIELDS = {"from": "from_"}  # keys of a recipe that are Python keywords
_KEYS = {field: key for key, field in _FIELDS.items()}
TABLES: dict[str, type[Any]] = {"lora": LoraSpec, "optim": OptimSpec, "prompt": PromptSpec, "drafter": DrafterSpec}
