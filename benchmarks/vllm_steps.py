"""What the automaton costs inside vLLM: microseconds of processor time per row and step of a batch.

    python benchmarks/vllm_steps.py DATA/genia/test.jsonl --model default --formats inline_xml --own
    python benchmarks/vllm_steps.py DATA/genia/test.jsonl --tiny TOKENIZER --out steps.json

Runs in an environment with vLLM. The engine is loaded in this process, and the methods of `GrammarProcessor` that vLLM
calls are timed by the thread's own clock, so that other work on the machine is not counted. Two figures for each format
and batch:

    us per row   of the steps in which the batch is nearly full: reading the new tokens, finding the legal ones,
                 restricting the logits, and making the automata of the requests that came in between
    share        of the processor time of the whole run, with the model, the scheduler and the sampling

After each step the logits of the gold answer's next token are raised (not timed), so that every model writes the same
answers, those that `benchmarks/grammar.py` walks; with `--own` the model writes its own. `--tiny TOKENIZER` takes a
random model of one layer with the tokenizer of a folder, so that any vocabulary can be measured. The first run with a
format is not counted.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from genner.data import read_corpus
from genner.document import Document, LabelSet
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import label_set, label_sets
from genner.loading import load
from genner.toml_config import parse_option
from genner.vllm_plugin.processor import GrammarProcessor
from genner.vllm_plugin.request import requested_grammar

FULL = 0.9  # share of a batch's places that are taken in a step that counts
RAISED = 1e4


class Watch:
    """Times the methods of `GrammarProcessor`, and makes the answers of its rows the gold ones."""

    def __init__(self, documents: list[Document], size: int, forced: bool) -> None:
        self._documents = {document.text: document for document in documents}
        self._forced, self.size, self.form, self.tokenizer = forced, size, "", None
        self._answers: dict[int, list[int]] = {}  # by the identity of a row
        self.clear()
        for name in ("update_state", "add_request", "apply_staged_writes"):
            setattr(GrammarProcessor, name, self._timed(getattr(GrammarProcessor, name)))
        self._apply, self._made_row = GrammarProcessor.apply, GrammarProcessor._made_row
        watch = self
        setattr(GrammarProcessor, "apply", lambda self, logits, ctx=None: watch.apply(self, logits, ctx))  # noqa: B010
        setattr(GrammarProcessor, "_made_row", lambda self, params: watch.made_row(self, params))  # noqa: B010

    def clear(self) -> None:
        self.rows = self.steps = 0
        self.full = self.all = self._since = 0.0

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(processor: GrammarProcessor, *args: Any) -> Any:
            begun = time.thread_time()
            try:
                return method(processor, *args)
            finally:
                self._since += time.thread_time() - begun

        return timed

    def apply(self, processor: GrammarProcessor, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        begun = time.thread_time()
        found = self._apply(processor, logits, ctx)
        self._since += time.thread_time() - begun
        if not processor._rows:
            return found
        self.all += self._since
        if len(processor._rows) >= FULL * self.size:
            self.full += self._since
            self.rows += len(processor._rows)
            self.steps += 1
        self._since = 0.0
        if self._forced:
            slots = range(len(found)) if ctx is None else ctx.idx_mapping_np.tolist()
            for index, slot in enumerate(slots):
                row = processor._rows.get(slot)
                if row is not None and row.count < len(gold := self._answers[id(row)]):
                    token = gold[row.count]
                    if token in row.legal:
                        found[index, token] = RAISED
        return found

    def made_row(self, processor: GrammarProcessor, params: Any) -> Any:
        row = self._made_row(processor, params)
        begun = time.thread_time()
        source = requested_grammar(params.extra_args)
        if row is not None and self._forced and source is not None:
            form, document = FORMATS[self.form], self._documents[source.text]
            entities = tuple(e for e in document.entities if e.label in source.labels)
            said, _ = form.encodable_part(Document(document.text, entities), "strict")
            answer = form.encode(said, source.labels)
            tokens = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
            self._answers[id(row)] = [*tokens, processor._vocabulary.end_id]
        self._since -= time.thread_time() - begun
        return row


def tiny(tokenizer: str, place: Path) -> Path:
    """The folder of a random model of one layer."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    words.chat_template = words.chat_template or TEMPLATE
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        eos_token_id=words.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(place)
    words.save_pretrained(place)
    return place


TEMPLATE = "{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}assistant\n"


def measured(
    ner: Extractor, watch: Watch, documents: list[Document], labels: LabelSet, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A row for each format and batch."""
    engine: Any = ner.engine
    watch.tokenizer = engine.chat.tokenizer
    for form in args.formats:
        watch.form = form
        some = ner.replace(form=FORMATS[form], split=False)
        for warm, size in [(True, max(args.batches)), *((False, size) for size in args.batches)]:
            watch.size = size
            watch.clear()
            begun = time.process_time()
            texts = [Document(d.text, id=d.id) for d in documents[: size * (1 if warm else args.sentences)]]
            for _ in some.pipe(texts, labels, size):
                pass
            if warm or not watch.rows:
                continue
            row = {
                "model": args.tiny or args.model,
                "vocabulary": len(watch.tokenizer),
                "format": form,
                "batch": size,
                "us_per_row": 1e6 * watch.full / watch.rows,
                "share": watch.all / (time.process_time() - begun),
                "steps": watch.steps,
            }
            print(" ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--tiny", metavar="TOKENIZER")
    parser.add_argument("--own", action="store_true", help="let the model write its own answers")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--batches", nargs="*", type=int, default=[64, 256])
    parser.add_argument("--sentences", type=int, default=2, help="of each run, in multiples of the batch")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the engine")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    documents = list(read_corpus(args.file))
    most = args.sentences * max(args.batches)
    documents = documents[:: max(1, len(documents) // most)][:most]
    labels = label_set(args.file.parent.name if args.file.parent.name in label_sets() else "core")
    watch = Watch(documents, max(args.batches), not args.own)
    with tempfile.TemporaryDirectory() as place:
        model = tiny(args.tiny, Path(place)) if args.tiny else args.model
        options = {"batch": max(args.batches)} | dict(parse_option(option, "--option") for option in args.option)
        ner = load(model, engine="vllm", engine_options=options, format=args.formats[0], min_score=0)
        rows = list(measured(ner, watch, documents, labels, args))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
