"""The grammar of one text as data: what another process needs to make it again."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Self

from genner.document import Document, Label, LabelSet
from genner.errors import UsageError
from genner.formats.base import Format
from genner.formats.choice import ChoiceGrammarSource
from genner.grammar import Constraints, Grammar

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FormatGrammarSource:
    """The grammar of `text` in a format; implements `genner.engines.base.GrammarSource`."""

    form: Format
    text: str
    labels: LabelSet
    constraints: Constraints

    def grammar(self) -> Grammar:
        """The automaton."""
        return self.form.grammar(self.text, self.labels, self.constraints)

    def to_json(self) -> dict[str, Any]:
        """As JSON types; `from_json` reads them back. Without definitions of labels: no grammar depends on them."""
        return {
            "format": self.form.name,
            "text": self.text,
            "labels": list(self.labels.tags),
            "constraints": asdict(self.constraints),
        }

    @classmethod
    def from_json(cls, raw: Any) -> Self:
        """Raises `UsageError` naming what is missing, of the wrong type or out of range."""
        from genner.formats import get_format

        if not isinstance(raw, Mapping):
            raise UsageError(f"a grammar is an object with format, text, labels and constraints, not {_shown(raw)}")
        if wrong := {"format", "text", "labels", "constraints"} ^ set(raw):
            name = sorted(wrong, key=str)[0]
            raise UsageError(f"a grammar {'has no key' if name in raw else 'lacks'} {name!r}")
        text, tags, limits = raw["text"], raw["labels"], raw["constraints"]
        if not isinstance(text, str):
            raise UsageError(f"text {_shown(text)} is not a string")
        if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
            raise UsageError(f"labels {_shown(tags)} are not a list of tags")
        if not isinstance(limits, Mapping) or set(limits) != set(asdict(Constraints())):
            raise UsageError(f"constraints {_shown(limits)}; keys, all of them: {', '.join(asdict(Constraints()))}")
        for name in ("same_span_labels", "allow_trailing_repeat"):
            if not isinstance(limits[name], bool):
                raise UsageError(f"{name} {_shown(limits[name])}; legal: true, false")
        depth = limits["depth"]
        if depth is not None and type(depth) is not int:
            raise UsageError(f"depth {_shown(depth)}; legal: 1 or more, null")
        Document(text)  # refuses what is no text
        labels = LabelSet(tuple(Label(tag) for tag in tags))
        return cls(get_format(raw["format"]), text, labels, Constraints(**limits))

    def gbnf(self) -> str:
        """The rules of `Format.rules` in the notation of llama.cpp. Raises `UsageError` as that does.

        Where rules of the whole depth are too large for a request, entities nest less deeply (`Format.small_depth`);
        a warning says so once.
        """
        exported = self._exported
        if exported.depth is not None:
            small = self.form.small_depth(self.text, self.labels, exported.depth)
            if small < exported.depth:
                _warn(self.form.name, self.labels.tags, exported.depth)
            exported = replace(exported, depth=small)
        return self.form.rules(self.text, self.labels, exported).gbnf()

    def json_schema(self) -> dict[str, Any] | None:
        """The schema of `Format.json_schema`; None for a format that is not JSON. Raises `UsageError` as that does."""
        return self.form.json_schema(self.text, self.labels, self._exported)

    @property
    def _exported(self) -> Constraints:
        """What rules can express of the constraints: that no span has two labels is not among it."""
        limits = self.constraints
        repeat = limits.allow_trailing_repeat
        return Constraints(limits.boundaries, limits.depth, allow_trailing_repeat=repeat)


@lru_cache
def _warn(form: str, tags: tuple[str, ...], depth: int) -> None:
    """Once for each task, since the arguments are remembered."""
    log.warning(
        f"rules of {form} for {len(tags)} labels nested {depth} deep are too large for a request: in long texts "
        "entities nest less deeply, or not at all; for nested ones take --format compact, or an engine with genner's "
        "own grammar"
    )


def grammar_source_from_json(raw: Any) -> FormatGrammarSource | ChoiceGrammarSource:
    """The source that `to_json` of either kind describes. Raises `UsageError`."""
    if not isinstance(raw, Mapping) or set(raw) != {"choices"}:
        return FormatGrammarSource.from_json(raw)
    choices = raw["choices"]
    if not isinstance(choices, list) or not choices or not all(isinstance(c, str) and c for c in choices):
        raise UsageError(f"choices {_shown(choices)} are not a list of strings, none of them empty")
    return ChoiceGrammarSource(tuple(choices))


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else said[:57] + "..."
