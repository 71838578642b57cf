"""The network of GNN-SL: a graph transformer over words, similar words of training texts, and their context.

`genner.rivals.gnn_sl` says what it computes, and how it is trained.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from genner.document import LabelSet
from genner.errors import UnknownNameError, UsageError
from genner.rivals.bert_tagger import TaggerNetwork, TaggerOptions
from genner.rivals.datastore import MISSING, SEARCHES, Datastore, Nearest, text_number
from genner.rivals.encoder import WordEncoder
from genner.rivals.hgt import GraphTransformer
from genner.rivals.network import IGNORED, RivalNetwork
from genner.rivals.stages import Stages
from genner.rivals.words import ScoredSpan, Window, WordEntity
from genner.toml_config import check

MAX_NODES = 2**15  # of graphs that are computed at once; limits memory


@dataclass(frozen=True)
class GnnOptions:
    """Attributes:
    k: neighbours of each word.
    context: words before and after each neighbour that are nodes too.
    depth: layers of the graph transformer.
    heads: of attention in each; they divide the width.
    width: of nodes; 0: the encoder's.
    dropout: in the tagger's head and in the graph.
    scheme: of tags: `iob2`, as published, or `bioes`.
    search: of neighbours: `auto` (FAISS if it is installed), `matrix` or `faiss`; all find the same.
    """

    k: int = 32
    context: int = 3
    depth: int = 3
    heads: int = 8
    width: int = 0
    dropout: float = 0.1
    scheme: str = "iob2"
    search: str = "auto"

    def __post_init__(self) -> None:
        TaggerOptions(scheme=self.scheme)
        if self.search not in SEARCHES:
            raise UnknownNameError("search", self.search, SEARCHES)
        check(
            self,
            "gnn_sl",
            k=(1, inf),
            context=(0, inf),
            depth=(1, inf),
            heads=(1, inf),
            width=(0, inf),
            dropout=(0, 0.99),
        )


class NeighbourMixture(NamedTuple):
    """How prediction mixes in the tags of neighbours: `share` is lambda, `used` the number of neighbours."""

    used: int
    share: float
    temperature: float


class Evidence(NamedTuple):
    """What is known of a window's words: their states [W, H], and their neighbours."""

    states: Tensor
    nearest: Nearest


