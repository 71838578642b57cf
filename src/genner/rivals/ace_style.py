"""ACE-style: a search for the encoders whose concatenation serves a tagger best (Wang et al., 2021, "Automated
Concatenation of Embeddings for Structured Prediction", sections 3 and 4).

Frozen encoders give each word a vector (its first piece's), and a BiLSTM over its characters, which is trained with the
tagger (`genner.rivals.character_lstm`), gives another. Their concatenation, times a choice a in {0, 1}^L, goes
through a linear layer, a BiLSTM, a linear layer and a linear-chain CRF over BIOES tags. Loss: its negative
log-likelihood, mean over texts. A controller (`genner.rivals.controller`) draws up to `episodes` choices. For each the
tagger is trained on from the weights that it has, and the best F1 on dev data is the choice's score. The weights and
the choice of the best episode are kept. Without dev data there is no search: all encoders are used.

Several encoders are given as `A,B,C`. With `layers`, these hidden layers of each encoder count as encoders. A single
encoder without `layers` is taken as four: its embeddings, and the layers after a third, two thirds and all of its
depth. A search over layers of one encoder is less than the paper's over different ones, and its result says which were
candidates.

With `fine_tune_epochs` each encoder is first trained alone as that of BERT-Tagger ("ACE + Fine-tune"), and then frozen.
An encoder that was tuned gives its last layer, another the mean of its last four.

Decoding: the best legal sequence of tags; an entity's score is the lowest marginal probability of its words' tags.
What it cannot express: overlapping entities. Of two that overlap the longer one is kept for training.

It is not ACE, and its figures are not ACE's. Differences from the published system:

- Candidates are encoders of transformers and characters. The published ones include ELMo, Flair, GloVe and fastText,
  and a model that was already fine-tuned on CoNLL-2003.
- AdamW with warm-up and decay in each episode; there, SGD with rate 0.1 that falls where dev F1 does not rise. An
  episode ends after 25 epochs without a better F1 (the `max_epochs_without_improvement` of its CoNLL configuration).
- The search ends early if F1 on dev data is 1.
- Dev F1 is in [0, 1], as there: with the published rate of 0.1 a gain of one point moves theta by less than 0.001, so
  the published controller stays near random choice. `controller_rate` makes it learn faster.
- Fine-tuning uses the batch size and head rate of all training; there, batches of 1 with accumulation over 4.
- States of training and dev words are computed once, and kept in half precision while the search lasts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from genner.document import Document
from genner.rivals.ace_network import AceNetwork, AceOptions
from genner.rivals.base import EncoderRival
from genner.rivals.bert_tagger import BertTagger
from genner.rivals.controller import Controller
from genner.rivals.encoder import WordEncoder
from genner.rivals.encoder_group import EncoderGroup, encoder_names, layers_of
from genner.rivals.fitting import FitOptions, FitProgress, train
from genner.rivals.stages import Stages, clear_stages
from genner.rivals.words import Window, prediction_windows
from genner.writing import write_atomic

SEARCH_LOG = "search.jsonl"
LEAST_MINUTES = 1e-3  # of an episode: one step


class AceStyle(EncoderRival):
    """A tagger over the concatenation of encoders that a search finds to serve it best (Wang et al. 2021)."""

    name = "ace_style"
    network_type = AceNetwork
    options_type = AceOptions
    fit_options = FitOptions(
        encoder_rate=5e-6, head_rate=1e-3, epochs=150, batch_size=32, weight_decay=0.0, clip=5.0, patience=25
    )
    """Those of an episode. Half of a time budget goes to fine-tuning, if there is any, and the rest to the episodes."""

    @property
    def network(self) -> AceNetwork:
        network = super().network
        assert isinstance(network, AceNetwork)
        return network

    def make_encoder(self) -> EncoderGroup:
        given = self._encoder
        members = [WordEncoder.load(name) for name in encoder_names(given)] if isinstance(given, str) else [given]
        if self.options.layers or len(members) == 1:
            layers = [layers_of(member, self.options.layers) for member in members]
            self.options = replace(self.options, layers=layers[0])
        of_each = self.options.layers or (1 if self.options.fine_tune_epochs else 4)
        name = ",".join(member.name for member in members)
        return EncoderGroup([WordEncoder(m.model, m.tokenizer, m.name, of_each) for m in members], name)

    @classmethod
    def saved_encoder(cls, folder: Path, manifest: Mapping[str, Any]) -> EncoderGroup:
        return EncoderGroup.of_members(folder, manifest["encoder"])

    def train(
        self,
        windows: Sequence[Window],
        documents: Sequence[Document],
        dev: Sequence[Document],
        options: FitOptions,
        folder: Path,
        quiet: bool,
    ) -> tuple[FitProgress, dict[str, str]]:
        network = self.network
        stages = Stages(folder, network, documents, dev, options)
        spent = self._fine_tune(windows, dev, stages, options, quiet)
        network.encoder.requires_grad_(False)
        network.eval()
        begun = monotonic()
        cut = [w for d in dev for w in prediction_windows(d.text, network.encoder.lengths, self._limit())]
        with network.keeping([*windows, *cut], options.batch_size):
            spent.seconds += monotonic() - begun
            controller, progress = self._search(windows, dev, stages, options, spent, quiet)
        more = {
            "encoders": ",".join(f"{n}={c}" for n, c in zip(network.candidates, controller.best[0], strict=True)),
            "episodes": str(len(controller.tried)),
        }
        return progress, more

    def clear(self, folder: Path) -> None:
        clear_stages(folder)

    def _fine_tune(
        self,
        windows: Sequence[Window],
        dev: Sequence[Document],
        stages: Stages,
        options: FitOptions,
        quiet: bool,
    ) -> FitProgress:
        """Train each encoder alone as a tagger. Returns steps and seconds."""
        spent = FitProgress()
        members = self.network.encoder.each()
        if not self.options.fine_tune_epochs:
            return spent
        minutes = options.max_minutes / 2 / len(members) if options.max_minutes else None
        tuned = replace(options, epochs=self.options.fine_tune_epochs, max_minutes=minutes)
        for number, member in enumerate(members):
            stage = f"fine_tuned_{number}"
            result = stages.result(stage)
            if result is None:
                member.model.requires_grad_(True)
                alone = BertTagger(WordEncoder(member.model, member.tokenizer, member.name))
                alone.to(self.device).begin(self.labels, options)
                f1 = (lambda alone=alone: alone.f1(dev)) if dev else None
                place = stages.folder / stage
                progress = train(
                    alone.network, windows, f1, tuned, place,
                    description=member.name, quiet=quiet, on_step=self.on_step, data=stages.key,
                )  # fmt: skip
                result = stages.finish(
                    stage,
                    {"weights": member.model.state_dict(), "steps": progress.step, "seconds": progress.seconds},
                    place,
                )
            member.model.load_state_dict(result["weights"])
            spent.step += result["steps"]
            spent.seconds += result["seconds"]
        return spent

    def _search(
        self,
        windows: Sequence[Window],
        dev: Sequence[Document],
        stages: Stages,
        options: FitOptions,
        spent: FitProgress,
        quiet: bool,
    ) -> tuple[Controller, FitProgress]:
        """Let the controller try choices; the network has the weights of the best one in the end.

        `spent` is what was done before. Returns the controller, and all that was done.
        """
        network, own = self.network, self.options
        names = network.candidates
        controller = Controller(len(names), own.controller_rate, own.controller_momentum, own.discount, options.seed)
        episodes = own.episodes if dev and len(names) > 1 else 1
        f1 = (lambda: self.f1(dev)) if dev else None
        state: dict[str, Any] = {"tried": [], "step": 0, "seconds": 0.0, "now": None, "best": None}
        if found := stages.result("search"):
            state = found
            for choice, score in state["tried"]:
                controller.learn(tuple(choice), score)
            network.load_state_dict(state["now"], strict=False)
        while len(controller.tried) < episodes and not (controller.tried and controller.best[1] >= 1):
            number = len(controller.tried)
            minutes = None
            if options.max_minutes:
                left = options.max_minutes - (spent.seconds + state["seconds"]) / 60
                if left <= 0 and number:
                    break
                minutes = max(left / (episodes - number), LEAST_MINUTES)
            chosen = controller.draw()
            network.choice.copy_(torch.tensor(chosen))
            progress = train(
                network,
                windows,
                f1,
                replace(options, max_minutes=minutes),
                stages.folder / f"episode_{number:02d}",
                description=f"episode {number + 1} of {episodes}: {sum(chosen)} of {len(names)} encoders",
                quiet=quiet,
                on_step=self.on_step,
                data=stages.key,
            )
            better = not controller.tried or progress.best > controller.best[1]
            controller.learn(chosen, progress.best)
            state["now"] = {n: w.clone() for n, w in network.state_dict().items() if not n.startswith("encoder.")}
            if better:
                state["best"] = state["now"]
            state["tried"] = [[list(choice), score] for choice, score in controller.tried]
            state["step"] += progress.step
            state["seconds"] += progress.seconds
            stages.finish("search", state, stages.folder / f"episode_{number:02d}")
        network.load_state_dict(state["best"], strict=False)
        lines = [
            {"episode": i, "dev_f1": score, "chosen": [n for n, used in zip(names, choice, strict=True) if used]}
            for i, (choice, score) in enumerate(controller.tried)
        ]
        write_atomic(stages.folder / SEARCH_LOG, "".join(json.dumps(line) + "\n" for line in lines))
        done = FitProgress(spent.step + state["step"], spent.seconds + state["seconds"], controller.best[1])
        return controller, done
