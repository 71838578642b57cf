"""A sentence of a column file while it is read: its words, the text tokens that they form, and its entities."""

from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from itertools import accumulate
from typing import NamedTuple

from genner.data import tags
from genner.data.base import ReadLog
from genner.data.column_survey import SurveyResult
from genner.data.tokens import locate


@dataclass(frozen=True)
class SplitToken:
    """A multiword token: one text token that stands for the words numbered `first` to `last`, as `3-4` in CoNLL-U."""

    line: int
    first: int
    last: int
    form: str
    tags: list[str]


class Unit(NamedTuple):
    """A token of the text, and its number of words."""

    form: str
    words: int


@dataclass
class Sentence:
    line: int = 0
    part: int = 0
    number: int = 0
    id: str = ""
    group: str = ""
    begins: bool = False
    """Whether its comments mark it as the first of a corpus document."""
    spaced: str | None = None
    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    """Line, word, tags: the tag, then the inner tag if there is one."""
    counts: list[int] = field(default_factory=list)
    """The number of each row in the sentence, if the first column counts them; else 0."""
    split_tokens: list[SplitToken] = field(default_factory=list)
    text: str = ""
    entities: list[tuple[int, int, str]] = field(default_factory=list)

    def units(self, source: Traversable, read_log: ReadLog) -> list[Unit]:
        """The tokens of the text: the words, with each multiword token in place of its words."""
        spans = {}
        for split in self.split_tokens:
            inside = [at for at, count in enumerate(self.counts) if split.first <= count <= split.last]
            own = [self.counts[at] for at in inside]
            if not own or (own[0], own[-1], len(own)) != (split.first, split.last, split.last - split.first + 1):
                what = f"token {split.first}-{split.last} is not followed by the words with these numbers"
                read_log.error("split token", source, what, split.line)
            else:
                spans[inside[0]] = Unit(split.form, len(inside))
        units, at = list[Unit](), 0
        while at < len(self.rows):
            units.append(spans.get(at, Unit(self.rows[at][1], 1)))
            at += units[-1].words
        return units


def of_words(units: list[Unit], places: list[tuple[int, int]] | None) -> list[tuple[int, int]] | None:
    """The span of each word: the span of the token that it is part of."""
    if places is None:
        return None
    return [place for unit, place in zip(units, places, strict=True) for _ in range(unit.words)]


def interpret(
    sentence: Sentence,
    scheme: tags.Scheme,
    layout: SurveyResult,
    source: Traversable,
    read_log: ReadLog,
    *,
    joiner: str,
    outside: str,
) -> None:
    """Fill in the text and the entities, in code points.

    `joiner` is the string between tokens where the text is not given, `outside` the tag of tokens outside entities.
    """
    levels = _levels(sentence, layout, outside, source, read_log)
    for given in levels:
        for index, what in tags.scheme_errors(given, scheme):
            line = sentence.rows[min(index, len(given) - 1)][0]
            if "malformed" in what:
                what += (
                    f"; --from conll:scheme=bare reads every tag as a label, outside={given[index]} says that this "
                    "one is none"
                )
                read_log.error("malformed tag", source, what, line, instead=tags.AS_NONE)
            else:
                read_log.error("tag sequence", source, what, line, instead=tags.AS_CONLLEVAL)
    words = [word for _, word, _ in sentence.rows]
    units = sentence.units(source, read_log)
    tokens = [unit.form for unit in units]
    places = None
    if sentence.spaced is not None:
        sentence.text = sentence.spaced
        places = of_words(units, locate(tokens, sentence.spaced)) or locate(words, sentence.spaced)
        if places is None:
            what = f"the tokens are not those of the text {sentence.spaced!r}"
            what += "; --from conll:text=false reads it without"
            read_log.error("text comment", source, what, sentence.line, instead="the tokens joined without it")
    if places is None:
        sentence.text = joiner.join(tokens)
        ends = list(accumulate((len(token) + len(joiner) for token in tokens), initial=0))
        places = of_words(units, [(at, at + len(token)) for at, token in zip(ends, tokens, strict=False)])
        assert places is not None
    sentence.entities = []
    for given in levels:
        for first, behind, label in tags.spans(given, scheme):
            if places[first] in places[first - 1 : first] or places[behind - 1] in places[behind : behind + 1]:
                what = "edge of an entity within a token that is split (as 3-4): taken to the token's own"
                read_log.drop(what, f"{source}:{sentence.rows[first][0]}: {label}")
            sentence.entities.append((places[first][0], places[behind - 1][1], label))


def _levels(
    sentence: Sentence, layout: SurveyResult, outside: str, source: Traversable, read_log: ReadLog
) -> list[list[str]]:
    """The tags of each level, one per word, as `B-PER` or `O`."""
    columns = zip(*(row[2] for row in sentence.rows), strict=True)
    levels = []
    for column in columns:
        if not layout.levels:
            levels.append(list(column))
            continue
        parted = [tag.split(layout.levels) for tag in column]
        levels += [list(level) for level in zip(*parted, strict=True)]
    for split in sentence.split_tokens:
        at = sentence.counts.index(split.first) if split.first in sentence.counts else None
        own = [] if at is None else sentence.rows[at][2]
        for tag, word in zip(split.tags, own, strict=False):
            if tag not in ("_", "O", outside, "", word):
                what = (
                    f"token {split.first}-{split.last} has the tag {tag!r}, its first word {word!r}: tags are "
                    "those of words; move it there"
                )
                read_log.error("tag of a split token", source, what, split.line)
    return [[layout.spelling.normal(tag) for tag in level] for level in levels]
