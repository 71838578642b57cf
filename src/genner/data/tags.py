"""Tag schemes: entities as one tag per token, `B-PER I-PER O`.

| scheme | the tags |
|---|---|
| `iob2` | `B-` begins every entity, `I-` continues it |
| `iob1` | `I-` throughout; `B-` begins an entity directly after one of the same label |
| `bioes` | `B-` begins, `I-` continues, `E-` ends, `S-` is the only token; also spelled BILOU (L, U) and BMES (M) |
| `io` | `I-` throughout; adjacent entities of the same label merge |
| `bare` | `io` without the prefix: the tag is the label |

`spans` reads them all by the rule of conlleval, the scorer of the CoNLL shared tasks, which also interprets invalid
sequences; `scheme_errors` says where a sequence breaks its scheme. Both take tags as above: a `Spelling` converts those
of a file (`B_PER`, `PER-B`, `b-per`, `B`) into them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Scheme = Literal["iob2", "iob1", "bioes", "io", "bare"]
TagSpan = tuple[int, int, str]
"""An entity: first token, end token (exclusive), label."""

_PREFIXES: dict[str, str] = {"iob2": "BI", "iob1": "BI", "bioes": "BIES", "io": "I", "bare": "I"}
_SPELLINGS = {"L": "E", "U": "S", "M": "I"}
_OUTSIDE = ("O", "")
AS_CONLLEVAL, AS_NONE = "kept, as conlleval reads it", "taken as that of no entity"
"""In words, how a lenient reader reads malformed tags and tags that break their scheme."""


def parse(tag: str, scheme: Scheme | None = None) -> tuple[str, str] | None:
    """Prefix (one of BIESO) and label of a tag; None if it is malformed. Only `bare` tags have no prefix."""
    if tag == "O":
        return _OUTSIDE
    if scheme == "bare":
        return ("I", tag) if tag else None
    prefix, dash, label = tag.partition("-")
    prefix = _SPELLINGS.get(prefix, prefix)
    return (prefix, label) if dash and label and prefix in ("B", "I", "E", "S") else None


def spans(tags: Iterable[str], scheme: Scheme | None = None) -> list[TagSpan]:
    """The entities that the tags encode, in order; a malformed tag counts as `O`."""
    found: list[TagSpan] = []
    start: int | None = None
    last = _OUTSIDE
    at = 0
    for at, tag in enumerate(tags):
        prefix, label = parse(tag, scheme) or _OUTSIDE
        goes_on = prefix in "IE" and last[0] in "BI" and label == last[1]
        if start is not None and not goes_on:
            found.append((start, at, last[1]))
            start = None
        if prefix != "O" and not goes_on:
            start = at
        last = prefix, label
    if start is not None:
        found.append((start, at + 1, last[1]))
    return found


def scheme_errors(tags: Sequence[str], scheme: Scheme) -> Iterator[tuple[int, str]]:
    """Where the tags break the scheme: the index of a token, and the error there."""
    last, open_ = _OUTSIDE, False  # `open_`: the previous entity may continue; in bioes it must
    for at, tag in enumerate([*tags, "O"]):
        parsed = parse(tag, scheme)
        prefix, label = parsed or _OUTSIDE
        goes_on = open_ and label == last[1]
        if parsed is None:
            legal = "O or a label" if scheme == "bare" else f"O, or {'-, '.join(_PREFIXES[scheme])}- with a label"
            yield at, f"tag {tag!r} is malformed; legal: {legal}"
        elif prefix not in _PREFIXES[scheme] + "O":
            yield at, f"tag {tag!r} does not belong to {scheme}; legal prefixes: {', '.join(_PREFIXES[scheme])}"
        elif scheme in ("iob2", "bioes") and prefix in "IE" and not goes_on:
            yield at, f"tag {tag!r} goes on with what has not begun; {scheme} begins an entity with B-"
        elif scheme == "iob1" and prefix == "B" and not goes_on:
            yield at, f"tag {tag!r} parts two entities where none is before; iob1 begins this one with I-"
        elif scheme == "bioes" and open_ and not (goes_on and prefix in "IE"):
            yield max(at - 1, 0), f"{last[1]!r} is not closed; bioes ends an entity with E- or S-"
        last, open_ = (prefix, label), prefix in (("B", "I") if scheme == "bioes" else ("B", "I", "E", "S"))


def spell(entities: Iterable[TagSpan], length: int, scheme: Scheme) -> list[str]:
    """The tags of `length` tokens. Entities must not overlap; `io` and `bare` merge adjacent ones of the same label."""
    tags = ["O"] * length
    ends: dict[int, str] = {}
    for start, end, label in sorted(entities):
        prefixes = ["I"] * (end - start)
        if scheme == "iob2" or (scheme == "iob1" and ends.get(start) == label):
            prefixes[0] = "B"
        elif scheme == "bioes":
            prefixes[0], prefixes[-1] = ("B", "E") if end - start > 1 else ("S", "S")
        tags[start:end] = [label if scheme == "bare" else f"{prefix}-{label}" for prefix in prefixes]
        ends[end] = label
    return tags


_FORMS: dict[str, re.Pattern[str]] = {
    "prefix": re.compile(r"(?P<prefix>[BIESLUM])-(?P<label>.+)", re.DOTALL),
    "lower case": re.compile(r"(?P<prefix>[bieslum])-(?P<label>.+)", re.DOTALL),
    "underscore": re.compile(r"(?P<prefix>[BIESLUMbieslum])_(?P<label>.+)", re.DOTALL),
    "suffix": re.compile(r"(?P<label>.+)[-_](?P<prefix>[BIESLUMbieslum])", re.DOTALL),
    "untyped": re.compile(r"(?P<prefix>[BIESLUM])(?P<label>)"),
}
_CERTAIN = {"b", "i"}  # without either, tags are labels that merely resemble prefixed tags, as `S` or `e-mail`


@dataclass(frozen=True)
class Spelling:
    """How a file spells its tags. `bare` has labels without prefixes, `untyped` prefixes without labels."""

    form: Literal["prefix", "lower case", "underscore", "suffix", "untyped", "bare"] = "prefix"
    outside: str = "O"
    """The tag of tokens outside entities."""
    label: str = "ENTITY"
    """The label of tags without one."""

    @classmethod
    def of(cls, tags: Iterable[str], outside: str = "O", label: str = "") -> "Spelling":
        """The spelling that fits all tags of a file, or else the most; `bare` if none fits.

        Forms other than `B-PER` are recognized only if a tag begins or continues an entity (B or I).
        """
        given = set(tags)
        if outside == "O" and "O" not in given and "o" in given:
            outside = "o"
        given -= {outside, ""}
        counts = {}
        for form, pattern in _FORMS.items():
            matches = [m for tag in given if (m := pattern.fullmatch(tag))]
            if {m["prefix"].lower() for m in matches} & _CERTAIN or (form == "prefix" and matches):
                counts[form] = len(matches)
        form = max(counts, key=lambda f: counts[f], default="bare" if given else "prefix")
        if counts.get("prefix"):
            form = "prefix"  # the suffix of `B-GPE_S` does not matter: its prefix is unambiguous
        elif form == "lower case" and counts[form] < len(given):
            form = "bare"  # `i-phone` beside `car`
        return cls(form, outside, label or "ENTITY")  # type: ignore[arg-type]

    @staticmethod
    def alike(labels: Iterable[str]) -> tuple[str, str] | None:
        """Two labels that differ only in B versus I at their start or end: prefixes in an unknown spelling."""
        given = set(labels)
        for tag in sorted(given):
            for begins, goes_on in (("B", "I"), ("b", "i")):
                pairs = (goes_on + tag[1:], tag[:-1] + goes_on)
                ours = (tag.startswith(begins), tag.endswith(begins))
                for other, mine in zip(pairs, ours, strict=True):
                    if mine and len(tag) > 1 and other in given:
                        return tag, other
        return None

    def normal(self, tag: str) -> str:
        """The tag as `B-PER` or `O`; unchanged in `bare`, or if it does not fit the spelling."""
        if tag == self.outside:
            return "O"
        if self.form == "bare":
            return tag
        found = _FORMS[self.form].fullmatch(tag)
        return f"{found['prefix'].upper()}-{found['label'] or self.label}" if found else tag

    def fits(self, tag: str) -> bool:
        """Whether the tag fits the spelling."""
        return tag == self.outside or (bool(tag) if self.form == "bare" else bool(_FORMS[self.form].fullmatch(tag)))

    def labels(self, tags: Iterable[str]) -> set[str]:
        """The labels in tags of this spelling."""
        normal = (self.normal(tag) for tag in tags if self.fits(tag) and tag != self.outside)
        return {tag if self.form == "bare" else tag[2:] for tag in normal}


@dataclass
class SchemeCheck:
    """Finds where tag sequences break their scheme, which is determined from all of them unless `scheme` is given."""

    scheme: Scheme | None = None
    _guess: "SchemeGuess" = field(default_factory=lambda: SchemeGuess())
    _counts: Counter[Scheme] = field(default_factory=Counter)
    _first: dict[Scheme, tuple[int, str]] = field(default_factory=dict)

    def add(self, tags: Sequence[str], where: int) -> None:
        """Add the tags of a sentence, in the row `where`."""
        self._guess.add(tags)
        schemes: tuple[Scheme, ...] = (self.scheme,) if self.scheme else ("iob2", "iob1", "bioes")
        for scheme in schemes:
            for at, what in scheme_errors(tags, scheme):
                self._counts[scheme] += 1
                self._first.setdefault(scheme, (where, f"token {min(at, len(tags) - 1) + 1}: {what}"))

    @property
    def broken(self) -> tuple[int, int, str] | None:
        """How often the scheme is broken, where first, and how; None if never."""
        scheme = self.scheme or self._guess.scheme
        return (self._counts[scheme], *self._first[scheme]) if self._counts[scheme] else None


@dataclass
class SchemeGuess:
    """Determines the scheme of a file from all its tags, one sequence at a time, in constant memory."""

    outside: int = 0
    bare: int = 0
    closing: int = 0
    opening: int = 0
    """`I-` not preceded by an entity of its label: iob1 begins entities so."""
    parting: int = 0
    """`B-` directly after an entity of its label: legal in iob1 and iob2."""
    beginning: int = 0
    """`B-` elsewhere: iob2 begins entities so."""

    def add(self, tags: Iterable[str]) -> None:
        last = _OUTSIDE
        for tag in tags:
            parsed = parse(tag)
            self.outside += tag == "O"
            self.bare += parsed is None
            prefix, label = parsed or _OUTSIDE
            touches = last[0] in "BI" and last[1] == label
            self.closing += prefix in "ES"
            self.opening += prefix == "I" and not touches
            self.parting += prefix == "B" and touches
            self.beginning += prefix == "B" and not touches
            last = prefix, label

    @property
    def scheme(self) -> Scheme:
        """The scheme in which all tags, or else most of them, are legal; iob2 if there are none.

        `bare` needs at least one `O`: a column without one holds something else, such as parts of speech.
        """
        if self.closing:
            return "bioes"
        if self.bare and self.outside and not (self.opening or self.parting or self.beginning):
            return "bare"
        return "iob1" if self.opening > self.beginning else "iob2"
