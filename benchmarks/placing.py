"""Where `Format.decode` places a mention that an answer spells slightly differently from the text.

    python benchmarks/placing.py DATA [SET ...] [--sentences 400] [--formats ...] [--seed 1]

In each sentence, each gold entity in turn is altered, the others are unchanged. The kinds of change:

    letter   one of its letters is lost (mentions of three characters and more)
    blank    a blank is lost
    the      "the " is put in front (not where the mention begins with an article)
    number   the last word changes between singular and plural, by English spelling

Positions stated by an answer: a list states the occurrence index, or the gold offsets (`offset_json`), or these with an
error of up to 30 characters (`offset_json, wrong`); a grouped list states nothing; a copy states the place in the copy.

    changed   answers, except those whose changed mention is itself in the text, as words or at the stated place
    exact     the gold span
    dropped   no entity, and a problem
    other     another span, of whole words, and a problem
    torn      a span that begins or ends inside a word
    silent    not the gold span, and no problem
    strange   entities found for mentions of other sentences that are not in the text, and their number
"""

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genner.boundaries import boundaries
from genner.data import read_corpus
from genner.document import Document, Entity, LabelSet, Prediction
from genner.formats import FORMATS, Format

SETS = ("genia", "litbank", "uner_en_ewt", "germeval14", "ja_stockmark")
WAYS = (*FORMATS, "offset_json, wrong")
KINDS = ("letter", "blank", "the", "number")
OUTCOMES = ("changed", "exact", "dropped", "other", "torn", "silent")
ERROR = 30  # maximum error of wrong offsets, in characters
_ARTICLE = re.compile(r"(?:the|a|an|this|that|these|those|its|his|her|their|our|my|your)\b", re.IGNORECASE)


def changed(mention: str, kind: str, rng: random.Random) -> str | None:
    """The mention with a change of this kind; None if the change does not apply."""
    if kind == "letter":
        letters = [i for i, char in enumerate(mention) if char.isalpha()]
        if len(mention) < 3 or not letters:
            return None
        at = rng.choice(letters)
        return mention[:at] + mention[at + 1 :]
    if kind == "blank":
        blanks = [i for i, char in enumerate(mention) if char == " "]
        if not blanks:
            return None
        at = rng.choice(blanks)
        return mention[:at] + mention[at + 1 :]
    if kind == "the":
        return None if _ARTICLE.match(mention) else f"the {mention}"
    if len(mention) < 3 or not re.search(r"[A-Za-z]$", mention):
        return None
    if mention.endswith("ies") and len(mention) > 4:
        return mention[:-3] + "y"
    if mention.endswith("s"):
        return None if mention.endswith("ss") else mention[:-1]
    return mention[:-1] + "ies" if re.search(r"[^aeiouAEIOU]y$", mention) else mention + "s"


@dataclass(frozen=True)
class Case:
    """An answer in which one entity, `gold`, is written as `mention`."""

    document: Document
    gold: Entity
    mention: str
    answer: str


def written(way: str, document: Document, entity: Entity, mention: str, labels: LabelSet, rng: random.Random) -> str:
    """The answer for a document with one entity's mention altered."""
    form = FORMATS[way.partition(",")[0]]
    if "json" not in form.name:
        # The copy of the text with the changed mention.
        shift = len(mention) - (entity.end - entity.start)
        text = document.text[: entity.start] + mention + document.text[entity.end :]
        moved = (
            Entity(e.start + shift * (e.start >= entity.end), e.end + shift * (e.end >= entity.end), e.label)
            for e in document.entities
        )
        return form.encode(Document(text, tuple(moved)), labels)
    if form.name == "grouped_json":
        lists: dict[str, list[str]] = {tag: [] for tag in labels.tags}
        for e in document.entities:
            lists[e.label].append(mention if e == entity else document.mention(e))
        return json.dumps(lists, ensure_ascii=False)
    items = json.loads(form.encode(Document(document.text, (entity,)), labels))
    others = [e for e in document.entities if e != entity]
    said = json.loads(form.encode(Document(document.text, tuple(others)), labels))
    items[0]["text"] = mention
    if way != form.name:
        off = rng.choice([n for n in range(-ERROR, ERROR + 1) if n])
        items[0]["start"] += off
        items[0]["end"] += off
    place = sum((e.start, -e.end) < (entity.start, -entity.end) for e in others)
    return json.dumps([*said[:place], items[0], *said[place:]], ensure_ascii=False)