class GnnNetwork(RivalNetwork):
    """See the module. Without a datastore no word has neighbours."""

    options: GnnOptions
    mixture: Tensor

    def __init__(self, encoder: WordEncoder, labels: LabelSet, options: GnnOptions) -> None:
        super().__init__(encoder, labels, options)
        width = options.width or encoder.width
        if width % options.heads:
            raise UsageError(f"[gnn_sl] heads = {options.heads} do not divide the width of {width}")
        self.tagger = [TaggerNetwork(encoder, labels, TaggerOptions(scheme=options.scheme))]  # for its tags; no module
        self.graph = GraphTransformer(encoder.width, width, options.depth, options.heads, options.dropout)
        self.head = nn.Linear(width, len(self.tagger[0].tags))
        self.store = Datastore.empty(encoder.width)
        self.register_buffer("mixture", torch.tensor([options.k, 0.0, 1.0]))
        self._found: dict[tuple[int, int, int], Evidence] = {}
        self._remembered: dict[tuple[int, int, int], Evidence] | None = None

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.eval()
        return self

    def trained_encoder_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(())

    def unencodable(self, window: Window) -> list[tuple[WordEntity, str]]:
        return self.tagger[0].unencodable(window)

    def targets(self, window: Window) -> list[int]:
        """The number of each word's tag."""
        return self.tagger[0].targets(window)

    def read(self, targets: Sequence[int]) -> list[WordEntity]:
        return self.tagger[0].read(targets)

    def loss(self, windows: Sequence[Window]) -> Tensor:
        evidence = [self._found.get(_key(window)) for window in windows]
        known = [some or self.evidence([window])[0] for some, window in zip(evidence, windows, strict=True)]
        gold = [torch.tensor(self.targets(window)) for window in windows]
        groups = list(self._groups(known, self.options.k))

        def of_group(begin: int, end: int) -> Tensor:
            logits = self.logits(known[begin:end], self.options.k)
            wanted = pad_sequence(gold[begin:end], True, IGNORED).to(logits.device)
            return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum")

        sums = [
            of_group(*group) if len(groups) == 1 else checkpoint(of_group, *group, use_reentrant=False)
            for group in groups
        ]
        return torch.stack(sums).sum() / sum(map(len, gold))

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        evidence = self.evidence(windows)
        used, share, temperature = self.mixture.tolist()
        mixture = NeighbourMixture(int(used), share, temperature)
        graph = self.probabilities(evidence, mixture.used)
        return [self.spans(self.mixed(p, e.nearest, mixture)) for p, e in zip(graph, evidence, strict=True)]

    def evidence(self, windows: Sequence[Window]) -> list[Evidence]:
        """The states and neighbours of windows."""
        made = self._remembered if self._remembered is not None else {}
        new = [window for window in windows if _key(window) not in made]
        if new:
            states = self.states(new)
            nearest = self.store.nearest(states, [text_number(w.text) for w in new], self.options.k)
            for window, some, near in zip(new, states, nearest, strict=True):
                made[_key(window)] = Evidence(some, near)
        return [made[_key(window)] for window in windows]

    @torch.no_grad()
    def states(self, windows: Sequence[Window]) -> list[Tensor]:
        """The states of the words of each window, [W, H]."""
        pooled = self.encoder(windows).pool("first")
        return [row[: len(window.words)] for row, window in zip(pooled, windows, strict=True)]

    def probabilities(self, evidence: Sequence[Evidence], count: int) -> list[Tensor]:
        """The graph's probabilities of tags [W, tags] of each window, with `count` neighbours of each word."""
        found: list[Tensor] = []
        for begin, end in self._groups(evidence, count):
            some = evidence[begin:end]
            chances = self.logits(some, count).softmax(-1)
            found += [row[: len(e.states)] for row, e in zip(chances, some, strict=True)]
        return found

    def mixed(self, graph: Tensor, nearest: Nearest, mixture: NeighbourMixture) -> Tensor:
        """Probabilities of tags [W, tags], with those of the neighbours mixed in."""
        numbers = nearest.numbers[:, : mixture.used]
        there = numbers != MISSING
        scaled = nearest.similarities[:, : mixture.used] / (mixture.temperature * sqrt(self.encoder.width))
        weights = scaled.masked_fill(~there, -1e9).softmax(-1) * there
        tags = self.store.tags[numbers.clamp(min=0)] if len(self.store) else torch.zeros_like(numbers)
        votes = torch.zeros(len(numbers), graph.shape[1]).scatter_add(1, tags, weights).to(graph.device)
        share = mixture.share * there.any(1, keepdim=True).to(graph.device)
        return (1 - share) * graph + share * votes

    def spans(self, chances: Tensor) -> list[ScoredSpan]:
        """The entities of the best tag of each word; `chances` [W, tags]."""
        sure, path = chances.max(-1)
        scores = sure.tolist()
        return [ScoredSpan(*e, min(scores[e.start : e.end])) for e in self.read(path.tolist())]

    def logits(self, evidence: Sequence[Evidence], count: int) -> Tensor:
        """Scores of tags [B, W, tags], with `count` neighbours of each word."""
        device = self.head.weight.device
        words = pad_sequence([e.states for e in evidence], True).float().to(device)
        lengths = torch.tensor([len(e.states) for e in evidence])
        there = torch.arange(words.shape[1]) < lengths[:, None]
        numbers = pad_sequence([e.nearest.numbers[:, :count] for e in evidence], True, MISSING)
        nodes = self.store.around(numbers, self.options.context)
        if len(self.store):
            near = self.store.states[nodes.clamp(min=0)].to(device).float()
        else:
            near = words.new_zeros(*nodes.shape, words.shape[-1])
        is_near = (nodes != MISSING).to(device)
        logits: Tensor = self.head(self.graph(words, near * is_near.unsqueeze(-1), there.to(device), is_near))
        return logits

    def fill(self, windows: Sequence[Window], stages: Stages, batch_size: int, search: str) -> None:
        """Make the datastore of training windows, and find the neighbours of their words."""
        result = stages.result("datastore")
        if result is None:
            self.eval()
            order = sorted(range(len(windows)), key=lambda i: len(windows[i].words))
            states: list[Tensor] = [torch.empty(0)] * len(windows)
            for begin in range(0, len(order), batch_size):
                some = order[begin : begin + batch_size]
                for i, found in zip(some, self.states([windows[i] for i in some]), strict=True):
                    states[i] = found.half().cpu()
            begins = torch.tensor([0, *(len(w.words) for w in windows)]).cumsum(0)
            texts = torch.tensor([text_number(w.text) for w in windows])
            tags = torch.tensor([tag for window in windows for tag in self.targets(window)])
            store = Datastore(torch.cat(states), tags, begins, texts, search)
            nearest = store.nearest(states, texts.tolist(), self.options.k)
            near = {"numbers": [n.numbers for n in nearest], "similarities": [n.similarities for n in nearest]}
            result = stages.finish("datastore", store.tensors() | {k: torch.cat(v) for k, v in near.items()})
        nearest_of = Nearest(result.pop("numbers"), result.pop("similarities"))
        self.store = Datastore(**result, search=search)
        lengths = [len(window.words) for window in windows]
        rows = zip(windows, torch.split(self.store.states, lengths), nearest_of.split(lengths), strict=True)
        self._found = {_key(window): Evidence(own, near) for window, own, near in rows}

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Keep what is known of windows, which are decoded again and again, while the encoder does not change."""
        self._remembered = {}
        try:
            yield
        finally:
            self._remembered = None
            self._found = {}

    def _groups(self, evidence: Sequence[Evidence], count: int) -> Iterator[tuple[int, int]]:
        """Runs [begin, end) of windows whose graphs fit in memory together; one at least."""
        begin, longest = 0, 0
        each = count * (2 * self.options.context + 1) + 1
        for i, some in enumerate(evidence):
            longest = max(longest, len(some.states))
            if i > begin and (i + 1 - begin) * longest * each > MAX_NODES:
                yield begin, i
                begin, longest = i, len(some.states)
        if len(evidence):
            yield begin, len(evidence)


def _key(window: Window) -> tuple[int, int, int]:
    """What identifies a window: its text and its words."""
    return text_number(window.text), window.words[0][0], window.words[-1][1]
