"""Whether the time per document is constant from few documents to many, and from short documents to a long one.

    python benchmarks/scale.py DATA/uner_en_ewt/train.jsonl --labels core --sentences 20000 --out scale.json

Sentences are read and answered as a stream, repeating the file until there are enough; time per sentence and memory are
recorded after each part. Then the same number of sentences as in the last part, as paragraphs of documents of 200 kB,
is given to `pipe`, and to the pipeline alone (with an engine that only copies). Compare the ratios.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genner.data import read_corpus
from genner.engines.scripted import ScriptedEngine
from genner.extract import Extractor
from genner.loading import load

LONG = 200_000  # code points of a long document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--labels", default="core")
    parser.add_argument("--model", default="default")
    parser.add_argument("--sentences", type=int, default=20000)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ner = load(args.model, args.labels)
    list(ner.pipe([next(texts(args.texts))]))
    size = args.sentences // args.parts
    rows: list[dict[str, Any]] = []

    def note(name: str, sentences: int, begun: tuple[float, float], **more: Any) -> None:
        wall, cpu = (1000 * (now - then) / sentences for now, then in zip(clocks(), begun, strict=True))
        rows.append({"run": name, "sentences": sentences, "ms_per_sentence": wall, "cpu_ms_per_sentence": cpu, **more})
        rows[-1] |= {"mib": resident()}
        tqdm.write(json.dumps(rows[-1]))
        if args.out:
            args.out.write_text(json.dumps(rows, indent=1))

    begun = clocks()
    stream = islice(texts(args.texts), args.sentences)
    for done, _ in enumerate(tqdm(ner.pipe(stream, batch_size=args.batch), total=args.sentences), 1):
        if done % size == 0:
            note(f"sentences {done - size + 1} to {done}", size, begun)
            begun = clocks()

    some = list(islice(texts(args.texts), size))
    for name, documents in (("the first of them alone", some), ("the same, as long documents", list(joined(some)))):
        pieces = sum(1 for d in documents for _ in ner._chunks(d, ner._fits("")))
        begun = clocks()
        for _ in ner.pipe(documents, batch_size=args.batch):
            pass
        note(name, pieces, begun, documents=len(documents))
    copier = Extractor(ScriptedEngine(), ner.form, ner.labels)
    for name, documents in (("the pipeline alone, sentences", some), ("the pipeline alone, long", list(joined(some)))):
        pieces = sum(1 for d in documents for _ in ner._chunks(d, ner._fits("")))
        begun = clocks()
        for _ in copier.pipe(documents):
            pass
        note(name, pieces, begun, documents=len(documents))


def texts(path: Path) -> Iterator[str]:
    return chain.from_iterable((d.text for d in read_corpus(path)) for _ in repeat(None))


def joined(sentences: Iterable[str]) -> Iterator[str]:
    held, length = list[str](), 0
    for sentence in sentences:
        held.append(sentence)
        length += len(sentence) + 2
        if length >= LONG:
            yield "\n\n".join(held)
            held, length = [], 0
    if held:
        yield "\n\n".join(held)


def clocks() -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process on all cores, which other load hardly changes."""
    return time.perf_counter(), time.process_time()


def resident() -> float:
    """Current resident memory in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024)
    return 0.0


if __name__ == "__main__":
    main()
