"""Proposes the entities of a text from the hidden states of its prompt, for a decoder to verify.

After the prompt has been run, the hidden states of the text predict where the model will put its tags. `SpanDrafter` is
a small network on top of them, trained with an adapter: convolutions, since a causal model's states only depend on text
to their left; then a score for each pair of a word span and a label. Labels are represented by their hidden states in
the instruction, so any label set works. (The pairing of spans with labels is that of GLiNER: Zaratiana et al. 2024,
"GLiNER: Generalist Model for Named Entity Recognition using Bidirectional Transformer".)

The model verifies all proposals: a wrong one costs time, and does not change the answer.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genner.boundaries import boundaries
from genner.drafting.proposals import ProposesSpans, SpanProposals
from genner.engines.base import DrafterInput
from genner.errors import ModelError

DRAFTER_FILE = "drafter.safetensors"
SPARE_SPANS = 6  # spans kept for each word besides the probable ones (`SpanProposals`, `others`)
TEXT_GAP_ROWS = 16  # zero rows between two texts: more than the reach of the widest convolution


@dataclass(frozen=True)
class DrafterShape:
    """The size of a `SpanDrafter`.

    Attributes:
        probe_layers: the layers whose output it reads, ascending; 1 is the first layer.
        hidden, width: the width of the model, and its own.
        depth, kernel: the number of convolutions, and their width in tokens.
        longest: the longest span, in words.
        threshold: the probability above which a span is proposed. (A correct one saves about two passes, a wrong one
            costs about one.)
    """

    probe_layers: tuple[int, ...]
    hidden: int
    width: int = 160
    depth: int = 3
    kernel: int = 5
    longest: int = 16
    threshold: float = 0.3


class SpanDrafter(nn.Module, ProposesSpans):
    """A score for every span of words and every label, from hidden states."""

    def __init__(self, shape: DrafterShape) -> None:
        super().__init__()
        self.shape = shape
        size, width = len(shape.probe_layers) * shape.hidden, shape.width
        self.read = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.LayerNorm(width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(shape.depth))
        self.mixers = nn.ModuleList(nn.Linear(shape.kernel * width, width) for _ in range(shape.depth))
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width)
        self.label = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU())
        self.by_first, self.by_last, self.by_both = (nn.Linear(width, width) for _ in range(3))
        self.by_length = nn.Embedding(shape.longest, width)
        self.bias = nn.Parameter(torch.tensor(-3.0))  # most spans are no entities

    @property
    def probe_layers(self) -> tuple[int, ...]:
        return self.shape.probe_layers

    def mix(self, states: Tensor, inside: Tensor) -> Tensor:
        """States [N, layers * H] of texts, with zero rows between them -> [N, width]; `inside` [N, 1] marks texts."""
        mixed: Tensor = self.read(states) * inside
        for depth, (norm, mixer) in enumerate(zip(self.norms, self.mixers, strict=True)):
            step = 2**depth  # each looks twice as far as the one before
            reach = self.shape.kernel // 2 * step
            padded = F.pad(norm(mixed) * inside, (0, 0, reach, reach))
            around = [padded[step * i : step * i + len(mixed)] for i in range(self.shape.kernel)]
            mixed = mixed + F.gelu(mixer(torch.cat(around, 1))) * inside
        return mixed

    def scores(self, mixed: Tensor, firsts: Tensor, lasts: Tensor, labels: tuple[Tensor, ...]) -> Tensor:
        """Logits [words, longest, L] of spans of 1, 2, ... words from each word on, for each label.

        Args:
            mixed: [tokens, width], as `mix` returns them, of one text.
            firsts, lasts: [words], the first and the last token of each word.
            labels: as `read_labels` returns them.
        """
        first, last = torch.tanh(self.first(mixed[firsts])), torch.tanh(self.last(mixed[lasts]))
        by_first, by_last, by_both, by_length = labels
        ends = F.pad(last, (0, 0, 0, self.shape.longest - 1)).unfold(
            0, self.shape.longest, 1
        )  # [words, width, longest]
        both = torch.einsum("wd,ld->wld", first, by_both) @ ends  # [words, L, longest]
        logits = both.transpose(1, 2) / 8 + (first @ by_first.T)[:, None]
        return logits + (ends.transpose(1, 2) @ by_last.T) + by_length + self.bias

    def read_labels(self, states: list[Tensor]) -> tuple[Tensor, ...]:
        label = self.label(torch.cat(states, -1).to(self.bias.dtype))
        by_length = self.by_length.weight @ label.T / 8
        return self.by_first(label), self.by_last(label), self.by_both(label), by_length

    @torch.inference_mode()
    def propose(self, inputs: list[DrafterInput]) -> list[SpanProposals]:
        states, inside, begins = pack([torch.cat(read.states, -1) for read in inputs])
        mixed = self.mix(states.to(self.bias.dtype), inside.to(self.bias.dtype))
        proposed = []
        for read, begin in zip(inputs, begins, strict=True):
            words, firsts, lasts = tokens_of_words(read.text, read.ends)
            if not words:
                proposed.append(SpanProposals())
                continue
            here = mixed[begin : begin + len(read.ends)]
            logits = self.scores(here, torch.tensor(firsts), torch.tensor(lasts), read.labels)
            proposed.append(proposals_of(logits.float().cpu(), words, self.shape.threshold))
        return proposed

    def save(self, folder: Path) -> None:
        """Write the network into an adapter's folder, in bfloat16."""
        from safetensors.torch import save_file

        tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / DRAFTER_FILE, metadata={"shape": json.dumps(asdict(self.shape))})

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None) -> "SpanDrafter | None":
        """The drafter in an adapter's folder, None if there is none. Raises `ModelError` when it is damaged."""
        from safetensors import SafetensorError, safe_open

        path = folder / DRAFTER_FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                raw = json.loads((file.metadata() or {})["shape"])
                layers = raw.pop("taps", None) or raw.pop("probe_layers")  # `taps`: as files written before call them
                drafter = cls(DrafterShape(tuple(layers), **raw))
                drafter.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{path} is damaged: {error}; delete it to decode without, only slower") from error
        return drafter.to(device or torch.device("cpu")).requires_grad_(False).eval()


