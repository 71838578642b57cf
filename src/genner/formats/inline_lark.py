"""The answers of an inline format whose opening and closing tags both name the label, as terminals for llguidance.

Rules have to name all open entities in each state, so with 5 labels three deep they come to a megabyte a sentence. The
Lark of llguidance knows the intersection of terminals, and two short ones say it all, at any depth:

    COPY   the text, with opening tags wherever an entity may start, and closing ones wherever one may end
    NEST   tags that are closed in order, so many deep, each around something that is no punctuation

Their size grows with the text, and with labels times depth. Exact for flat entities; of nested ones, the same span may
be given the same label twice, as in the rules.
"""

from collections.abc import Iterable, Sequence

from genner.cfg import quoted
from genner.grammar import worded


def nested_terminals(
    text: str,
    copies: Sequence[str],
    opening: Sequence[str],
    closing: Sequence[str],
    places: tuple[Sequence[bool], Sequence[bool], Sequence[int]],
    depth: int,
) -> str:
    """Lark for the copy of a text with tags, of which there is one of each kind for each label.

    Tags are `<...>` without another `<` in them, and none occurs in the copy. `places` says where entities may start
    and end, as `boundaries` does, and where first, as `first_ends` does.
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
        # What is around an entity holds a word since that one does.
        inside = f"(WORDED | TEXT (ENTITY{level - 1} TEXT)+)" if level > 1 else "WORDED"
        around = (f"{quoted(o)} {inside} {quoted(c)}" for o, c in zip(opening, closing, strict=True))
        lines.append(f"ENTITY{level}: {' | '.join(around)}")
    return "\n".join([*lines, f"NEST: TEXT (ENTITY{depth} TEXT)*"]) + "\n"


def _texts(copy: str, tags: Sequence[str]) -> tuple[str, str]:
    """Regular expressions for stretches of the copy: for any, and for one that is more than punctuation.

    A `<` of the copy is taken together with what tells it from a tag: a unit. A tag may stand before that, so a stretch
    may break off in a unit, and nowhere else is a `<` left open.
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
