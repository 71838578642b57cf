"""Cost of a grammar: microseconds per decoded token to find the legal tokens, on real sentences, without a model.

    python benchmarks/grammar.py DATA/genia/test.jsonl TOKENIZER [TOKENIZER ...]

A tokenizer is a folder with `tokenizer.json`, or a preset of `genner models`. For each format the gold answers are
walked token by token, and at each token the legal ones are computed, as the decoder does. Prints the mean and the 99th
percentile over the tokens, after one sentence that is not counted, and writes JSON with `--out`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from genner.data import read_corpus
from genner.document import Document, LabelSet
from genner.engines.vocabulary import Vocabulary
from genner.errors import GennerError
from genner.formats import FORMATS, Format
from genner.grammar import Constraints
from genner.labels import label_set, label_sets
from genner.model_store import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    documents = list(read_corpus(args.file))
    documents = documents[:: max(1, len(documents) // args.sentences)][: args.sentences]
    labels = label_set(args.file.parent.name if args.file.parent.name in label_sets() else "core")
    rows = []
    for name in args.tokenizers:
        tokenizer = load(name)
        vocabulary = Vocabulary(tokenizer, tokenizer.eos_token_id or 0, len(tokenizer))
        for form in (FORMATS[name] for name in args.formats):
            tokens, micros = cost(form, documents, labels, tokenizer, vocabulary)
            left_out = sum(len(form.encodable_part(d)[1]) for d in documents)
            rows.append(
                {
                    "tokenizer": Path(name).name,
                    "vocabulary": len(tokenizer),
                    "format": form.name,
                    "entities": sum(len(d.entities) for d in documents),
                    "cannot_say": left_out,
                    "tokens_per_sentence": tokens / len(documents),
                    "mean_us": statistics.fmean(micros),
                    "p99_us": statistics.quantiles(micros, n=100)[98],
                }
            )
            print(
                " ".join(f"{key}={v:.1f}" if isinstance(v, float) else f"{v}" for key, v in rows[-1].items()),
                flush=True,
            )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def load(name: str) -> Any:
    try:
        folder = locate(name)
    except GennerError:
        folder = Path(name)
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))


def cost(
    form: Format, documents: list[Document], labels: LabelSet, tokenizer: Any, vocabulary: Vocabulary
) -> tuple[int, list[float]]:
    """The number of tokens of all answers, and the microseconds per token, building the grammars included."""
    tokens, micros = 0, list[float]()
    for number, document in enumerate(tqdm(documents, desc=form.name, leave=False)):
        sayable, _ = form.encodable_part(document, "strict")
        answer = form.encode(sayable, labels)
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        begun = time.perf_counter()
        grammar = form.grammar(sayable.text, labels, Constraints("strict", 8))
        state: Any = grammar.start()
        mine = []
        for token in ids:
            legal = vocabulary.legal(grammar, state)
            if token not in legal:
                raise SystemExit(f"{form.name}: token {tokenizer.decode([token])!r} of {answer!r} is not legal")
            state = legal[token]
            now = time.perf_counter()
            mine.append(1e6 * (now - begun))
            begun = now
        tokens += len(ids)
        if number:
            micros += mine
    return tokens, micros


if __name__ == "__main__":
    main()
