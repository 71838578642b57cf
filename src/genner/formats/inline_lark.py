"""Terminals for llguidance that describe an inline format whose opening and closing tags both name the label.

Rules must name all open entities in each state: with 5 labels at depth 3, a megabyte per sentence. The Lark dialect of
llguidance has intersections of terminals, and two short terminals suffice, at any depth:

    COPY   the text, with opening tags wherever an entity may start, and closing ones wherever one may end
    NEST   tags closed in order, nested up to the depth, each around something other than punctuation

Their size grows with the text, and with labels times depth. Exact for flat entities; for nested ones, a span may get
the same label twice, as in the rules.
"""

from collections.abc import Iterable, Sequence

from genner.boundaries import worded
from genner.cfg import quoted


def nested_terminals(
    text: str,
    copies: Sequence[str],
    opening: Sequence[str],
    closing: Sequence[str],
    places: tuple[Sequence[bool], Sequence[bool], Sequence[int]],
    depth: int,
) -> str:
    """Lark for the copy of a text with tags: one opening and one closing tag per label.

    Tags are `<...>` without another `<` inside, and none occurs in the copy. `places` gives the allowed starts and
    ends, as `boundaries` does, and the first allowed ends, as `first_ends` does.
    """
    starts, ends, _ = places
    copy: list[str] = []
    run = ""
    for i in range(len(text) + 1):
        if run and (starts[i] or ends[i]):
            copy.append(quoted(run))
            run = ""
        copy += ["CLOSE*"] * ends[i] + ["OPEN*"] * starts[i]
        run += copies[i] if i < len(text) else ""
    copy += [quoted(run)] * bool(run)
    any_text, worded_text = _texts("".join(copies), (*opening, *closing))
    lines = [
        "start: ANSWER",
        "ANSWER: COPY & NEST",
        f"COPY: {' '.join(copy) or quoted('')}",
        f"OPEN: {' | '.join(map(quoted, opening))}",
        f"CLOSE: {' | '.join(map(quoted, closing))}",
        f"TEXT: {any_text}",
        f"WORDED: {worded_text}",
    ]
    for level in range(1, depth + 1):
        # An entity around another one holds a word because the inner one does.
        inside = f"(WORDED | TEXT (ENTITY{level - 1} TEXT)+)" if level > 1 else "WORDED"
        around = (f"{quoted(o)} {inside} {quoted(c)}" for o, c in zip(opening, closing, strict=True))
        lines.append(f"ENTITY{level}: {' | '.join(around)}")
    return "\n".join([*lines, f"NEST: TEXT (ENTITY{depth} TEXT)*"]) + "\n"


def _texts(copy: str, tags: Sequence[str]) -> tuple[str, str]:
    """Regular expressions for stretches of the copy: any stretch, and one that is more than punctuation.

    A unit is a `<` of the copy with the characters that distinguish it from a tag. A tag may precede these, so a
    stretch may end inside a unit; elsewhere no `<` is left incomplete.
    """
    units, heads = set[str](), set[str]()
    for start in (i for i, c in enumerate(copy) if c == "<"):
        last, end = start, start + 1  # `last`: the latest `<` in the unit
        while (could_be := any(tag.startswith(copy[last:end]) for tag in tags)) and end < len(copy):
            last = end if copy[end] == "<" else last
            end += 1
        heads |= {copy[start:n] for n in range(start + 1, end + could_be)}
        if not could_be:
            units.add(copy[start:end])
    blank = "".join(_escaped(c) for c in sorted({"\\", *copy} - {"<"}) if not worded(c))
    some = _choice(["[^<]", *_literals(units)])
    tail = f"({_choice(_literals(heads))})?" if heads else ""
    dull, telling = ([u for u in units if any(map(worded, u)) == says] for says in (False, True))
    before = f"({_choice([f'[{blank}]', *_literals(dull)])})*"
    word = f"({_choice([f'[^<{blank}]', *_literals(telling)])})"
    broken = [head for head in heads if any(map(worded, head))]
    ends = f"|{before}({_choice(_literals(broken))})" if broken else ""
    return f"/({some})*{tail}/", f"/{before}{word}({some})*{tail}{ends}/"


def _choice(expressions: Iterable[str]) -> str:
    return "|".join(expressions)


def _literals(strings: Iterable[str]) -> list[str]:
    return ["".join(map(_escaped, s)) for s in sorted(strings)]


def _escaped(char: str) -> str:
    return char if char.isalnum() or char in "<> " else f"\\x{{{ord(char):x}}}"
