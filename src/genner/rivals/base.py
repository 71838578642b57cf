"""Rivals: systems that are no generative model, behind one protocol, so that all are scored by the same code."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch

from genner.document import Document, LabelSet, Prediction
from genner.errors import ModelError, UsageError
from genner.evaluation import Counts, count
from genner.evaluation.pairing import digest, genner_version
from genner.inputs import document_of, not_one_text
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import CHECKPOINT, FitOptions, FitProgress, run_key, train
from genner.rivals.manifest import RIVAL_MANIFEST, read_manifest, write_manifest, write_tensors
from genner.rivals.network import RivalNetwork
from genner.rivals.words import NOT_ASKED, ScoredSpan, Unencodable, Window, prediction_windows, training_windows
from genner.toml_config import build
from genner.transformer_encoder import identity
from genner.writing import lock, write_atomic

WEIGHTS = "model.safetensors"
LOCK = "fit.lock"
DECODED_AT_ONCE = 32  # windows
BUFFER = 256  # texts that are read ahead, so that batches hold windows of similar length


@dataclass(frozen=True)
class FitReport:
    """What came of a training run.

    `dev_f1` in [0, 1], None without dev data; `unencodable` are the gold entities of the training data that the rival
    cannot express, by reason, of `entities`; `unseen` are labels without an entity in it.
    """

    steps: int
    seconds: float
    dev_f1: float | None
    windows: int
    entities: int
    unencodable: Unencodable
    unseen: tuple[str, ...]
    parameters: int


class Rival(Protocol):
    """A system that finds entities in texts."""

    @property
    def labels(self) -> LabelSet:
        """The labels that it predicts."""
        ...

    @property
    def signature(self) -> dict[str, str]:
        """What identifies it in a score."""
        ...

    def fit(
        self,
        documents: Sequence[Document],
        dev: Sequence[Document],
        labels: LabelSet,
        *,
        folder: Path,
        options: FitOptions | None = None,
        quiet: bool = False,
    ) -> FitReport:
        """Train on documents, choose the best state by F1 on `dev` (empty: the last state), and save it in `folder`.

        Raises `UsageError` where it cannot be trained, or without training data.
        """
        ...

    def predict(self, texts: Iterable[str | Document]) -> Iterator[Prediction]:
        """The prediction for each text, in order."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs into a folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The rival that `save` wrote. Raises `ModelError` if the folder holds another or none."""
        ...

    def unencodable(self, document: Document) -> Unencodable:
        """The number of gold entities of a document that it cannot express, by reason."""
        ...