def apart(document: Document, entity: Entity, form: Format) -> Document:
    """The document without entities that overlap an entity, unless the format's entities are independent of each
    other."""
    if "json" in form.name:
        return document
    kept = tuple(e for e in document.entities if e == entity or e.end <= entity.start or entity.end <= e.start)
    return Document(document.text, kept, document.id)


def cases(documents: Sequence[Document], way: str, kind: str, labels: LabelSet, seed: int) -> Iterator[Case]:
    """One case per entity that the format can encode and the change applies to."""
    form = FORMATS[way.partition(",")[0]]
    for number, document in enumerate(documents):
        sayable, _ = form.encodable_part(document, "word")
        for entity in sayable.entities:
            rng = random.Random(f"{seed} {number} {entity.start} {entity.end} {entity.label} {kind}")
            mention = changed(document.mention(entity), kind, rng)
            if mention is None or not mention.strip():
                continue
            base = apart(sayable, entity, form)
            yield Case(base, entity, mention, written(way, base, entity, mention, labels, rng))


def stands(text: str, mention: str) -> bool:
    """Whether the text has the mention at word boundaries."""
    starts, ends = boundaries(text, "word")
    at = text.find(mention)
    while at >= 0:
        if starts[at] and ends[at + len(mention)]:
            return True
        at = text.find(mention, at + 1)
    return False


def outcome(case: Case, found: Prediction) -> str:
    """What became of the changed entity."""
    rest = Counter(found.entities)
    rest.subtract(e for e in case.document.entities if e != case.gold)
    gold = case.gold
    # A changed copy of a nested entity may match another entity: the unmatched one is the changed one.
    if rest[gold] > 0:
        return "exact"
    left = [entity for entity, times in rest.items() if times > 0]
    if not found.problems:
        return "silent"
    if not left:
        return "dropped"
    starts, ends = boundaries(found.text, "word")
    return "other" if all(starts[e.start] and ends[e.end] for e in left) else "torn"


def measure(documents: Sequence[Document], way: str, kind: str, labels: LabelSet, seed: int) -> Counter[str]:
    """The number of changed entities by outcome."""
    form, counts = FORMATS[way.partition(",")[0]], Counter[str]()
    for case in cases(documents, way, kind, labels, seed):
        if stands(case.document.text, case.mention):
            continue
        counts["changed"] += 1
        counts[outcome(case, form.decode(case.document.text, case.answer, labels))] += 1
    return counts


def strangers(documents: Sequence[Document], labels: LabelSet, seed: int) -> tuple[int, int]:
    """The number of entities found for mentions of another sentence that are not in the text, and the number tried."""
    rng, form = random.Random(seed), FORMATS["offset_json"]
    mentions = [(d.mention(e), e.label) for d in documents for e in d.entities]
    found = asked = 0
    for document in documents:
        for mention, label in rng.sample(mentions, min(4, len(mentions))):
            if not stands(document.text, mention):
                start = rng.randrange(len(document.text))
                item = {"text": mention, "label": label, "start": start, "end": start + len(mention)}
                asked += 1
                found += len(form.decode(document.text, json.dumps([item]), labels).entities)
    return found, asked


def main() -> None:
    """Print a row for each set, format and kind of change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--sentences", type=int, default=400, help="sentences with entities of each set")
    parser.add_argument("--formats", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("set", "format", "kind", *OUTCOMES, "exact %", sep="\t")
    for name in args.sets or SETS:
        documents = [d for d in read_corpus(args.data / name / "test.jsonl") if d.entities and d.text.strip()]
        documents = random.Random(args.seed).sample(documents, min(args.sentences, len(documents)))
        labels = LabelSet.of(*sorted({e.label for d in documents for e in d.entities}))
        for way in args.formats:
            for kind in KINDS:
                counts = measure(documents, way, kind, labels, args.seed)
                share = f"{100 * counts['exact'] / counts['changed']:.1f}" if counts["changed"] else ""
                print(name, way, kind, *(counts[o] for o in OUTCOMES), share, sep="\t", flush=True)
        print(name, "strange", *strangers(documents, labels, args.seed), sep="\t", flush=True)


if __name__ == "__main__":
    main()
