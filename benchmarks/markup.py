"""Entities that a model finds in texts with markup: HTML, Markdown, e-mail, code, logs, tables, signatures, contracts.

    python benchmarks/markup.py [MODEL] [--format inline_xml compact ...] [--show] [--symbols] [--nested] [--out FILE]

The texts (`texts/markup.jsonl`, of our own making) have the people, places and organizations that a reader would mark.
For each format: gold and predicted entities; correct ones (span and label); predicted ones without a letter or a digit
(`signs`), containing markup, a tab or a line break (`marks`), overlapping with another one (`overlapping`), or with no
gold entity (`elsewhere`); passes, tokens, and truncated answers. `--show` prints what was found in each text.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from genner.data import read_corpus
from genner.document import Document, Entity
from genner.engines.base import Generation, Request
from genner.formats import get_format
from genner.loading import load

TEXTS = Path(__file__).parent / "texts" / "markup.jsonl"
MARKS = set("<>[]{}|=\t\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--format", nargs="*", default=["inline_xml"])
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--symbols", action="store_true")
    parser.add_argument("--nested", action="store_true", default=None)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    documents = list(read_corpus(TEXTS))
    ner = load(args.model, "core", symbols=args.symbols, nested=args.nested, min_score=0.0)
    rows = {}
    for name in args.format:
        ner = ner.replace(form=get_format(name))
        total: Counter[str] = Counter()

        def count(_: Request, made: Generation, total: Counter[str] = total) -> None:
            total.update(passes=made.passes, tokens=len(made.ends), truncated=not made.complete)

        for gold, found in zip(documents, ner.pipe(documents, on_generation=count), strict=True):
            row = counts(gold, found.entities)
            total.update(row)
            if args.show:
                said = [(found.mention(e), e.label) for e in found.entities]
                print(gold.id, " ".join(f"{key}={n}" for key, n in row.items() if n), said, flush=True)
        rows[name] = total
        print(name, " ".join(f"{key}={n}" for key, n in total.items()), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")


def counts(gold: Document, found: tuple[Entity, ...]) -> dict[str, int]:
    """The counts for one text."""
    mentions = [gold.mention(e) for e in found]
    return {
        "gold": len(gold.entities),
        "found": len(found),
        "right": len(set(gold.entities) & set(found)),
        "signs": sum(not any(map(str.isalnum, mention)) for mention in mentions),
        "marks": sum(not MARKS.isdisjoint(mention) for mention in mentions),
        "overlapping": sum(overlaps(e, [other for other in found if other != e]) for e in found),
        "elsewhere": sum(not overlaps(e, gold.entities) for e in found),
    }


def overlaps(entity: Entity, others: tuple[Entity, ...] | list[Entity]) -> bool:
    return any(other.start < entity.end and entity.start < other.end for other in others)


if __name__ == "__main__":
    main()
