"""The core types: `Entity`, `Document`, `LabelSet`, `Prediction`. All frozen, all checked on construction.

Offsets are half-open, `[start, end)`, and count Unicode code points of the text exactly as given, like
`text[start:end]` in Python. genner uses no other offset convention.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from genner.errors import DataError, DocumentError, LabelError

# Characters that delimit tags in some formats: a tag without them is safe in all formats.
_WORD = r"[^\s<>\[\]|\\/\"'`{}@#:,&\x00-\x1f\x7f\ud800-\udfff]+"
_TAG = re.compile(f"{_WORD}(?: {_WORD})*")
_LINE = re.compile(r"[^\n\r\ud800-\udfff]*")

CUT, SHOWN = 48, 3  # maximum code points of the text, and number of entities, in the repr of a prediction


Span = tuple[int, int]
"""A span of a text: [start, end) in code points."""


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """A labelled span: `text[start:end]` is a mention of type `label`.

    `score` is the system's confidence in [0, 1], None for gold. If the model has a calibration (see `genner.extract`),
    it is about the share of such entities that are correct. `text` is the mention itself, set by the `Document` that
    contains the entity, and empty for an entity outside a document. `verified` is the probability with which the model
    answered yes when it was asked whether this is an entity (`genner.few_shot.verification`), None if it was not asked
    or the probability is unknown. Equality ignores all three.
    """

    start: int
    end: int
    label: str
    score: float | None = field(default=None, compare=False)
    text: str = field(default="", compare=False, kw_only=True)
    verified: float | None = field(default=None, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise DocumentError(f"span [{self.start}, {self.end}) is empty or negative; legal: 0 <= start < end")
        if not self.label:
            raise DocumentError(f"span [{self.start}, {self.end}) has an empty label; give every entity a label")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise DocumentError(f"score {self.score} of [{self.start}, {self.end}) is outside [0, 1]")
        if self.verified is not None and not 0.0 <= self.verified <= 1.0:
            raise DocumentError(f"verified {self.verified} of [{self.start}, {self.end}) is outside [0, 1]")

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end

    def shifted(self, by: int) -> "Entity":
        """The same entity, shifted by `by` code points, not in a document yet."""
        return Entity(self.start + by, self.end + by, self.label, self.score, verified=self.verified)


def reading_order(entity: Entity) -> tuple[int, int, str]:
    """Sort key: by start, then longer spans first, then by label; so an outer entity precedes its inner ones."""
    return entity.start, -entity.end, entity.label


class Extra(Mapping[str, Any]):
    """The fields of a record that genner does not interpret: a read-only, picklable mapping that keeps their order."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        self._fields = dict(fields)

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Extra({self._fields!r})"


