"""Limits of decoding, counted on gold data: entities excluded by each rule, and answers that exceed their token budget.

    python benchmarks/allowed.py DATA [--budgets MODEL] [--sentences N] [--out FILE]

DATA holds a folder of JSON lines for each corpus. A rule's count is the number of entities that it excludes by itself:

    word          those not at word boundaries
    FORMAT        those that begin where the text has what the format's markup begins with
    punctuation   those without a letter, a digit or another symbol that stands for a word
    span          those that share their span with another entity
    depth         those of sentences that nest deeper than decoding allows for unknown labels

With `--budgets`, each gold answer is tokenized with the model's tokenizer and compared with its budget, in every
format, with the original labels and with labels of 40 characters. `--sentences` of each corpus are used (1,000 by
default; 0: all): half of them those with the most entities per character, the others evenly spaced.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from genner.boundaries import boundaries, worded
from genner.data import read_corpus
from genner.data.describe import nesting
from genner.decoding_constraints import DEFAULT_DEPTH, decoding_constraints
from genner.document import Document, Entity, LabelSet
from genner.engines.base import Request
from genner.engines.chat import Chat
from genner.engines.decoding import budget
from genner.formats import FORMATS
from genner.model_store import locate

WINDOW = 1 << 30
LONG = 40  # characters of a long label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--budgets", metavar="MODEL")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chat = Chat(AutoTokenizer.from_pretrained(locate(args.budgets))) if args.budgets else None
    rows: dict[str, dict[str, Any]] = {}
    for folder in sorted(path for path in args.data.iterdir() if path.is_dir()):
        documents = [d for file in sorted(folder.glob("*.jsonl")) for d in read_corpus(file)]
        if not any(d.entities for d in documents):
            continue
        row: dict[str, Any] = dict(lost(documents))
        if chat:
            row["budgets"] = budgets(chosen(documents, args.sentences or len(documents)), chat)
        rows[folder.name] = row
        print(folder.name, " ".join(f"{key}={value}" for key, value in row.items()), flush=True)
    total: Counter[str] = Counter()
    for row in rows.values():
        total.update({key: value for key, value in row.items() if isinstance(value, int)})
    print("all", " ".join(f"{key}={value}" for key, value in total.items()))
    if args.out:
        args.out.write_text(json.dumps({**rows, "all": total}, indent=1) + "\n")


def lost(documents: Sequence[Document]) -> Counter[str]:
    """The number of entities, and the number that each rule excludes, for rules that exclude any."""
    found: Counter[str] = Counter()
    for document in documents:
        starts, ends = boundaries(document.text, "word")
        spans = Counter(e.span for e in document.entities)
        found["entities"] += len(document.entities)
        found["span"] += len(document.entities) - len(spans)
        found["depth"] += nesting(document.entities)[2] > DEFAULT_DEPTH
        for entity in document.entities:
            found["word"] += not (starts[entity.start] and ends[entity.end])
            found["punctuation"] += not any(map(worded, document.mention(entity)))
            for form in FORMATS.values():
                found[form.name] += document.text.startswith(form.forbidden_start_chars, entity.start)
    return +found


def chosen(documents: Sequence[Document], number: int) -> list[Document]:
    """A sample of documents: half the densest, half evenly spaced."""
    if number >= len(documents):
        return list(documents)
    densest = sorted(documents, key=lambda d: len(d.entities) / (1 + len(d.text)), reverse=True)[: number // 2]
    return densest + list(documents)[:: max(1, 2 * len(documents) // number)]


def budgets(documents: Sequence[Document], chat: Chat) -> dict[str, Any]:
    """For each format: gold answers, those over budget, and the largest share of its budget that an answer takes."""
    legal = {e.label: re.sub(r"[/&,:#]", "-", e.label) for d in documents for e in d.entities}  # as tags require
    documents = [
        Document(d.text, tuple(Entity(e.start, e.end, legal[e.label]) for e in d.entities), d.id) for d in documents
    ]
    tags = sorted(set(legal.values()))
    depth = max(nesting(d.entities)[2] for d in documents)
    long = {tag: (f"{tag}_" + "sovereign_state_or_other_kind_of_territory")[: max(LONG, len(tag))] for tag in tags}
    found: dict[str, Any] = {}
    for form in FORMATS.values():
        over, fullest, answers = 0, 0.0, 0
        for names in ({tag: tag for tag in tags}, {tag: f"{i}{said}" for i, (tag, said) in enumerate(long.items())}):
            for document, labels in asked(documents, names, depth, form.prompt_per_label):
                sayable, _ = form.encodable_part(document, "strict")
                taken = len(chat.answer_ids(form.encode(sayable, labels)))
                request = Request("", document.text, form.grammar(document.text, labels, decoding_constraints(labels)))
                room = budget(chat, request, 0, WINDOW)
                answers, over, fullest = answers + 1, over + (taken > room), max(fullest, taken / room)
        found[form.name] = {"answers": answers, "over": over, "fullest": round(fullest, 2)}
    return found


def asked(
    documents: Sequence[Document], names: dict[str, str], depth: int, prompt_per_label: bool
) -> Iterator[tuple[Document, LabelSet]]:
    """Documents with renamed labels, each with its label set."""
    labels = LabelSet(LabelSet.of(*names.values()).labels, depth)
    for document in documents:
        renamed = [Entity(e.start, e.end, names[e.label]) for e in document.entities]
        there = sorted({e.label for e in renamed})  # for the others, the answer is the text
        for part in [labels.subset([tag]) for tag in there] if prompt_per_label else [labels]:
            yield Document(document.text, tuple(e for e in renamed if e.label in part)), part


if __name__ == "__main__":
    main()
