"""How near decoding comes to its limit: one plain forward pass over prompt and output.

    python benchmarks/decoding.py ../shared/data/genia/test.jsonl --labels genia --sentences 100 --out decoding.json

All in one run, on the same sentences, same weights, batch 1 (and one larger batch for the speculative decoder). Read
the ratios: absolute times are this machine's.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from genner.data import read_jsonl
from genner.document import Document
from genner.engines.base import Generation, Request
from genner.engines.cache import RowCache
from genner.engines.decoding import reference
from genner.engines.local import LocalEngine
from genner.evaluation import evaluate
from genner.extract import DEPTH, Extractor
from genner.labels import parse_labels
from genner.loading import load
from genner.prompts import instruction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path)
    parser.add_argument("--labels", default="genia")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", default=None)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--skip-slow", action="store_true", help="leave out the reference and `generate`")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    gold = list(islice(read_jsonl(args.gold), args.sentences))
    ner = load(args.model, args.labels, format=args.format)
    engine: Any = ner.engine
    labels = parse_labels(args.labels)
    asked = instruction(labels, ner.form)
    requests = [Request(asked, d.text, ner.form.grammar(d.text, labels, where="word", depth=DEPTH)) for d in gold]
    list(engine.generate(requests[:4], batch_size=1))  # warm up, and cache the instruction

    ours = list(engine.generate(requests, batch_size=1))
    outputs = [engine.chat.answer_ids(g.text) for g in ours]
    runs: dict[str, Callable[[], list[Any]]] = {
        "one forward pass, batch 1": lambda: forward(engine, requests, outputs, 1),
        f"one forward pass, batch {args.batch}": lambda: forward(engine, requests, outputs, args.batch),
        "speculative, batch 1": lambda: list(engine.generate(requests, batch_size=1)),
        f"speculative, batch {args.batch}": lambda: list(engine.generate(requests, batch_size=args.batch)),
    }
    if not args.skip_slow:
        runs["reference, token by token"] = lambda: [
            reference(engine.network.causal, engine.chat, engine.vocabulary, r) for r in requests
        ]
        runs["transformers generate, greedy"] = lambda: [generate(engine, r) for r in requests]

    body = statistics.fmean(len(engine.chat.body_ids(d.text)) for d in gold)
    settings = {
        "sentences": len(gold),
        "file": args.gold.parent.name + "/" + args.gold.name,
        "signature": ner.signature,
        "threads": torch.get_num_threads(),
        "dtype": str(engine.network.dtype),
        "prompt_tokens_behind_the_instruction": body,
        "output_tokens": statistics.fmean(map(len, outputs)),
    }
    rows: list[dict[str, Any]] = []
    for name, run in runs.items():
        begun = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - begun
        row: dict[str, Any] = {"decoder": name, "ms_per_sentence": 1000 * seconds / len(gold)}
        if result and isinstance(result[0], Generation):
            row["passes"] = statistics.fmean(g.passes for g in result)
            row["tokens_computed"] = statistics.fmean(g.computed for g in result)
            row["f1"] = f1(ner, gold, [g.text for g in result])
            row["equal_to_batch_1"] = sum(a.answer == b.answer for a, b in zip(ours, result, strict=True))
        elif result:
            row["f1"] = f1(ner, gold, result)
        rows.append(row)
        row["to_the_limit"] = row["ms_per_sentence"] / rows[0]["ms_per_sentence"]
        print(f"{name}: {row['ms_per_sentence']:.1f} ms", flush=True)
        if args.out:  # after each row: the slow ones take minutes
            args.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))
    print(table(rows))
    print(json.dumps(settings))


def forward(engine: LocalEngine, requests: Sequence[Request], outputs: Sequence[list[int]], batch: int) -> list[Any]:
    """The limit: the text and the finished output in one pass behind the cached instruction, with no decision taken."""
    prefix_ids = engine.chat.prefix_ids(requests[0].instruction)
    prefix = RowCache(1, len(prefix_ids))
    engine.network.forward([prefix_ids], prefix, 0)
    prefix.lengths[0] = len(prefix_ids)
    whole = [engine.chat.body_ids(r.text) + out for r, out in zip(requests, outputs, strict=True)]
    whole.sort(key=len)
    cache = RowCache(batch)
    for at in range(0, len(whole), batch):
        rows = whole[at : at + batch]
        for slot in range(len(rows)):
            cache.copy_row(prefix, 0, slot)
        engine.network.forward(rows, cache, 0)
    return []


def generate(engine: LocalEngine, request: Request) -> str:
    """transformers' own greedy decoding, free, with its own cache; the instruction is run anew each time."""
    ids = torch.tensor([engine.chat.prefix_ids(request.instruction) + engine.chat.body_ids(request.text)])
    with torch.inference_mode():
        out = engine.network.causal.generate(
            ids.to(engine.network.device),
            attention_mask=torch.ones_like(ids).to(engine.network.device),
            do_sample=False,
            max_new_tokens=engine.reserve(request),
            eos_token_id=engine.chat.end_id,
            pad_token_id=engine.chat.end_id,
        )
    text: str = engine.chat.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    return text


def f1(ner: Extractor, gold: Sequence[Document], answers: Sequence[str]) -> float:
    found = [ner.form.decode(d.text, a, ner.labels, d.id) for d, a in zip(gold, answers, strict=True)]
    return 100 * evaluate(gold, found, resamples=1).micro.f1


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| | ms a sentence | to the limit | passes | tokens computed | F1 |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [f"{row['ms_per_sentence']:.0f}", f"{row['to_the_limit']:.1f}"]
        cells += [f"{row[k]:.1f}" if k in row else "" for k in ("passes", "tokens_computed", "f1")]
        lines.append(f"| {row['decoder']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