class EncoderRival:
    """A rival that is one network over one encoder.

    Args:
        encoder: the encoder's name on the Hugging Face hub, its folder, or the encoder itself.
        **hyperparameters: fields of `options_type`; defaults are those of its docstring.
    """

    name: ClassVar[str]
    network_type: ClassVar[type[RivalNetwork]]
    options_type: ClassVar[type[Any]]
    """A frozen dataclass of hyperparameters."""
    fit_options: ClassVar[FitOptions] = FitOptions()
    """How it is trained unless something else is given."""
    layers: ClassVar[int] = 1
    """The number of last hidden layers of the encoder that are averaged."""

    def __init__(self, encoder: str | WordEncoder, **hyperparameters: Any) -> None:
        self.encoder_name = identity(encoder) if isinstance(encoder, str) else encoder.name
        self._encoder = encoder
        self.options = build(self.options_type, hyperparameters, self.name)
        self.trained: dict[str, str] = {}
        self.device: str | None = None
        """Where it is trained and run (`cpu`, `cuda:1`); None: the first GPU, or the CPU."""
        self.on_step: Callable[[int, int], None] | None = None
        """Is told after each step of training how many were done, and about how many there are."""
        self._network: RivalNetwork | None = None

    @property
    def network(self) -> RivalNetwork:
        """The trained network. Raises `UsageError` before `fit` or `load`."""
        if self._network is None:
            raise UsageError(f"this {self.name} is not trained; call fit, or load one that is")
        return self._network

    @property
    def labels(self) -> LabelSet:
        """The labels that it predicts."""
        return self.network.labels

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def signature(self) -> dict[str, str]:
        """What identifies it in a score."""
        options = ",".join(f"{key}={value}" for key, value in asdict(self.options).items())
        return {"rival": self.name, "encoder": self.encoder_name, "options": options, **self.trained}

    def fit(
        self,
        documents: Sequence[Document],
        dev: Sequence[Document],
        labels: LabelSet,
        *,
        folder: Path,
        options: FitOptions | None = None,
        quiet: bool = False,
    ) -> FitReport:
        """See `Rival.fit`. A killed run goes on where it was when called again with the same arguments.

        Raises `UsageError` too where training or dev data have no entity, and `DataError` where another process writes
        into the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        claim = folder / LOCK
        with claim.open("ab", buffering=0) as file:
            lock(file, folder)
            report = self._fit(documents, dev, labels, folder, options or self.fit_options, quiet)
            claim.unlink(missing_ok=True)
        return report

    def _fit(
        self,
        documents: Sequence[Document],
        dev: Sequence[Document],
        labels: LabelSet,
        folder: Path,
        options: FitOptions,
        quiet: bool,
    ) -> FitReport:
        if dev:
            _check_dev(dev, labels)
        self.begin(labels, options)
        windows, lost = self.windows(documents, options)
        windows = self.trained_on(windows)
        if windows and not any(window.entities for window in windows):
            reasons = "".join(f"; {number}: {reason}" for reason, number in lost.most_common())
            raise UsageError(
                f"{len(documents)} training documents have no entity that {self.name} can learn as one of "
                f"{', '.join(labels.tags)}{reasons}; give annotated documents, or their own labels"
            )
        progress, more = self.train(windows, documents, dev, options, folder, quiet)
        seen = {entity.label for window in windows for entity in window.entities}
        self.trained = {
            "train": digest(documents),
            "dev": digest(dev) if dev else "none",
            "fit": ",".join(f"{key}={value}" for key, value in asdict(options).items()),
            "steps": str(progress.step),
            **more,
        }
        report = FitReport(
            steps=progress.step,
            seconds=progress.seconds,
            dev_f1=progress.best if dev else None,
            windows=len(windows),
            entities=sum(len(d.entities) for d in documents),
            unencodable=lost,
            unseen=tuple(tag for tag in labels.tags if tag not in seen),
            parameters=self.parameters,
        )
        (folder / RIVAL_MANIFEST).unlink(missing_ok=True)
        write_atomic(folder / "fit.json", json.dumps(vars(report), ensure_ascii=False, indent=1) + "\n")
        self.save(folder)
        self.clear(folder)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return report

    def train(
        self,
        windows: Sequence[Window],
        documents: Sequence[Document],
        dev: Sequence[Document],
        options: FitOptions,
        folder: Path,
        quiet: bool,
    ) -> tuple[FitProgress, dict[str, str]]:
        """Train the network on windows of documents: the whole run, and what else the signature says of it."""
        f1 = (lambda: self.f1(dev)) if dev else None
        progress = train(
            self.network, windows, f1, options, folder,
            description=self.name, quiet=quiet, on_step=self.on_step,
            data=run_key(self.network, options, self.encoder_name, digest(documents), digest(dev)),
        )  # fmt: skip
        return progress, {}

    def clear(self, folder: Path) -> None:
        """Delete what only a killed run needs, once the rival is saved."""

    def predict(self, texts: Iterable[str | Document]) -> Iterator[Prediction]:
        """See `Rival.predict`."""
        not_one_text(texts)
        network = self.network
        read = (document_of(text, number) for text, number in zip(texts, numbers(), strict=False))
        while documents := list(islice(read, BUFFER)):
            cut = [list(prediction_windows(d.text, network.encoder.lengths, self._limit())) for d in documents]
            spans = iter(self.decode([window for windows in cut for window in windows]))
            for document, windows in zip(documents, cut, strict=True):
                entities = [
                    window.entity(span)
                    for window, found in zip(windows, islice(spans, len(windows)), strict=True)
                    for span in found
                    if window.home[0] <= span.start < window.home[1]
                ]
                yield Prediction(
                    document.text, tuple(entities), document.id, group=document.group, extra=document.extra
                )

    def decode(self, windows: Sequence[Window]) -> list[list[ScoredSpan]]:
        """The predicted spans of windows, in batches of similar length."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i].words))
        found: list[list[ScoredSpan]] = [[] for _ in windows]
        network = self.network
        training = network.training
        network.eval()
        with torch.inference_mode():
            for begin in range(0, len(order), DECODED_AT_ONCE):
                some = order[begin : begin + DECODED_AT_ONCE]
                for i, spans in zip(some, network.decode([windows[i] for i in some]), strict=True):
                    found[i] = [s._replace(score=min(1.0, max(0.0, s.score))) for s in spans]
        network.train(training)
        return found

    def f1(self, documents: Sequence[Document]) -> float:
        """Strict micro-F1 on documents, in [0, 1]."""
        total = Counts()
        for gold, pred in zip(documents, self.predict(documents), strict=True):
            for counts in count(gold, pred).values():
                total += counts
        return total.f1

    def windows(self, documents: Iterable[Document], options: FitOptions) -> tuple[list[Window], Unencodable]:
        """Training windows of documents with the gold that the network can express, and what they lose."""
        made: list[Window] = []
        lost: Unencodable = Counter()
        for document in documents:
            some, gone = self._windows(document, min(self.network.room, options.max_pieces))
            made += some
            lost += gone
        return made, lost

    def trained_on(self, windows: list[Window]) -> list[Window]:
        """The windows of the training data that `fit` uses."""
        return windows

    def unencodable(self, document: Document) -> Unencodable:
        """See `Rival.unencodable`."""
        return self._windows(document, self._limit())[1]

    def save(self, folder: Path) -> None:
        """See `Rival.save`. The manifest is written last: a folder that has one holds a whole rival."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RIVAL_MANIFEST).unlink(missing_ok=True)
        self.save_weights(folder)
        manifest = {
            "rival": self.name,
            "encoder": self.encoder_name,
            "options": asdict(self.options),
            "labels": json.loads(self.labels.to_file()),
            "trained": self.trained,
        }
        write_manifest(folder, manifest)

    def save_weights(self, folder: Path) -> None:
        """Write the encoder and all weights into a folder. Raises `DataError` where they cannot be written."""
        network = self.network
        network.encoder.save(folder)
        # Weights that are one tensor under two names are written under both: no loader has to know which.
        weights = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
        write_tensors(folder / WEIGHTS, weights)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Rival.load`."""
        from safetensors.torch import load_file

        manifest = read_manifest(folder, "encoder", "trained")
        if manifest["rival"] != cls.name:
            raise ModelError(f"{folder} holds the rival {manifest['rival']!r}, not {cls.name!r}")
        try:
            encoder = cls.saved_encoder(folder, manifest)
            weights = load_file(folder / WEIGHTS)
        except Exception as error:  # of transformers, of safetensors, of the system: they have no common base
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"the rival in {folder} cannot be loaded: {said}; train it again, with --force for the same folder"
            ) from error
        try:
            made = cls(encoder, **manifest["options"])
        except UsageError as error:
            by = manifest.get("genner", "of an unknown version")
            raise ModelError(
                f"{folder / RIVAL_MANIFEST}: {error}; it was written by genner {by}, and this is {genner_version()}: "
                "use that version, or train the rival again"
            ) from None
        made.encoder_name, made.trained = manifest["encoder"], dict(manifest["trained"])
        labels = LabelSet.from_json(manifest["labels"], str(folder / RIVAL_MANIFEST))
        network = made.network_type(encoder, labels, made.options)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(f"the weights in {folder} are of another network: {str(error).splitlines()[0]}") from error
        made._network = network.to(_device(None)).eval()
        return made

    def to(self, device: str | None) -> Self:
        """Move it to a device; None: the first GPU, or the CPU."""
        self.device = device
        if self._network is not None:
            self._network.to(_device(device))
        return self

    def begin(self, labels: LabelSet, options: FitOptions) -> RivalNetwork:
        """Make the network that is to be trained; its weights depend on the options' seed."""
        torch.manual_seed(options.seed)
        encoder = self.make_encoder()
        self.encoder_name = encoder.name
        self._network = self.network_type(encoder, labels, self.options).to(_device(self.device))
        return self._network

    def make_encoder(self) -> WordEncoder:
        """The encoder that training begins with."""
        if isinstance(self._encoder, str):
            return WordEncoder.load(self._encoder, self.layers)
        return self._encoder

    @classmethod
    def saved_encoder(cls, folder: Path, manifest: Mapping[str, Any]) -> WordEncoder:
        """The encoder of a saved rival, with weights still to be loaded."""
        return WordEncoder.of_folder(folder, manifest["encoder"], cls.layers)

    def _limit(self) -> int:
        """The maximum number of pieces of a window in prediction."""
        return min(self.network.room, self.fit_options.max_pieces)

    def _windows(self, document: Document, limit: int) -> tuple[list[Window], Unencodable]:
        network = self.network
        asked = [e for e in document.entities if e.label in network.number]
        lost: Unencodable = Counter({NOT_ASKED: len(document.entities) - len(asked)})
        kept = Document(document.text, tuple(asked), document.id)
        windows, gone = training_windows(kept, network.encoder.lengths, limit)
        lost += gone
        made = []
        for window in windows:
            left = network.unencodable(window)
            lost.update(reason for _, reason in left)
            out = {entity for entity, _ in left}
            said = tuple(e for e in window.entities if e not in out)
            made.append(Window(window.text, window.words, said, window.home))
        return made, +lost


def _check_dev(dev: Sequence[Document], labels: LabelSet) -> None:
    """Raise `UsageError` if no F1 on dev data can be told."""
    if not any(entity.label in labels for document in dev for entity in document.entities):
        raise UsageError(
            f"{len(dev)} dev documents have no entity of {', '.join(labels.tags)}, so they cannot choose the best "
            "state; give annotated ones, or none: the last state is kept"
        )


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
