"""Does each rival learn by heart, and does it learn nothing from noise? With a real encoder, in minutes a row.

    python benchmarks/rival_checks.py ENCODER --flat DATA/uner_en_ewt/train.jsonl --nested DATA/genia/train.jsonl \\
        --out rival_checks.json

    overfit   50 sentences with entities, all of which the rival can express; trained and scored on them. Rivals that
              can nest get the nested corpus, and half of the sentences have nested entities. Right: F1 above 98.
              Training ends at an F1 of 1, or after 30 epochs without a better one.
    shuffled  trained on 100 sentences, scored on 100 others, in all of which the entities stand at random places (as
              many, with their lengths and labels); a tenth of the epochs. Right: F1 near 0. More would mean that gold
              reaches predictions.

A finished row is not measured again, unless `--fresh`.
"""

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genner.data import read_corpus
from genner.document import Document, Entity, LabelSet
from genner.evaluation.pairing import digest
from genner.rivals import RIVALS, rival_class
from genner.rivals.base import EncoderRival
from genner.rivals.words import words
from genner.writing import write_atomic

CHECKS = ("overfit", "shuffled")
SENTENCES = 50
SHUFFLED = 100  # sentences for training, and as many for the score
MOST_WORDS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="folder, or name on the hub")
    parser.add_argument("--flat", type=Path, required=True)
    parser.add_argument("--nested", type=Path, required=True)
    parser.add_argument("--rivals", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--checks", nargs="+", default=list(CHECKS), choices=CHECKS)
    parser.add_argument("--minutes", type=float, help="of training, at most, for each row; without, all epochs")
    parser.add_argument("--encoder-rate", type=float, default=3e-4)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--set", nargs="*", default=[], help="hyperparameters of the rivals: KEY=VALUE")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--bf16", action="store_true", help="train in mixed precision")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--out", type=Path, required=True, help="JSON, written after each row")
    args = parser.parse_args()
    rows: dict[str, Any] = {} if args.fresh or not args.out.exists() else json.loads(args.out.read_text())
    own = dict(pair.split("=", 1) for pair in args.set)
    corpora = {flat: _short(file) for flat, file in ((True, args.flat), (False, args.nested))}
    for check in args.checks:
        for name in args.rivals:
            if f"{name} {check}" not in rows:
                rows[f"{name} {check}"] = found = _row(name, check, corpora, args, own)
                write_atomic(args.out, json.dumps(rows, indent=1) + "\n")
                print(name, check, found, flush=True)


def _row(
    name: str, check: str, corpora: dict[bool, list[Document]], args: argparse.Namespace, own: dict[str, Any]
) -> dict[str, Any]:
    rival = rival_class(name)(args.encoder, **{key: json.loads(value) for key, value in own.items()})
    pair = LabelSet.of("A", "B")
    options = replace(
        rival.fit_options,
        encoder_rate=args.encoder_rate,
        head_rate=args.head_rate,
        epochs=args.epochs,
        batch_size=8,
        warmup=0.1,
        patience=30,
        max_minutes=args.minutes,
        bf16=args.bf16,
    )
    rival.begin(pair, options)
    flat = bool(rival.unencodable(Document("a b c", (Entity(0, 3, "A"), Entity(0, 1, "B")))))
    documents = corpora[flat]
    labels = LabelSet.of(*sorted({e.label for d in documents for e in d.entities}))
    rival.begin(labels, options)
    if check == "overfit":
        train = dev = test = _expressible(rival, documents, nested=not flat)
    else:
        moved = [_moved(d) for d in documents if d.entities][: 2 * SHUFFLED]
        train, dev, test = moved[:SHUFFLED], [], moved[SHUFFLED:]
        options = replace(options, epochs=max(1, options.epochs // 10), patience=0)
    begun = time.perf_counter()
    with TemporaryDirectory() as folder:
        report = rival.fit(train, dev, labels, folder=Path(folder), options=options, quiet=True)
    return {
        "f1": round(100 * rival.f1(test), 2),
        "corpus": (args.flat if flat else args.nested).parent.name,
        "sentences": len(train),
        "entities": sum(len(d.entities) for d in test),
        "steps": report.steps,
        "training_minutes": round(report.seconds / 60, 2),
        "minutes": round((time.perf_counter() - begun) / 60, 2),
        "digest": digest(train),
        "signature": rival.signature,
    }


def _short(file: Path) -> list[Document]:
    """The sentences of a corpus that are not long, in random order; each text once."""
    found = {d.text: d for d in read_corpus(file) if 3 <= len(words(d.text)) <= MOST_WORDS}
    documents = list(found.values())
    random.Random(0).shuffle(documents)
    return documents


def _expressible(rival: EncoderRival, documents: Sequence[Document], *, nested: bool) -> list[Document]:
    """Sentences whose entities the rival can express; half of them with nested ones."""
    kinds: dict[bool, list[Document]] = {True: [], False: []}
    for document in documents:
        if document.entities and not rival.unencodable(document):
            kinds[_nests(document)].append(document)
        if len(kinds[False]) >= SENTENCES and (not nested or len(kinds[True]) >= SENTENCES // 2):
            break
    some = kinds[True][: SENTENCES // 2] if nested else []
    return some + kinds[False][: SENTENCES - len(some)]


def _nests(document: Document) -> bool:
    ordered = sorted(document.entities, key=lambda e: (e.start, -e.end))
    return any(b.start < a.end for a, b in pairwise(ordered))


def _moved(document: Document) -> Document:
    """The document with its entities at random places, none of which overlaps another."""
    draw = random.Random(document.text)
    places = words(document.text)
    entities: list[Entity] = []
    for entity in document.entities:
        length = min(len(places), max(1, sum(entity.start <= s < entity.end for s, _ in places)))
        begin = draw.randrange(len(places) - length + 1)
        start, end = places[begin][0], places[begin + length - 1][1]
        if not any(start < other.end and other.start < end for other in entities):
            entities.append(Entity(start, end, entity.label))
    return Document(document.text, tuple(entities), document.id)


if __name__ == "__main__":
    main()
