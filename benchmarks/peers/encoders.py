"""Encoder taggers of common sizes, to measure speed only: the weights are random, and nothing is scored.

Both read token ids of genner's tokenizer instead of their own: about as many pieces per word.

    bert     BERT-base (12 layers, 768 wide), each token's label from a linear layer
    gliner   GLiNER-small v2: DeBERTa-v3-small (6 layers, 768 wide), which reads the labels' names before the text; the
             first piece of each word, projected to 512; a BiLSTM; spans of up to 12 words from their first and last
             word; a span's score for a label is their dot product

Not included, because small: converting scores to entities in Python, and splitting the text into words.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel, DebertaV2Config, DebertaV2Model

from genner.engines.transformers_engine import default_device
from peers.task import Outcome, Row, Run, Task, batches

WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")  # GLiNER's definition of a word
SPAN = 12  # words
WIDTH = 512

_DEBERTA_SMALL = DebertaV2Config(
    vocab_size=128_004,  # and GLiNER's markers
    hidden_size=768,
    num_hidden_layers=6,
    num_attention_heads=12,
    intermediate_size=3072,
    type_vocab_size=0,
    relative_attention=True,
    position_buckets=256,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    pos_att_type=["p2c", "c2p"],
    position_biased_input=False,
    layer_norm_eps=1e-7,
)


@dataclass(frozen=True)
class Sentence:
    """Token ids of an encoder's input, the positions of its labels, and the starts of its words."""

    ids: list[int]
    labels: list[int]
    words: list[int]


def perceptron(inside: int, outside: int) -> nn.Module:
    """GLiNER's projection: one hidden layer, four times as wide as the output."""
    return nn.Sequential(nn.Linear(inside, 4 * outside), nn.ReLU(), nn.Linear(4 * outside, outside))


class Tagger(nn.Module):
    """BERT-base with a label for each token (B and I of each label, and O)."""

    def __init__(self, labels: int, attention: str) -> None:
        super().__init__()
        self.body = BertModel(BertConfig(attn_implementation=attention), add_pooling_layer=False)
        self.head = nn.Linear(768, 2 * labels + 1)

    def forward(self, ids: Tensor, mask: Tensor, sentences: Sequence[Sentence]) -> Tensor:
        """[B, T] token ids -> [B, T] labels."""
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        best: Tensor = self.head(hidden).argmax(-1)
        return best


class GLiNER(nn.Module):
    """GLiNER-small's architecture."""

    def __init__(self, labels: int, attention: str) -> None:
        super().__init__()
        self.body = DebertaV2Model(_DEBERTA_SMALL)  # it has its own attention
        self.project = nn.Linear(768, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.first, self.last, self.label = (perceptron(WIDTH, WIDTH) for _ in range(3))
        self.span = perceptron(2 * WIDTH, WIDTH)

    def forward(self, ids: Tensor, mask: Tensor, sentences: Sequence[Sentence]) -> Tensor:
        """[B, T] token ids -> [B, words, 12, labels], whether a span has a label."""
        hidden = self.project(self.body(input_ids=ids, attention_mask=mask).last_hidden_state)
        rows = list(zip(hidden, sentences, strict=True))
        labels = self.label(torch.stack([row[s.labels] for row, s in rows]))
        words, _ = self.rnn(pad_sequence([row[s.words] for row, s in rows], batch_first=True))
        count = words.shape[1]
        begin = torch.arange(count)[:, None].expand(count, SPAN)
        end = (begin + torch.arange(SPAN)).clamp(max=count - 1)
        pairs = torch.cat([self.first(words)[:, begin], self.last(words)[:, end]], dim=-1)
        scores = torch.einsum("bwsd,bld->bwsl", self.span(pairs.relu()), labels)
        found: Tensor = scores.sigmoid() > 0.5
        return found


def tagger_input(task: Task) -> list[Sentence]:
    """[CLS] text [SEP]"""
    return [Sentence([1, *task.engine.chat.encode(d.text), 2], [], []) for d in task.documents]


def gliner_input(task: Task) -> list[Sentence]:
    """[CLS] <<ENT>> label <<ENT>> label ... <<SEP>> words [SEP]"""
    encode = task.engine.chat.encode
    head, places = [1], []
    for label in task.labels:
        places.append(len(head))
        head += [3, *encode((label.name or label.tag).lower())]
    head.append(4)
    inputs = []
    for document in task.documents:
        ids, words = list(head), []
        for word in WORD.findall(document.text):
            words.append(len(ids))
            ids += encode(" " + word)
        inputs.append(Sentence([*ids, 2], places, words))
    return inputs


def prepared(
    build: Callable[[int, str], nn.Module],
    read: Callable[[Task], list[Sentence]],
    vocabulary: int,
    kinds: Iterable[tuple[str, torch.dtype]],
) -> Callable[[Task, int], Run]:
    """`Row.prepare` for an encoder, with the (attention, dtype) that is fastest on a few sentences."""

    def through(model: Any, sentences: Sequence[Sentence], batch: int) -> tuple[int, int]:
        calls = computed = 0
        device = next(model.parameters()).device
        for rows in batches(sorted(range(len(sentences)), key=lambda i: len(sentences[i].ids)), batch):
            mine = [sentences[i] for i in rows]
            ids = pad_sequence([torch.tensor(s.ids) % vocabulary for s in mine], batch_first=True).to(device)
            lengths = torch.tensor([len(s.ids) for s in mine], device=device)
            mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
            model(ids, mask, mine)
            calls, computed = calls + 1, computed + ids.numel()
        return calls, computed

    @torch.inference_mode()
    def prepare(task: Task, batch: int) -> Run:
        few = read(task.head(max(4, 2 * batch)))
        best, fastest, note = None, float("inf"), ""
        for attention, dtype in kinds:
            torch.manual_seed(0)
            model = build(len(task.labels), attention).eval().to(default_device(), dtype)
            through(model, few, batch)
            begun = time.perf_counter()
            through(model, few, batch)
            seconds = time.perf_counter() - begun
            if seconds < fastest:
                best, fastest, note = model, seconds, f"{attention}, {str(dtype).removeprefix('torch.')}"

        @torch.inference_mode()
        def run(task: Task) -> Outcome:
            sentences = read(task)
            calls, computed = through(best, sentences, batch)
            return Outcome(passes=len(sentences), computed=computed, calls=calls, notes={"chosen": note})

        return run

    return prepare


_DTYPES = (torch.bfloat16, torch.float32)
ROWS = [
    Row(
        "bert",
        "BERT-base tagger (random weights)",
        prepared(Tagger, tagger_input, 30_522, [(a, d) for a in ("eager", "sdpa") for d in _DTYPES]),
        decodes=False,
        needs="tokenizer",
    ),
    Row(
        "gliner",
        "GLiNER-small's architecture (random weights)",
        prepared(GLiNER, gliner_input, 128_004, [("eager", d) for d in _DTYPES]),
        decodes=False,
        needs="tokenizer",
    ),
]
