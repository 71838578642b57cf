"""Encoders beside generative models, on the same documents: scores, differences, what neither can express, and cost."""

from collections.abc import Sequence

from genner.report.cell_items import CellItem
from genner.report.entries import BEST, against_best, cells_of, limits, magnitude, score, tested
from genner.report.estimates import STARS, corrected, stars
from genner.report.number_text import interval_text, shown
from genner.report.results import CellGroup
from genner.report.source import ScoredTest, Source
from genner.report.table import Column, Entry, Missing, Table, TableRow, TableText, Value
from genner.report.terms import ENCODER, TOOL

_BLOCKS = {ENCODER: "Encoders", TOOL: "Tools"}
_GENERATIVE = "Generative models"


def encoder_tables(source: Source) -> list[Table]:
    """A table for each test set on which an encoder was run."""
    return [_table(test) for test in source.tests() if any(g.key.system.rival for g in test.groups)]


def _table(test: ScoredTest) -> Table:
    groups = sorted(test.groups, key=lambda g: [*_BLOCKS, g.key.format].index(g.key.format))
    source = test.source
    f1 = against_best([score(source, g) for g in groups], tested(source))
    differences = _differences(source, groups, f1)
    rows = [
        TableRow(
            g.key.heads,
            (
                number,
                difference,
                _ratio(g, "precision"),
                _ratio(g, "recall"),
                _share_lost(g),
                _parameters(g),
                _training_documents(source, g),
                _training_minutes(source, g),
                TableText(g.key.system.rival or g.key.system.source),
            ),
            _BLOCKS.get(g.key.format, _GENERATIVE),
        )
        for g, number, difference in zip(groups, f1, differences, strict=True)
    ]
    return Table(
        f"encoders-{test.number}",
        f"{_kinds(groups).capitalize()} beside generative models: {test.title}",
        ("System", "Format", "Decoding"),
        (
            Column("F1"),
            Column("against the best of the other kind, points"),
            Column("precision"),
            Column("recall"),
            Column("cannot express, % of gold"),
            Column("parameters, millions"),
            Column("documents", "Training"),
            Column("minutes", "Training"),
            Column("which", text=True),
        ),
        tuple(rows),
        f"{test.about}. Strict, in percent, with intervals at 95 %, over the same documents by the same code.",
        (
            "F1: " + BEST.format(family="comparisons of the column"),
            f"Against the best of the other kind: of {_kinds(groups)}, the F1 less that of the generative model, "
            "format and decoding with the highest F1; of a generative model, its F1 less the highest of the others. "
            "Paired. " + STARS.format(family="differences of the column") + ".",
            "Cannot express: gold entities that no output of the system can hold (they overlap, end inside a word, "
            "...); they count as missed. Training: the documents that it saw here, and the time of the whole cell, "
            "loading and evaluation included, on its machine; several machines, or cells at a time, do not compare.",
            *_unseen(source, groups),
        ),
    )


def _kinds(groups: Sequence[CellGroup]) -> str:
    return "encoders and tools" if any(g.key.format == TOOL for g in groups) else "encoders"


def _unseen(source: Source, groups: Sequence[CellGroup]) -> list[str]:
    """The labels of which the training data of an encoder have no entity."""
    notes: dict[str, None] = {}
    for group in groups:
        for item in group.done:
            training = source.collection.training(item)
            unseen = training.result.metrics.get("unseen") if training and training.result else None
            if unseen:
                notes[f"{group.key.system.title}: no entity in its training data of {', '.join(unseen)}."] = None
    return list(notes)


def _best(groups: Sequence[CellGroup], f1: Sequence[Entry], rival: bool) -> tuple[CellGroup, Value] | None:
    """The encoder, or generative model, with the highest F1."""
    known = [
        (g, e) for g, e in zip(groups, f1, strict=True) if isinstance(e, Value) and bool(g.key.system.rival) == rival
    ]
    return max(known, key=lambda pair: pair[1].number, default=None)