def pack(texts: list[Tensor]) -> tuple[Tensor, Tensor, list[int]]:
    """States [tokens, D] of several texts in one line, with gaps between them.

    Returns the line [N, D], a mark [N, 1] that is 1 on texts and 0 on gaps, and where each text begins.
    """
    size = sum(len(text) + TEXT_GAP_ROWS for text in texts)
    states = texts[0].new_zeros(size, texts[0].shape[1])
    inside = texts[0].new_zeros(size, 1)
    begins, at = [], 0
    for text in texts:
        states[at : at + len(text)] = text
        inside[at : at + len(text)] = 1
        begins.append(at)
        at += len(text) + TEXT_GAP_ROWS
    return states, inside, begins


def tokens_of_words(text: str, ends: list[int]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """The words of a text as [start, end) in code points, and the first and the last token of each.

    `ends`: for each token, the code points written up to its end. A word is what stands between two places where an
    entity may start or end.
    """
    starts, stops = boundaries(text, "word")
    words, start = list[tuple[int, int]](), -1
    for place in range(len(text) + 1):
        if start >= 0 and stops[place]:
            words.append((start, place))
            start = -1
        if starts[place]:
            start = place
    token_at, token = list[int](), 0
    for place in range(len(text)):
        while ends[token] <= place:
            token += 1
        token_at.append(token)
    return words, [token_at[a] for a, _ in words], [token_at[b - 1] for _, b in words]


def proposals_of(logits: Tensor, words: list[tuple[int, int]], threshold: float) -> SpanProposals:
    """Spans with a probability above the threshold (of two that cross, the more probable one); and for each word the
    most probable spans that begin there. `logits` are [words, longest, L]."""
    count, longest, labels = logits.shape
    logits = logits.clone()
    lengths = torch.arange(longest)[None] + torch.arange(count)[:, None] >= count
    logits[lengths] = -torch.inf
    best = logits.flatten(1).topk(min(SPARE_SPANS, longest * labels)).indices.tolist()
    others = {
        words[w][0]: [(words[w + place // labels][1], place % labels) for place in some if w + place // labels < count]
        for w, some in enumerate(best)
    }
    probable = (logits.sigmoid() > threshold).nonzero()
    order = logits[tuple(probable.T)].argsort(descending=True)
    kept: list[tuple[int, int, int]] = []
    for w, length, label in probable[order].tolist():
        start, end = words[w][0], words[w + length][1]
        if not any(s < start < e < end or start < s < end < e or (s, e) == (start, end) for s, e, _ in kept):
            kept.append((start, end, label))
    return SpanProposals(kept, others)
