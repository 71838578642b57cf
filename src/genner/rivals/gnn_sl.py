"""GNN-SL: a tagger whose words see similar words of the training data (Wang et al., 2022, "GNN-SL: Sequence Labeling
Based on Nearest Examples via GNN").

Training has four stages; a killed run goes on in the one in which it was.

1. *Tagger.* The encoder is trained as that of BERT-Tagger, and then frozen. The state h_i of a word is its first
   piece's, of the last layer.
2. *Datastore.* The states and tags of all training words. For each word the `k` nearest of them by inner product.
3. *Graph.* Words, their neighbours, and `context` words on each side of these are nodes of a heterogeneous graph
   transformer (`genner.rivals.hgt`); a linear layer over a word's last state gives its tags. Cross entropy, mean over
   words.
4. *Mixture.* With neighbours j of similarity s_j and tag y_j, and T and lambda that give the best F1 on dev data,

       p(y | i) = (1 - lambda) p_graph(y | i) + lambda sum_j softmax_j(s_j / (T sqrt(H))) [y_j = y]

   The number of neighbours that prediction uses, at most `k`, is chosen with them. Without dev data there is no
   mixture.

Decoding, scores, and what it cannot express are those of BERT-Tagger without a CRF.

Differences from the published code, which was read:

- A word's neighbours are never words of its own text, in training and in prediction. There, each training word is its
  own nearest neighbour, so the graph is trained on neighbours better than any that it sees later.
- T and lambda are chosen on dev data. There, scripts loop over both and print the test score of each.
- The mixture takes the tag of neighbour j. There, an array of [neighbours, context] is read as [context, neighbours],
  so tags of context words take part.
- s_j is divided by sqrt(H), so that T means the same for encoders of all widths.
- Context words beyond the text's edge are no nodes; there, they are features of padding.
- `context` is 3, as the names of the scripts for CoNLL and OntoNotes say; the graph of the published code has 1.
- Label nodes (an option of the published code that its NER scripts do not use) are left out.
- `width` is the encoder's, as there (1,024 of BERT-large).
- Windows that fill the memory are computed again in the backward pass, so that a batch of any size fits.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Self

import torch

from genner.document import Document
from genner.rivals.base import DECODED_AT_ONCE, EncoderRival
from genner.rivals.bert_tagger import BertTagger
from genner.rivals.datastore import Datastore
from genner.rivals.fitting import FitOptions, FitProgress, train
from genner.rivals.gnn_network import GnnNetwork, GnnOptions, NeighbourMixture
from genner.rivals.stages import Stages, clear_stages
from genner.rivals.words import Window, prediction_windows

SHARES = [i / 10 for i in range(1, 10)]  # lambda
TEMPERATURES = [0.03, 0.1, 0.3, 1.0, 3.0]


class GnnSL(EncoderRival):
    """A tagger whose words see similar words of the training data (Wang et al. 2022)."""

    name = "gnn_sl"
    network_type = GnnNetwork
    options_type = GnnOptions
    fit_options = FitOptions(encoder_rate=7e-5, head_rate=7e-5, batch_size=128, epochs=50, warmup=0.002)
    """Rates and epochs of both the tagger and the graph. A time budget is halved between them."""

    @property
    def network(self) -> GnnNetwork:
        network = super().network
        assert isinstance(network, GnnNetwork)
        return network

    def train(
        self,
        windows: Sequence[Window],
        documents: Sequence[Document],
        dev: Sequence[Document],
        options: FitOptions,
        folder: Path,
        quiet: bool,
    ) -> tuple[FitProgress, dict[str, str]]:
        network, labels = self.network, self.labels
        stages = Stages(folder, network, documents, dev, options)
        half = replace(options, max_minutes=options.max_minutes / 2) if options.max_minutes else options

        tagger = stages.result("tagger")
        if tagger is None:
            network.encoder.requires_grad_(True)
            alone = BertTagger(network.encoder, scheme=self.options.scheme, dropout=self.options.dropout)
            alone.to(self.device).begin(labels, options)
            dev_f1 = (lambda: alone.f1(dev)) if dev else None
            progress = train(
                alone.network, windows, dev_f1, half, folder / "tagger",
                description="tagger", quiet=quiet, on_step=self.on_step, data=stages.key,
            )  # fmt: skip
            result = {"encoder": network.encoder.state_dict(), "progress": asdict(progress)}
            tagger = stages.finish("tagger", result, folder / "tagger")
        network.encoder.load_state_dict(tagger["encoder"])
        network.encoder.requires_grad_(False)
        network.fill(windows, stages, options.batch_size, self.options.search)
        with network.remembering():
            graph = stages.result("graph")
            if graph is None:
                dev_f1 = (lambda: self.f1(dev)) if dev else None
                progress = train(
                    network, windows, dev_f1, half, folder / "graph",
                    description="graph", quiet=quiet, on_step=self.on_step, data=stages.key,
                )  # fmt: skip
                weights = {name: p.detach() for name, p in network.head_parameters()}
                result = {"weights": weights, "progress": asdict(progress)}
                graph = stages.finish("graph", result, folder / "graph")
            network.load_state_dict(graph["weights"], strict=False)
            best, chosen = self.tune(dev) if dev else (-1.0, None)
        if chosen:
            network.mixture.copy_(torch.tensor([float(value) for value in chosen]))
        first, second = tagger["progress"], graph["progress"]
        more = {
            "datastore": f"{len(network.store)} words",
            "neighbours": ",".join(f"{k}={v:g}" for k, v in chosen._asdict().items()) if chosen else "untuned",
            "dev_f1": f"tagger={first['best']:.4f},graph={second['best']:.4f}" if dev else "none",
        }
        return FitProgress(first["step"] + second["step"], first["seconds"] + second["seconds"], best), more

    def clear(self, folder: Path) -> None:
        clear_stages(folder)

    @torch.inference_mode()
    def tune(self, dev: Sequence[Document]) -> tuple[float, NeighbourMixture]:
        """The best strict micro-F1 on dev data, in [0, 1], and the mixture that gives it; the simplest of equals."""
        network = self.network.eval()
        cut: list[tuple[Window, frozenset[tuple[int, int, str]]]] = []
        for document in dev:
            gold = frozenset((e.start, e.end, e.label) for e in document.entities)
            cut += [(w, gold) for w in prediction_windows(document.text, network.encoder.lengths, self._limit())]
        total = sum(len(document.entities) for document in dev)
        cut.sort(key=lambda pair: len(pair[0].words))
        evidence = [
            some
            for begin in range(0, len(cut), DECODED_AT_ONCE)
            for some in network.evidence([window for window, _ in cut[begin : begin + DECODED_AT_ONCE]])
        ]
        best = (-1.0, NeighbourMixture(self.options.k, 0.0, 1.0))
        for count in _halves(self.options.k):
            graph = network.probabilities(evidence, count)
            for share, temperature in [(0.0, 1.0), *product(SHARES, TEMPERATURES)]:
                mixture = NeighbourMixture(count, share, temperature)
                right = found = 0
                for (window, gold), chances, known in zip(cut, graph, evidence, strict=True):
                    for span in network.spans(network.mixed(chances, known.nearest, mixture)):
                        if window.home[0] <= span.start < window.home[1]:
                            entity = window.entity(span)
                            found += 1
                            right += (entity.start, entity.end, entity.label) in gold
                f1 = 2 * right / (found + total) if found + total else 0.0
                if f1 > best[0]:
                    best = f1, mixture
        return best

    def save_weights(self, folder: Path) -> None:
        super().save_weights(folder)
        self.network.store.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        made = super().load(folder)
        made.network.store = Datastore.load(folder, made.options.search)
        return made


def _halves(k: int) -> list[int]:
    """`k`, its half, and its quarter."""
    return sorted({k, max(1, k // 2), max(1, k // 4)}, reverse=True)