def _differences(source: Source, groups: Sequence[CellGroup], f1: Sequence[Entry]) -> list[Entry]:
    """The difference of each row to the best of the other kind."""
    best = {rival: _best(groups, f1, rival) for rival in (True, False)}
    other = [best[not g.key.system.rival] for g in groups]
    found = corrected(
        [
            tested(source)(pair[1], entry) if pair and isinstance(entry, Value) else None
            for pair, entry in zip(other, f1, strict=True)
        ]
    )
    entries: list[Entry] = []
    for group, pair, entry, d in zip(groups, other, f1, found, strict=True):
        if not isinstance(entry, Value):
            entries.append(group.missing())
        elif pair is None:
            entries.append(Missing("absent"))
        elif d is None:
            entries.append(Missing("undefined", group.cells, "a cell kept no answers, or they are of other documents"))
        else:
            cells = cells_of([entry, pair[1]])
            entries.append(Value(d.value, "points", *limits(d), p=d.p, mark=stars(d), cells=cells))
    return entries


def _ratio(group: CellGroup, name: str) -> Entry:
    number = group.mean("strict", name)
    return group.missing("not recorded") if number is None else Value(number, "f1", cells=group.cells)


def _share_lost(group: CellGroup) -> Entry:
    """Gold entities of the test documents that the system cannot express, as a share of all."""
    lost, gold = 0.0, 0.0
    for item in group.done:
        if item.result is None or "unencodable" not in item.result.metrics:
            return group.missing("not recorded")
        lost += sum(item.metrics("unencodable").values())
        gold += item.metric("strict", "gold") or 0
    return Value(lost / gold, "percent", cells=group.cells) if gold else group.missing("no gold entities")


def _parameters(group: CellGroup) -> Entry:
    number = group.mean("parameters")
    return group.missing("not recorded") if number is None else Value(number / 1e6, "number", cells=group.cells)


def _training_documents(source: Source, group: CellGroup) -> Entry:
    """The mean over seeds of the documents that the system was trained on."""
    trained = [training for item in group.done if (training := source.collection.training(item))]
    found = [number for training in trained if (number := _documents(training))]
    if not found:
        return group.missing("not trained here")
    return Value(sum(found) / len(found), "count", cells=tuple(item.id for item in trained))


def _documents(training: CellItem) -> float | None:
    """The documents of a training, of a rival or of a generative model; None if they are not recorded."""
    sentences = training.metrics("data").get("sentences")
    return sum(sentences.values()) if isinstance(sentences, dict) else training.metric("documents")


def _training_minutes(source: Source, group: CellGroup) -> Entry:
    """The mean over seeds of the time of the cells that trained the system."""
    trained = [training for item in group.done if (training := source.collection.training(item))]
    seconds = [training.result.seconds for training in trained if training.result]
    if not seconds:
        return group.missing("not trained here")
    return Value(sum(seconds) / len(seconds) / 60, "minutes", cells=tuple(item.id for item in trained))


def _trained_on(source: Source, group: CellGroup) -> str:
    documents = _training_documents(source, group)
    return f", trained on {shown(documents)} documents" if isinstance(documents, Value) else ", not trained here"


def encoder_findings(test: ScoredTest) -> list[str]:
    """How the best encoder compares with the best generative model; empty without one of either."""
    groups = test.groups
    f1 = [score(test.source, g) for g in groups]
    encoder, model = (_best(groups, f1, rival) for rival in (True, False))
    if encoder is None or model is None:
        return []
    names = [f"“{g.key.system.title}” ({shown(e)}{_trained_on(test.source, g)})" for g, e in (encoder, model)]
    kind = "tool" if encoder[0].key.format == TOOL else "encoder"
    said = f"{test.title} ({test.count}): the best {kind}, {names[0]}, and the best generative model, {names[1]}"
    d = tested(test.source)(model[1], encoder[1])
    if d is None or not d.known:
        return [f"{said}, cannot be compared."]
    if not d.sure:
        interval = interval_text(Value(d.value, "points", *limits(d)))
        return [f"{said}: that they differ cannot be told ({kind} less model: {interval} points)."]
    way, by = "above" if d.value > 0 else "below", magnitude(d)
    return [f"{said}: the {kind} is {shown(by)} points {way} it ({interval_text(by)})."]
