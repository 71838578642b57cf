"""Cost of a grammar: microseconds of processor time per decoded token, on real sentences, without a model.

    python benchmarks/grammar.py DATA/genia/test.jsonl TOKENIZER [TOKENIZER ...]

A tokenizer is a folder with `tokenizer.json`, or a preset of `genner models`. The gold answers are walked token by
token, as a decoder does that takes them. Columns, all with the building of the grammars:

    legal    the legal tokens by the walk over bytes (`Vocabulary.legal`)
    next     the same by the strings of the grammar (`Vocabulary.next_tokens`)
    rows N   what a server pays per row and step in batches of N: `next`, and the logits of the whole vocabulary
             restricted to the legal tokens (`genner.vllm_plugin.rows`); finished rows are replaced at once

All are means: of the first two over the sentences, after as many others that are not counted; of a batch over its
steps after the first 20. Each is measured in several rounds, of which the lowest is told: other work on the machine
only adds. Writes JSON with `--out`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from genner.data import read_corpus
from genner.decoding_constraints import decoding_constraints
from genner.document import Document, LabelSet
from genner.engines.vocabulary import Vocabulary
from genner.errors import GennerError
from genner.formats import FORMATS, Format
from genner.grammar import Grammar
from genner.labels import label_set, label_sets
from genner.model_store import locate
from genner.vllm_plugin.rows import AnswerRow, LegalLogits

WARM_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--batches", nargs="*", type=int, default=[64, 256])
    parser.add_argument("--steps", type=int, default=60, help="steps of each batch that are counted")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)

    documents = list(read_corpus(args.file))
    documents = documents[:: max(1, len(documents) // (2 * args.sentences))][: 2 * args.sentences]
    labels = label_set(args.file.parent.name if args.file.parent.name in label_sets() else "core")
    rows = []
    for name in args.tokenizers:
        tokenizer = load(name)
        for form in (FORMATS[name] for name in args.formats):
            vocabulary = Vocabulary(tokenizer, tokenizer.eos_token_id or 0, len(tokenizer))
            asked = [
                (text, tokenizer(answer, add_special_tokens=False)["input_ids"])
                for text, answer in (written(form, document, labels) for document in documents)
            ]
            made = Maker(form, labels)
            walks: dict[str, float] = {}
            for kind, walk in (("legal", by_bytes), ("next", by_strings)):
                for text, tokens in asked[::2]:
                    walk(vocabulary, made(text), tokens)
                walks[kind] = min(whole(walk, vocabulary, made, asked[1::2]) for _ in range(args.rounds))
            for size in args.batches:
                walks[f"rows {size}"] = min(
                    batch(vocabulary, len(tokenizer), made, asked, size, args.steps) for _ in range(args.rounds)
                )
            row = {"tokenizer": Path(name).name, "vocabulary": len(tokenizer), "format": form.name} | walks
            rows.append(row)
            print(" ".join(f"{k}={v:.1f}" if isinstance(v, float) else str(v) for k, v in row.items()), flush=True)
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def load(name: str) -> Any:
    try:
        folder = locate(name)
    except GennerError:
        folder = Path(name)
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def written(form: Format, document: Document, labels: LabelSet) -> tuple[str, str]:
    """The text of a document, and the answer with those of its entities that decoding allows."""
    sayable, _ = form.encodable_part(document, "strict")
    return sayable.text, form.encode(sayable, labels)


class Maker:
    """Makes the grammars of a format, as decoding has them."""

    def __init__(self, form: Format, labels: LabelSet) -> None:
        self._form, self._labels, self._constraints = form, labels, decoding_constraints(labels, nested=True)

    def __call__(self, text: str) -> Grammar:
        return self._form.grammar(text, self._labels, self._constraints)


# Both return the number of tokens that they walked: a few gold answers have a token that decoding does not allow.


def by_bytes(vocabulary: Vocabulary, grammar: Grammar, tokens: list[int]) -> int:
    state = grammar.start()
    for count, token in enumerate(tokens):
        legal = vocabulary.legal(grammar, state)
        if token not in legal:
            return count + 1
        state = legal[token]
    return len(tokens)


def by_strings(vocabulary: Vocabulary, grammar: Grammar, tokens: list[int]) -> int:
    state = grammar.start()
    for count, token in enumerate(tokens):
        found = vocabulary.next_tokens(grammar, state)
        if token not in found.tokens:
            return count + 1
        state = found.after(token)
    return len(tokens)


def whole(
    walk: Callable[[Vocabulary, Grammar, list[int]], int],
    vocabulary: Vocabulary,
    made: Maker,
    asked: list[tuple[str, list[int]]],
) -> float:
    """Microseconds per token."""
    begun = time.thread_time()
    count = sum(walk(vocabulary, made(text), tokens) for text, tokens in asked)
    return 1e6 * (time.thread_time() - begun) / count


def batch(
    vocabulary: Vocabulary, size: int, made: Maker, asked: list[tuple[str, list[int]]], rows: int, steps: int
) -> float:
    """Microseconds per row and step."""
    logits = torch.zeros(rows, size)
    restrictor, source = LegalLogits(), cycle(asked)
    batch: list[tuple[AnswerRow, Iterator[int]]] = []
    for _ in range(rows):
        text, tokens = next(source)
        batch.append((AnswerRow(made(text), vocabulary), iter(tokens)))
    spent = 0.0
    for step in range(WARM_STEPS + steps):
        begun = time.thread_time()
        restrictor.restrict(logits, {index: row for index, (row, _) in enumerate(batch)})
        for index, (row, tokens_left) in enumerate(batch):
            token = next(tokens_left, None)
            if token is None:
                text, tokens = next(source)
                batch[index] = AnswerRow(made(text), vocabulary), iter(tokens)
            else:
                row.take([token])
        if step >= WARM_STEPS:
            spent += time.thread_time() - begun
    return 1e6 * spent / (rows * steps)


if __name__ == "__main__":
    main()
