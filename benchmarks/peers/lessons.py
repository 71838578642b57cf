"""Input and output of every trainer in the benchmark.

A `Lesson` holds conversations as token ids, so that all trainers see the same ones and tokenization is not timed. A
`Row` is a named trainer. It trains on the groups of a lesson in order, one optimizer step each; the first few are
warm-up, and time is measured from the end of the last warm-up step to the end of the last step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genner.engines.chat import Chat
from genner.model_source import ModelSource
from genner.training.batching import Batch, Example
from genner.training.mixture import Mixture
from genner.training.recipe import Recipe


@dataclass(frozen=True)
class Lesson:
    """A recipe for the base, the adapter and the optimizer, and the groups to train on."""

    recipe: Recipe
    warm: Sequence[Batch]
    timed: Sequence[Batch]

    @property
    def groups(self) -> list[Batch]:
        return [*self.warm, *self.timed]

    def counts(self) -> dict[str, int]:
        """For the timed groups: `examples`; tokens of `answers`, end-of-turn tokens included; `useful` tokens, those of
        texts and answers; `once_a_group` and `each_time`: all tokens, the instruction counted once for each group, or
        once for each example."""
        pairs = [pair for group in self.timed for pair in group.pairs]
        answers = sum(len(pair.answer) for pair in pairs)
        useful = answers + sum(len(pair.body) for pair in pairs)
        return {
            "examples": len(pairs),
            "answers": answers,
            "useful": useful,
            "once_a_group": useful + sum(len(group.prefix) for group in self.timed),
            "each_time": useful + sum(len(group.prefix) * len(group.pairs) for group in self.timed),
        }


@dataclass
class Outcome:
    """The result of training on a lesson.

    Attributes:
        seconds: time of the timed steps.
        tokens: tokens run through the model in them, without padding.
        computed: the same with padding.
        steps: timed optimizer steps.
        losses: loss of each step, warm-up included, in nats per answer token.
        peak_mb: peak memory in the timed steps, in 10^6 bytes; of the GPU if there is one.
        notes: other values to record.
    """

    seconds: float
    tokens: int
    computed: int
    steps: int
    losses: list[float] = field(default_factory=list)
    peak_mb: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A trainer to be measured.

    Attributes:
        about: its name in the table.
        train: (lesson, output folder) -> result.
        ours: whether it is genner, and so not a peer.
    """

    name: str
    about: str
    train: Callable[[Lesson, Path], Outcome]
    ours: bool = False


# -- lessons


def draw(mixture: Mixture, warm: int, steps: int) -> Lesson:
    """The first groups of the mixture's first epoch. Raises `SystemExit` when it has fewer."""
    groups = mixture.epoch(0)
    if len(groups) < warm + steps:
        raise SystemExit(f"the recipe's epoch has {len(groups)} groups; --warm {warm} and --steps {steps} want more")
    return Lesson(mixture.recipe, groups[:warm], groups[warm : warm + steps])


def single(recipe: Recipe, group_tokens: int | None = None) -> Recipe:
    """The recipe with one group per step. Raises `SystemExit` for a recipe that does not train a plain LoRA."""
    if recipe.method != "lora" or recipe.lora.tag_tokens:
        raise SystemExit("only recipes with method = 'lora' and without tag_tokens are compared")
    optim = replace(recipe.optim, groups_per_step=1, epochs=1.0, patience=0)
    return replace(recipe, optim=replace(optim, group_tokens=group_tokens or optim.group_tokens))


def to_json(groups: Sequence[Batch]) -> list[dict[str, Any]]:
    """Groups with their ids as text, so that the JSON stays readable."""

    def said(ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))

    return [{"prefix": said(g.prefix), "pairs": [[said(p.body), said(p.answer)] for p in g.pairs]} for g in groups]


def from_json(groups: Sequence[Mapping[str, Any]]) -> list[Batch]:
    def ids(text: str) -> list[int]:
        return [int(one) for one in text.split()]

    return [Batch(ids(g["prefix"]), [Example(ids(body), ids(answer)) for body, answer in g["pairs"]]) for g in groups]


# -- for the trainers


def folder_of(recipe: Recipe) -> Path:
    """The folder of the base model; a preset is downloaded."""
    return ModelSource.resolve(recipe.base).weights


def chat_of(recipe: Recipe) -> Chat:
    from transformers import AutoTokenizer

    return Chat(AutoTokenizer.from_pretrained(folder_of(recipe), local_files_only=True))
