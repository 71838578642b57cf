"""Which columns of a file hold the tokens and the tags, decided from all its rows before any is read.

Two rules are certain. If the first column counts the tokens of each sentence from 0 or 1, the next one holds the words.
If all values of just one column are spelt as entity tags (`tags.Spelling`), it holds the tags; a column of chunks
(`B-NP`) does not count if there is another. Any other file is refused; the message names the option that decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from genner.data.base import ReadLog
from genner.data.column_values import MAX_TAG_VALUES, NO_TAG, Seen
from genner.data.tags import Scheme, Spelling, parse
from genner.errors import DataError

_CHUNKS = frozenset(["ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP", "NC", "VC", "PC"])


@dataclass(frozen=True)
class ColumnOptions:
    """The options given: columns from 0 (None: not given) and how tags are read, as the options of `Conll`."""

    token: int | None = None
    column: int | None = None
    inner: int | None = None
    scheme: Scheme | str = "auto"
    outside: str = "O"
    label: str = ""


@dataclass(frozen=True)
class SurveyResult:
    """Where tokens and tags are, and how tags are spelt."""

    token: int
    column: int
    inner: int | None
    spelling: Spelling
    counted: bool
    """Whether the first column counts the tokens."""
    levels: str = ""
    """The separator of levels within a tag (`B-PER#B-LOC`); empty without levels."""


def tagged(values: set[str], outside: str = "O") -> bool:
    """Whether all values of a column are entity tags with prefixes, and at least one is not `O`."""
    spelling = Spelling.of(values, outside)
    return spelling.form != "bare" and any(v not in (spelling.outside, "") for v in values) and _all(spelling, values)


def survey(
    rows: Iterable[list[str]], asked: ColumnOptions, source: Traversable, read_log: ReadLog, named: int | None = None
) -> SurveyResult:
    """Where tokens and tags are in rows of one width; an empty row ends a sentence. `named`: the column called FORM.

    The log notes how ambiguous columns are read. Raises `DataError` when they cannot be determined.
    """
    seen = Seen.of(rows)
    width = len(seen.columns)
    if width < 2:  # empty, or a column is missing, which reading will report
        return SurveyResult(
            asked.token or 0, -1 if asked.column is None else asked.column, asked.inner, Spelling(), False
        )
    counted = seen.counted and asked.token != 0
    column, inner = _tags(seen, asked, counted, source, read_log)
    token = named if asked.token is None else asked.token
    if token is None:
        token = _token(seen, column, source, read_log)
    spelling, levels = _spelling(seen.columns, column, inner, asked, source, read_log)
    return SurveyResult(token, column, inner, spelling, counted and token > 0, levels)


def _token(seen: Seen, column: int, source: Traversable, read_log: ReadLog) -> int:
    width = len(seen.columns)
    what = "counts the tokens" if seen.counted else "holds nothing but numbers" if seen.numbers else seen.other
    words = [
        at for at, held in enumerate(seen.columns) if at not in (0, column % width) and not (held and held <= {*NO_TAG})
    ]
    if not what or not words:
        if seen.counted:
            read_log.note(source, "column 0 counts the tokens and no other holds words: its numbers are read for them")
        return 0
    if seen.counted and words[0] == 1:
        read_log.note(source, "column 0 counts the tokens, column 1 is read for them (--from conll:token=0: the first)")
        return 1
    fix = f"--from conll:token={words[0]},column={column} (or token=0, if they are the text)"
    raise DataError(str(source), f"column 0 {what}; say which column holds the tokens: {fix}")


def levels_in(values: set[str], outside: str = "O") -> tuple[str, bool]:
    """The separator of levels within tags (`B-PER#B-LOC`; empty without), and whether all tags have equally many."""
    for mark in "#|+/,;&^":
        given = [value.split(mark) for value in values if mark in value]
        parts = {part for value in given for part in value}
        if parts - {outside, "O"} and all(part in (outside, "O") or parse(part) for part in parts):
            return mark, len({value.count(mark) for value in values}) == 1
    return "", True


def _parts(values: set[str], outside: str) -> set[str]:
    """The tags of all levels."""
    mark, _ = levels_in(values, outside)
    return {part for value in values for part in value.split(mark)} if mark else values


def _tags(
    seen: Seen, asked: ColumnOptions, counted: bool, source: Traversable, read_log: ReadLog
) -> tuple[int, int | None]:
    """The column of the tags, and the column of the inner tags."""
    if asked.column is not None or asked.inner is not None or asked.scheme == "bare":
        return -1 if asked.column is None else asked.column, asked.inner
    columns = seen.columns
    width = len(columns)
    first = 1 if asked.token is None else 0
    held = {
        at: _parts(v, asked.outside)
        for at, v in enumerate(columns)
        if v is not None and at >= first and at != asked.token
    }
    found = [at for at, values in held.items() if tagged(values, asked.outside)]
    labels = {at: Spelling.of(held[at], asked.outside).labels(held[at]) for at in found}
    end = width - 1
    last = columns[end]
    others = last is not None and asked.outside in last  # may hold labels without prefixes
    found = [at for at in found if not labels[at] <= _CHUNKS] or ([] if others else found)
    empty = last is not None and last <= {asked.outside, "O", "o", ""}  # no entity anywhere, or none of that level
    if found == [end] or not found:
        return -1, None
    # GermEval's columns: inner entities are rare (6 % of its outer tokens). Columns that mark equally many tokens are
    # two annotations: gold and predictions, or coarse and fine labels.
    few = width == 4 and 2 * seen.marked[3] <= seen.marked[2]
    if counted and few and (found == [2, 3] or (found == [2] and empty)):
        what = "column 2 is read for the outer tags, column 3 for the inner ones (--from conll:column=2)"
        read_log.note(source, what)
        return 2, 3
    if len(found) == 1 and not others:
        read_log.note(source, f"column {found[0]} is read for the tags, as no other holds any")
        return found[0], None
    some = "; ".join(f"column {at} ({_some(held[at])})" for at in sorted({*found, *([end] if others else [])}))
    raise DataError(
        str(source),
        f"more than one column holds tags: {some}; say which is meant: --from conll:column={found[0]} (or, for outer "
        f"and inner entities, --from conll:column={found[0]},inner={end if found[0] != end else end - 1})",
    )


def _spelling(
    columns: list[set[str] | None],
    column: int,
    inner: int | None,
    asked: ColumnOptions,
    source: Traversable,
    read_log: ReadLog,
) -> tuple[Spelling, str]:
    width = len(columns)
    values: set[str] = set()
    for at in (column, inner):
        held = columns[at] if at is not None and -width <= at < width else set()
        if held is None and asked.scheme != "bare":
            what = f"column {at} holds over {MAX_TAG_VALUES} different values, no tags; say --from conll:column=N"
            raise DataError(str(source), what)
        values |= held or set()
    mark, even = levels_in(values, asked.outside) if asked.scheme != "bare" else ("", True)
    if mark and even:
        read_log.note(source, f"each tag holds levels, parted by {mark!r}, which are read together as nested entities")
        values = _parts(values, asked.outside)
    spelling = tag_spelling(values, asked.scheme, asked.outside, asked.label, source, read_log, "conll")
    return spelling, mark


def tag_spelling(
    values: set[str], scheme: Scheme | str, outside: str, label: str, source: object, read_log: ReadLog, syntax: str
) -> Spelling:
    """How the tags of a file are spelt, given all of them. If they have no type, the log notes it.

    Raises `DataError` when they are neither like `B-PER` nor plain labels with one value for tokens outside entities.
    """
    if scheme == "bare":
        return Spelling("bare", outside)
    if mark := levels_in(values, outside)[0]:
        some = _some({value for value in values if mark in value})
        fix = "give each level a column, and read them with --from conll:column=1,inner=2"
        what = f"tags hold several levels, parted by {mark!r} ({some}), not as many in each, or not in columns"
        raise DataError(str(source), f"{what}; {fix}; --from {syntax}:scheme=bare reads each as one label")
    spelling = Spelling.of(values, outside, label)
    if spelling.form == "untyped" and not label:
        what = f"the tags have no type ({_some(values)}): labelled ENTITY; --from {syntax}:label=NAME names it"
        read_log.note(source, what)
    if spelling.form == "bare" and (pair := Spelling.alike(values)):
        raise DataError(
            str(source),
            f"the tags {pair[0]!r} and {pair[1]!r} seem to begin and go on with an entity, in a spelling other than "
            f"B-PER, B_PER, PER-B and PER_B; spell them so, or say --from {syntax}:scheme=bare, if both are labels",
        )
    if spelling.form == "bare" and (scheme != "auto" or spelling.outside not in values):
        found = f"the tags are {_some(values)}: not like B-PER"
        if scheme == "auto":
            found += f", nor labels with an {outside!r} among them for what is none"
        fix = f"--from {syntax}:outside=TAG, if one of them is, scheme=bare, if all are labels"
        other = ", column=N, if they are in another column" if syntax == "conll" else ""
        raise DataError(str(source), f"{found}; say {fix}{other}")
    return spelling


def _all(spelling: Spelling, values: Iterable[str]) -> bool:
    return all(spelling.fits(value) for value in values)


def _some(values: set[str]) -> str:
    shown = sorted(values)[:6]
    return ", ".join(map(repr, shown)) + (", ..." if len(values) > 6 else "")
