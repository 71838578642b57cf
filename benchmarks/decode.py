"""Time of `Format.decode` for answers of 1,000 to 100,000 characters: valid, damaged and adversarial.

    python benchmarks/decode.py [FORMAT ...]

For each format and kind of answer: seconds by size, and the exponent between the last two sizes (1: linear in the
answer, 2: quadratic). Times below a tenth of a second say little about the exponent.
"""

import json
import math
import random
import signal
import sys
import time
from collections.abc import Callable

from genner.document import Document, Entity, LabelSet
from genner.formats import FORMATS, Format
from genner.formats.json_list import JsonList

LABELS = LabelSet.of("PER", "LOC", "ORG")
SIZES = (1_000, 10_000, 100_000)
LIMIT = 120  # seconds: timeout of a case
SENTENCE = "Mina Berg of Acme met Bo in Oslo on Monday, as rain had come. "
MENTIONS = (("Mina Berg", "PER"), ("Acme", "ORG"), ("Bo", "PER"), ("Oslo", "LOC"))

Case = Callable[[Format, int], tuple[str, str]]
"""(format, size) -> a text and an answer about it of roughly that many characters."""


def document(size: int, seed: int = 0) -> Document:
    """Sentences with four entities each, distinguished by a number."""
    rng = random.Random(seed)
    parts, entities, at = list[str](), list[Entity](), 0
    while at < size:
        part = SENTENCE.replace("Mina Berg", f"Mina{rng.randrange(10**6)} Berg")
        for mention, label in MENTIONS:
            named = part[: part.index(" of ")] if mention == "Mina Berg" else mention
            entities.append(Entity(at + part.index(named), at + part.index(named) + len(named), label))
        parts.append(part)
        at += len(part)
    return Document("".join(parts), tuple(entities))


def sayable(form: Format, size: int) -> tuple[str, str]:
    """A text and its valid answer of about this size."""
    share = 0.25 if isinstance(form, JsonList) else 0.6
    kept, _ = form.encodable_part(document(int(size * share)))
    return kept.text, form.encode(kept, LABELS)


def damaged(form: Format, size: int) -> tuple[str, str]:
    """Every 200th character and the end are lost."""
    text, answer = sayable(form, size)
    return text, "".join(c for i, c in enumerate(answer) if i % 200 != 150)[: int(len(answer) * 0.95)]


def another(form: Format, size: int) -> tuple[str, str]:
    """The answer about another text."""
    _, answer = sayable(form, size)
    return document(len(answer), seed=1).text[::-1], answer


def prefaced(form: Format, size: int) -> tuple[str, str]:
    """The answer preceded by prose of the same length that looks like reasoning."""
    text, answer = sayable(form, size // 2)
    return text, "Well, <think>perhaps " * (len(answer) // 20) + "</think>" + answer


def repeated(unit: str, text: str = "a ") -> Case:
    """One repeated string, about a text that also repeats."""
    return lambda form, size: (text * (size // len(text)), unit * (size // len(unit)))


def same_word(form: Format, size: int) -> tuple[str, str]:
    """A text that repeats one word, each an entity; damaged at its beginning."""
    share = 1 / 60 if isinstance(form, JsonList) else 1 / 4
    text = "Bo " * int(size * share)
    entities = tuple(Entity(i, i + 2, "PER") for i in range(0, len(text), 3))
    kept, _ = form.encodable_part(Document(text, entities))
    return text, " " + form.encode(kept, LABELS)


def nested(form: Format, size: int) -> tuple[str, str]:
    """Nested entities, each one character shorter than the outer one."""
    if "json" in form.name:  # the mentions of nested entities grow with the square of the size
        return "x" * size, json.dumps(
            [{"text": "x", "label": "PER", "start": i, "end": i + 1} for i in range(size // 60)]
        )
    depth = size // 12
    text = "x" * (2 * depth + 1)
    return text, form.encode(Document(text, tuple(Entity(i, len(text) - i, "PER") for i in range(depth))), LABELS)


def strangers(form: Format, size: int) -> tuple[str, str]:
    """Distinct mentions that the text does not contain."""
    text = document(size).text
    mentions = [f"Nobody {i:06}" for i in range(size // 60)]
    if form.name == "grouped_json":
        return text, json.dumps({"PER": mentions})
    return text, json.dumps(
        [{"text": m, "label": "PER", "start": 9, "end": 20, "occurrence_index": 1} for m in mentions]
    )


def unasked(form: Format, size: int) -> tuple[str, str]:
    """Each word is an entity with its own label, none of which was asked for."""
    words = [f"w{i}" for i in range(1 if form.prompt_per_label else size // 30)]
    text, entities, at = " ".join(words), [], 0
    for word in words:
        entities.append(Entity(at, at + len(word), f"L{word}"))
        at += len(word) + 1
    labels = LabelSet.of(*(e.label for e in entities))
    return text, form.encode(Document(text, tuple(entities)), labels)


CASES: dict[str, Case] = {
    "valid": sayable,
    "damaged": damaged,
    "about another text": another,
    "behind prose": prefaced,
    "one word, again and again": same_word,
    "nested": nested,
    "strange mentions": strangers,
    "labels not asked for": unasked,
    "<": repeated("<"),
    "<PER>": repeated("<PER>"),
    "<PER> then </LOC>": lambda form, size: ("a " * (size // 2), "<PER>" * (size // 11) + "</LOC>" * (size // 11)),
    "[": repeated("["),
    "| ]": repeated("a | x]"),
    "blanks": repeated(" "),
    "|": repeated("|"),
    "@@": repeated("@@"),
    "@@ ##": repeated("@@a ##"),
    '{"': repeated('{"'),
    '{\\"': repeated('{\\"'),
    '{"a": [': repeated('{"a": ['),
    '{"a": [1, ': repeated('{"a": [1, '),
    '"PER": ["a", ': repeated('"PER": ["a", '),
    "<think>": repeated("<think>"),
    "<channel>": repeated("<|channel|>a"),
}


def measure(form: Format, case: Case) -> list[float | None]:
    """Seconds for each size; None after a timeout."""
    found: list[float | None] = []
    for size in SIZES:
        text, answer = case(form, size)
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        try:
            form.decode(text, answer, LABELS)
        except TimeoutError:
            found.append(None)
            break
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        found.append(time.process_time() - begun)
    return found


def _give_up(*_: object) -> None:
    raise TimeoutError


def main() -> None:
    """Print a row for each format and kind of answer."""
    signal.signal(signal.SIGVTALRM, _give_up)
    print("format", "answer", *(f"{size:,}" for size in SIZES), "exponent", sep="\t")
    for name in sys.argv[1:] or FORMATS:
        for kind, case in CASES.items():
            seconds = measure(FORMATS[name], case)
            known = [s for s in seconds if s is not None]
            ratio = known[-1] / max(known[-2], 1e-4) if len(known) == len(SIZES) else math.nan
            shown = ["-" if s is None else f"{s:.3f}" for s in seconds]
            print(name, kind, *shown, f"{math.log10(max(ratio, 1e-3)):.2f}", sep="\t", flush=True)


if __name__ == "__main__":
    main()
