"""Carry entities from a changed copy of a text over to the text itself.

A model that writes freely changes what it copies: it drops a blank, mends a typo, adds a preface, stops early. The two
texts are aligned by their Levenshtein edit script (rapidfuzz, bit-parallel), and an entity goes where its characters
went. What cannot be placed is dropped; both are counted, each in its own `Problem`.
"""

from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from genner.document import Entity, Problem

MIN_OVERLAP = 0.8  # the share of a mention's characters that must stand in the text, in order
MAX_CELLS = 400_000_000  # beyond, the edit script would take hundreds of megabytes: search for mentions instead


def align(
    text: str, copy: str, entities: Iterable[Entity], *, look_up: bool = True
) -> tuple[tuple[Entity, ...], list[Problem]]:
    """The entities of `copy` placed in `text`, each once, and what had to be repaired or dropped.

    Without `look_up`, those alone up to whose end the copy is the text.
    """
    problems: list[Problem] = []
    if copy == text:
        placed: list[Entity | None] = [*entities]
    elif not look_up:
        placed = _by_prefix(text, copy, entities, problems)
    elif len(copy) * len(text) <= MAX_CELLS:
        placed = _by_edit_script(text, copy, entities, problems)
    else:
        placed = _by_search(text, copy, entities, problems)
    unique: dict[Entity, None] = {}
    for entity in placed:
        if entity is None:
            continue
        if entity in unique:
            mention = text[entity.start : entity.end]
            problems.append(Problem("duplicate", f"{entity.label} {mention!r} at {entity.start} is written twice"))
        unique[entity] = None
    return tuple(unique), problems


def _by_prefix(text: str, copy: str, entities: Iterable[Entity], problems: list[Problem]) -> list[Entity | None]:
    same = next((i for i, (a, b) in enumerate(zip(text, copy, strict=False)) if a != b), min(len(text), len(copy)))
    problems.append(Problem("invalid", f"the copy differs from the text at {same}"))
    placed: list[Entity | None] = []
    for entity in entities:
        placed.append(entity if entity.end <= same else None)
        if entity.end > same:
            mention = copy[entity.start : entity.end]
            problems.append(Problem("dropped", f"{entity.label} {mention!r} is not where the answer says"))
    return placed


def _by_edit_script(text: str, copy: str, entities: Iterable[Entity], problems: list[Problem]) -> list[Entity | None]:
    where: list[int | None] = [None] * len(copy)  # for each character of the copy, its place in the text
    lost, added, tail = 0, 0, ""
    for edit in Levenshtein.opcodes(copy, text):
        if edit.tag == "equal":
            where[edit.src_start : edit.src_end] = range(edit.dest_start, edit.dest_end)
        else:
            lost += edit.dest_end - edit.dest_start
            added += edit.src_end - edit.src_start
            if edit.dest_end == len(text):
                tail = text[edit.dest_start :]
    problems.append(
        Problem("invalid", f"the copy differs from the text: {lost} characters missing or changed, {added} added")
    )
    if tail.strip():
        problems.append(Problem("truncated", f"the copy ends {len(tail)} characters before the text does"))
    placed: list[Entity | None] = []
    for entity in entities:
        mention = copy[entity.start : entity.end]
        found = [i for i in where[entity.start : entity.end] if i is not None]
        span = (found[0], found[-1] + 1) if found else (0, 0)
        if not found or len(found) < MIN_OVERLAP * max(len(mention), span[1] - span[0]):
            problems.append(Problem("dropped", f"{entity.label} {mention!r} is not in the text"))
            placed.append(None)
            continue
        if span != entity.span:
            problems.append(Problem("realigned", f"{entity.label} {mention!r} placed at {span[0]}"))
        placed.append(Entity(*span, entity.label, entity.score))
    return placed


def _by_search(text: str, copy: str, entities: Iterable[Entity], problems: list[Problem]) -> list[Entity | None]:
    """Place each mention at its next verbatim occurrence; linear, for texts too long for an edit script."""
    problems.append(Problem("invalid", "the copy differs from the text; both are too long to align, so searched"))
    if len(copy) < len(text) and text.startswith(copy):
        problems.append(Problem("truncated", f"the copy ends {len(text) - len(copy)} characters before the text does"))
    placed: list[Entity | None] = []
    after = 0
    for entity in sorted(entities, key=lambda e: e.start):
        mention = copy[entity.start : entity.end]
        at = text.find(mention, after)
        if at < 0:
            problems.append(Problem("dropped", f"{entity.label} {mention!r} is not in the rest of the text"))
            placed.append(None)
            continue
        problems.append(Problem("realigned", f"{entity.label} {mention!r} placed at {at}"))
        placed.append(Entity(at, at + len(mention), entity.label, entity.score))
        after = at  # not past it: an inner entity may follow
    return placed