KNOWN = frozenset({"id", "text", "entities", "problems"})
"""The fields of a record that genner interprets."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its entities in reading order, which may be flat, nested or crossing.

    `group` names the sampled unit of which this text is a part: an article, an abstract, a book. It is empty if
    unknown. Texts of one group are correlated, so intervals are computed over groups. `extra` holds the other fields of
    the record (`{"source": ..., "date": ...}`), and `id` and `group` if they are not strings; `to_dict` writes it back.
    Equality ignores both.

    Raises `DocumentError` when an entity lies outside the text or occurs twice, the text holds a lone surrogate, or
    `extra` has a field that genner writes itself.
    """

    text: str
    entities: tuple[Entity, ...] = ()
    id: str = ""
    group: str = field(default="", compare=False, repr=False, kw_only=True)
    extra: Mapping[str, Any] = field(default_factory=Extra, compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise DocumentError(f"text is {type(self.text).__name__}, not str; decode bytes first")
        try:
            self.text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DocumentError(
                f"text holds a lone surrogate at {error.start}; decode the file with errors='replace'"
            ) from None
        if not isinstance(self.group, str):
            raise DocumentError(
                f"document {self.id!r}: group is {self.group!r}, not a string; legal: a name, '' for none"
            )
        if taken := KNOWN.intersection(self.extra) - {"id"}:
            raise DocumentError(f"document {self.id!r}: {min(taken)!r} in 'extra' is a field of its own; rename it")
        if not isinstance(self.extra, Extra):
            object.__setattr__(self, "extra", Extra(self.extra))
        entities = []
        for entity in sorted(self.entities, key=reading_order):
            if entity.end > len(self.text):
                raise DocumentError(
                    f"document {self.id!r}: span [{entity.start}, {entity.end}) lies outside the text; "
                    f"legal ends: 1 to {len(self.text)}, in code points"
                )
            mention = self.mention(entity)
            here = entity.text == mention
            entities.append(entity if here else replace(entity, text=mention))
        object.__setattr__(self, "entities", tuple(entities))
        if len(set(self.entities)) < len(self.entities):
            twice = next(e for e, n in Counter(self.entities).items() if n > 1)
            raise DocumentError(
                f"document {self.id!r}: {twice.label} [{twice.start}, {twice.end}) is given twice; keep one"
            )

    def mention(self, entity: Entity) -> str:
        """The text of `entity`."""
        return self.text[entity.start : entity.end]

    def _repr_html_(self) -> str:
        """HTML for notebooks: the text with its entities marked."""
        from genner.render.notebook import fragment

        return fragment(self)

    def to_dict(self) -> dict[str, Any]:
        """The document as JSON types: `{"id", "text", "entities": [...], "group"?}`.

        An entity is `{"start", "end", "label", "text", "score"?, "verified"?}`. The fields of `extra` follow in their
        order.
        """
        entities = []
        for e in self.entities:
            item: dict[str, Any] = {"start": e.start, "end": e.end, "label": e.label, "text": self.mention(e)}
            if e.score is not None:
                item["score"] = round(e.score, 4)
            if e.verified is not None:
                item["verified"] = round(e.verified, 4)
            entities.append(item)
        record = {"id": self._as_given("id", self.id), "text": self.text, "entities": entities}
        if self.group:
            record["group"] = self._as_given("group", self.group)
        return record | {key: value for key, value in self.extra.items() if key not in record}

    def _as_given(self, key: str, value: str) -> Any:
        """The id or group as the record gave it, for example as an integer, unless it has been changed since."""
        given = self.extra.get(key)
        return given if given is not None and str(given) == value else value

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown keys go into `extra`.

        Raises `DocumentError` on anything malformed. A record whose `entities` are missing or null is malformed too: a
        document without entities has `[]`.
        """
        text, entities = record.get("text"), record.get("entities")
        if not isinstance(text, str):
            raise DocumentError(
                f"'text' is {type(text).__name__}, not a string" if "text" in record else _lacks("text", record)
            )
        if entities is None:
            raise DocumentError(_lacks("entities", record))
        if not isinstance(entities, list | tuple):
            raise DocumentError(f"'entities' is {type(entities).__name__}, not a list")
        read = []
        for item in entities:
            if not isinstance(item, Mapping):
                raise DocumentError(f"an entity is {type(item).__name__}, not an object with start, end and label")
            start, end, label, score, verified = (item.get(k) for k in ("start", "end", "label", "score", "verified"))
            if type(start) is not int or type(end) is not int or not isinstance(label, str):
                raise DocumentError(f"entity {dict(item)!r} needs integer 'start' and 'end' and a string 'label'")
            if score is not None and not isinstance(score, int | float):
                raise DocumentError(f"entity {dict(item)!r}: 'score' is not a number")
            if verified is not None and not isinstance(verified, int | float):
                verified = None  # another tool's field of this name
            if end <= len(text) and item.get("text", text[start:end]) != text[start:end]:
                raise DocumentError(
                    f"entity {dict(item)!r}: its 'text' is not what its offsets cut out, {text[start:end]!r}; "
                    "offsets count code points, not bytes or UTF-16 units"
                )
            read.append(Entity(start, end, label, score, verified=verified))
        id = record.get("id")
        extra = {key: value for key, value in record.items() if key not in KNOWN}
        if id is not None and not isinstance(id, str):
            extra["id"] = id
        group = group_of(extra)
        if group == extra.get("group"):
            del extra["group"]
        return cls(text, tuple(read), "" if id is None else str(id), group=group, extra=extra)


def group_of(record: Mapping[str, Any]) -> str:
    """The group that a record names under `group`, a string or an integer; empty if it has none or another type.

    A value of another type (for example a list) has another meaning and stays among the record's other fields.
    """
    given = record.get("group")
    return str(given) if type(given) in (str, int) else ""


def _lacks(key: str, record: Mapping[str, Any]) -> str:
    found = [str(k) if str(k).isprintable() else repr(k) for k, value in record.items() if value is not None]
    rest = f" and {len(found) - 12} more" if len(found) > 12 else ""
    return f"has no {key!r}; it has: {', '.join(found[:12]) or 'nothing'}{rest}"


DocumentT = TypeVar("DocumentT", bound=Document)
"""A type of document: a function that takes a `Prediction` returns a `Prediction`."""

ProblemKind = Literal[
    "invalid",
    "realigned",
    "ambiguous",
    "dropped",
    "malformed",
    "unplaced",
    "overlap",
    "duplicate",
    "truncated",
    "split",
    "missing",
    "failed",
    "engine",
]
"""The kinds of problems of an output.

- `invalid`: the output breaks the format for this text (it was repaired as far as possible);
- `realigned`: an entity was placed by aligning a changed copy with the text, or by searching its mention;
- `ambiguous`: a realigned entity would fit other places equally well;
- `dropped`: an entity was dropped, because the text does not contain it or its label is not in the label set;
- `malformed`: an entity was dropped, because it is not written as one: not closed, empty, without a label, no JSON;
- `unplaced`: an entity was dropped, because it fits several places and the answer does not say which, or because it was
  not looked for in all of the text;
- `overlap`: an entity of the text was dropped, because it overlaps others that are more certain, and may not;
- `duplicate`: an entity written twice was kept once;
- `truncated`: the output ended before the text did;
- `split`: a sentence too long for the model was split;
- `missing`: there was no text (None, NaN), so the model was not run;
- `failed`: the engine gave no answer, for the reason that is told; entities of that part are unknown;
- `engine`: the engine gave an answer, and something went wrong before (a server refused the grammar, say).
"""


DROPPED_KINDS: tuple[ProblemKind, ...] = ("dropped", "malformed", "unplaced", "overlap")
"""The kinds of problems that cost an entity of the answer."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem between the model's output and the entities."""

    kind: ProblemKind
    detail: str


@dataclass(frozen=True, slots=True)
class Prediction(Document):
    """A document with a system's predicted entities, and everything that was repaired, dropped or truncated.

    `below_min_score`: the number of entities left out because their score is below the threshold. `answer_reading`:
    "repaired" if the model decoded freely and the entities come from the repaired reading of its answers; else empty.
    `uncalibrated_scores`: the entities' scores are not calibrated to how often such entities are correct. `refuted`:
    the number of entities left out because the model, asked about each, answered no; `unverified`: the number of those
    kept although it answered neither yes nor no.
    """

    problems: tuple[Problem, ...] = ()
    below_min_score: int = field(default=0, kw_only=True)
    answer_reading: str = field(default="", kw_only=True)
    uncalibrated_scores: bool = field(default=False, kw_only=True)
    refuted: int = field(default=0, kw_only=True)
    unverified: int = field(default=0, kw_only=True)

    def __repr__(self) -> str:
        """A short form: the beginning of the text, the first entities, and the number of the rest."""
        first = ", ".join(f"{e.label} {_cut(e.text)!r}" for e in self.entities[:SHOWN])
        more = f", {len(self.entities) - SHOWN} more" if len(self.entities) > SHOWN else ""
        parts = [repr(_cut(self.text)), f"entities=[{first}{more}]"]
        parts += [f"id={self.id!r}"] if self.id else []
        parts += [f"problems={len(self.problems)}"] if self.problems else []
        parts += [f"below_min_score={self.below_min_score}"] if self.below_min_score else []
        parts += [f"answer_reading={self.answer_reading!r}"] if self.answer_reading else []
        parts += [f"refuted={self.refuted}"] if self.refuted else []
        return f"Prediction({', '.join(parts)})"

    @property
    def invalid(self) -> bool:
        """Whether any part of the output broke its format."""
        return any(p.kind in ("invalid", "truncated", "failed") for p in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """As `Document.to_dict`, with `"problems": [{"kind", "detail"}]`; `"below_min_score"` unless it is 0,
        `"answer_reading"` unless it is empty, `"uncalibrated_scores": true` if they are, and `"refuted"` and
        `"unverified"` unless they are 0.
        """
        # super() has no cell in a slotted dataclass, which is rebuilt after the class body.
        record = Document.to_dict(self)
        record["problems"] = [{"kind": p.kind, "detail": p.detail} for p in self.problems]
        if self.below_min_score:
            record["below_min_score"] = self.below_min_score
        if self.answer_reading:
            record["answer_reading"] = self.answer_reading
        if self.uncalibrated_scores:
            record["uncalibrated_scores"] = True
        if self.refuted:
            record["refuted"] = self.refuted
        if self.unverified:
            record["unverified"] = self.unverified
        return record


def _cut(text: str) -> str:
    return text if len(text) <= CUT else f"{text[: CUT - 1]}…"


@dataclass(frozen=True, slots=True)
class Label:
    """An entity type: the `tag` used in answers, a long `name`, and a one-line `definition` for the prompt."""

    tag: str
    name: str = ""
    definition: str = ""

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.tag):
            raise LabelError(
                f"label {self.tag!r} cannot be written as a tag; legal: letters, digits, '_', '-', '.', '+', single "
                "inner spaces, no delimiter of any format (<>[]|\\/\"'`{}@#:,&); rename it"
            )
        for value in (self.name, self.definition):
            if not _LINE.fullmatch(value):
                raise LabelError(f"label {self.tag!r}: name and definition are one line of text each, not {value!r}")


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The requested labels, in the order in which the prompt lists them.

    `depth` is how many of their entities may cover one place, as in the corpus of origin: 1 for flat entities, None if
    unknown. Equality ignores it.

    Raises `LabelError` when it is empty, a tag occurs twice, or the depth is below 1.
    """

    labels: tuple[Label, ...]
    depth: int | None = field(default=None, compare=False)
    tags: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The tags of the labels."""
    _tags: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(label.tag for label in self.labels))
        object.__setattr__(self, "_tags", frozenset(self.tags))
        if not self.labels:
            raise LabelError("the label set is empty; give at least one label, as in PER,ORG,LOC")
        twice = [tag for tag, n in Counter(self.tags).items() if n > 1]
        if twice:
            raise LabelError(f"label {twice[0]!r} is given twice; keep one")
        if self.depth is not None and self.depth < 1:
            raise LabelError(f"depth {self.depth} lets no entity in; legal: 1 (flat) or more, None if it is not known")

    @classmethod
    def of(cls, *tags: str) -> "LabelSet":
        """A label set of bare tags, without names or definitions."""
        return cls(tuple(Label(tag) for tag in tags))

    @classmethod
    def from_file(cls, path: Path) -> "LabelSet":
        """Read a file with the input of `from_json`. Raises `DataError` when it holds anything else."""
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(str(path), f"cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(str(path), f"is not JSON: {error}") from None
        return cls.from_json(data, str(path))

    @classmethod
    def from_json(cls, data: Any, source: str) -> "LabelSet":
        """The label set of `{"TAG": {"name": ..., "definition": ...}}`, `{"TAG": "definition"}` or `["TAG", ...]`.

        `{"depth": 1, "labels": ...}` with any of these also gives the nesting depth (1: flat).

        Raises `DataError`, naming `source`, when it is none of these.
        """
        if isinstance(data, dict) and set(data) == {"depth", "labels"} and type(data["depth"]) is int:
            return cls(cls.from_json(data["labels"], source).labels, data["depth"])
        if isinstance(data, list) and all(isinstance(tag, str) for tag in data):
            return cls.of(*data)
        if not isinstance(data, dict):
            raise DataError(source, 'is neither ["TAG", ...] nor {"TAG": {"name": ..., "definition": ...}}')
        labels = []
        for tag, value in data.items():
            if isinstance(value, str):
                value = {"definition": value}
            if not isinstance(tag, str):
                raise DataError(source, f"label {tag!r} is {type(tag).__name__}, not a string")
            if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
                raise DataError(source, f"label {tag!r} needs a string or an object with 'name' and 'definition'")
            if unknown := sorted(value.keys() - {"name", "definition"}):
                raise DataError(source, f"label {tag!r}: unknown field {unknown[0]!r}; legal: name, definition")
            labels.append(Label(tag, value.get("name", ""), value.get("definition", "")))
        return cls(tuple(labels))

    def to_json(self) -> dict[str, dict[str, str]]:
        """The JSON that `from_json` reads, without the depth."""
        return {label.tag: {"name": label.name, "definition": label.definition} for label in self.labels}

    def to_file(self) -> str:
        """The file content that `from_file` reads, with the depth if it is known."""
        data: Any = self.to_json()
        if self.depth is not None:
            data = {"depth": self.depth, "labels": data}
        return json.dumps(data, ensure_ascii=False, indent=1) + "\n"

    def subset(self, tags: Iterable[str]) -> "LabelSet":
        """The labels with these tags, in this order. Raises `LabelError` naming a tag that is not here."""
        by_tag = {label.tag: label for label in self.labels}
        chosen = []
        for tag in tags:
            if tag not in by_tag:
                raise LabelError(f"label {tag!r} is not in the label set; it has: {', '.join(self.tags)}")
            chosen.append(by_tag[tag])
        return LabelSet(tuple(chosen), self.depth)

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, str) and tag in self._tags

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)
