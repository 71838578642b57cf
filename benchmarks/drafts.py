"""Ablation of the draft sources: passes, tokens and time of the same answers with and without each source.

    python benchmarks/drafts.py DATA/genia/test.jsonl --labels genia --sentences 100 --out drafts.json

    plain      the plain copy (or the empty list) only
    hints      also the model's choices after a rejected token
    guesses    the drafter's proposals only
    both       both, as genner decodes
    wrong      both, with a drafter that is always wrong: words that are not entities
    gold       both, with a drafter that knows the answer: the lower bound
    rival      both, with the predictions of a trained rival (`--rival FOLDER`) as proposals
    rival_first, gold_first
               the same, proposed before the first pass: they need no hidden states of the prompt

All variants run in turn, `--rounds` times; times are medians. Compare the ratios. The time of a rival's predictions is
part of its rows, and told by itself too. `cpu_ms` is the processor's time, which a busy machine changes less.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from genner.boundaries import boundaries
from genner.data import read_corpus
from genner.decoding_constraints import decoding_constraints
from genner.document import LabelSet
from genner.drafting.proposals import ProposesSpans, SpanProposals
from genner.engines.base import DrafterInput, Request
from genner.engines.cache import KVCache
from genner.engines.decoding import SpeculativeDecoder
from genner.engines.network import Network
from genner.engines.sequence import Sequence
from genner.labels import parse_labels
from genner.loading import load
from genner.prompts import instruction, label_ends
from genner.rivals import load_rival
from genner.rivals.base import Rival


class Told(ProposesSpans):
    """A drafter with fixed proposals for each text."""

    def __init__(self, probe_layers: tuple[int, ...], proposals: dict[str, SpanProposals]) -> None:
        self.probe_layers, self.proposals = probe_layers, proposals

    def read_labels(self, states: list[torch.Tensor]) -> bool:
        return True

    def propose(self, inputs: list[DrafterInput]) -> list[SpanProposals]:
        return [self.proposals[read.text] for read in inputs]

    def of_text(self, text: str) -> SpanProposals:
        return self.proposals[text]


class FromRival(Told):
    """A drafter whose proposals are what a rival predicts."""

    def __init__(self, probe_layers: tuple[int, ...], rival: Rival, labels: LabelSet) -> None:
        super().__init__(probe_layers, {})
        self.rival, self.rank = rival, {tag: i for i, tag in enumerate(labels.tags)}
        self.seconds = 0.0

    def propose(self, inputs: list[DrafterInput]) -> list[SpanProposals]:
        return [self.of_text(read.text) for read in inputs]

    def of_text(self, text: str) -> SpanProposals:
        begun = time.process_time()
        (found,) = self.rival.predict([text])
        self.seconds += time.process_time() - begun
        return SpanProposals((e.start, e.end, self.rank[e.label]) for e in found.entities if e.label in self.rank)


class ProposingFirst(SpeculativeDecoder):
    """Asks a `Told` drafter before the first pass of a request."""

    def _admit(self, request: Request, cache: KVCache, slot: int) -> Any:
        row = super()._admit(request, cache, slot)
        if row.proposals is None:
            row.proposals = self._drafter.of_text(request.text)
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path)
    parser.add_argument("--labels", default="genia")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", default=None)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sources", nargs="+", default=[], help="of the above (default: all)")
    parser.add_argument("--rival", type=Path, help="folder of a trained rival")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    ner = load(args.model, args.labels, format=args.format)
    engine: Any = ner.engine
    labels = parse_labels(args.labels)
    asked = instruction(labels, ner.form)
    documents = list(islice(read_corpus(args.gold), args.sentences))

    def requests() -> list[Request]:
        grammars = [ner.form.grammar(d.text, labels, decoding_constraints(labels)) for d in documents]
        ends = label_ends(asked, labels)
        return [
            Request(asked, d.text, grammar, label_positions=ends)
            for d, grammar in zip(documents, grammars, strict=True)
        ]

    drafter = engine._decoder._drafter
    network = engine.network if drafter else Network(engine.network.causal, (engine.network.depth,))
    expected = [g.answer for _, g in engine.generate(requests(), batch_size=1)]
    gold, wrong = dict[str, SpanProposals](), dict[str, SpanProposals]()
    rank = {tag: i for i, tag in enumerate(labels.tags)}
    rng = random.Random(0)
    for request, answer in zip(requests(), expected, strict=True):
        written = request.grammar.read(answer) or ()
        gold[request.text] = SpanProposals((w.start, w.end, rank[w.label]) for w in written)
        starts, ends = boundaries(request.text, "word")
        taken = {w.start for w in written}
        free = [s for s in range(len(request.text)) if starts[s] and s not in taken]
        spans = [(s, ends.index(True, s + 1), 0) for s in rng.sample(free, min(len(free), 3))]
        wrong[request.text] = SpanProposals(spans)

    def decoder(drafter: Any, hints: bool, kind: type[SpeculativeDecoder] = SpeculativeDecoder) -> Any:
        return kind(network, engine.chat, engine.vocabulary, drafter), hints

    known = Told(network.probe_layers, gold)
    rival = FromRival(network.probe_layers, load_rival(args.rival), labels) if args.rival else None

    sources = {
        "plain": decoder(None, False),
        "hints": decoder(None, True),
        **({"guesses": decoder(drafter, False), "both": decoder(drafter, True)} if drafter else {}),
        "wrong": decoder(Told(network.probe_layers, wrong), True),
        "gold": decoder(known, True),
        "gold_first": decoder(known, True, ProposingFirst),
        **({"rival": decoder(rival, True), "rival_first": decoder(rival, True, ProposingFirst)} if rival else {}),
    }
    if unknown := set(args.sources) - sources.keys():
        parser.error(f"--sources {', '.join(sorted(unknown))}; there are: {', '.join(sources)}")
    sources = {name: source for name, source in sources.items() if not args.sources or name in args.sources}
    rows: list[dict[str, Any]] = []
    for batch in map(int, args.batches.split(",")):
        times: dict[str, list[float]] = {name: [] for name in sources}
        cpu: dict[str, list[float]] = {name: [] for name in sources}
        proposing: dict[str, list[float]] = {name: [] for name in sources}
        for round in range(args.rounds):
            for name, (speculator, hints) in sources.items():
                speculator._prefixes.clear()  # the adaptive state of the instruction is part of the cost
                with without_hints(not hints):
                    some = requests()
                    begun, begun_cpu, before = time.perf_counter(), time.process_time(), rival.seconds if rival else 0.0
                    made = dict(speculator.decode(some, batch))
                    times[name].append(time.perf_counter() - begun)
                    cpu[name].append(time.process_time() - begun_cpu)
                    proposing[name].append(rival.seconds - before if rival else 0.0)
                if round == 0:
                    rows.append(
                        {
                            "source": name,
                            "batch": batch,
                            "passes": statistics.fmean(g.passes for g in made.values()),
                            "tokens": statistics.fmean(g.computed for g in made.values()),
                            "equal": sum(made[i].answer == answer for i, answer in enumerate(expected)),
                        }
                    )
        for row in rows[-len(sources) :]:
            row["ms"] = 1000 * statistics.median(times[row["source"]]) / len(documents)
            row["cpu_ms"] = 1000 * statistics.median(cpu[row["source"]]) / len(documents)
            row["rival_cpu_ms"] = 1000 * statistics.median(proposing[row["source"]]) / len(documents)
            if "plain" in times:
                row["to_plain"] = row["ms"] / (1000 * statistics.median(times["plain"]) / len(documents))
            print(json.dumps(row), flush=True)
    if args.out:
        args.out.write_text(json.dumps({"signature": ner.signature, "file": args.gold.name, "rows": rows}, indent=1))


@contextmanager
def without_hints(off: bool) -> Iterator[None]:
    """Discard the model's choices after rejected tokens inside this context."""
    inner = Sequence.draft

    def draft(row: Sequence, *args: Any) -> Any:
        row.hints.clear()
        return inner(row, *args)

    if off:
        Sequence.draft = draft  # type: ignore[method-assign]
    try:
        yield
    finally:
        Sequence.draft = inner  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
