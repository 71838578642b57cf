"""What all tools share: the protocol of `Rival`, the names of labels, and what a tool cannot express."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

from genner.document import Document, LabelSet, Prediction, Span
from genner.errors import GennerError, ModelError, UsageError
from genner.extras import EXTRA_OF_PACKAGE, install_command, is_installed, require
from genner.inputs import document_of, not_one_text
from genner.labels import Labels, as_label_set
from genner.rivals.manifest import RIVAL_MANIFEST, read_manifest, write_manifest
from genner.rivals.overlaps import not_flat
from genner.rivals.tools.found import ToolAnswer, checked
from genner.rivals.words import INSIDE_WORD, NOT_ASKED, Unencodable, WordEntity
from genner.toml_config import build
from genner.transformer_encoder import digest_of

ASKED_AT_ONCE = 64
"""Texts that are handed to a tool together."""
NOT_IN_MODEL = "the model has no label for it"
UNREAD = "beyond what the tool reads of the text"


class Tool(ABC):
    """A tool that is asked for its labels by their names; see `TrainedTool` for those that are not.

    Args:
        labels: the labels to find.
        **options: fields of `options_type`.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    """The package's name in Python, and on the index."""
    options_type: ClassVar[type[Any]]
    """A frozen dataclass of options; `model` names the model."""
    training: ClassVar[str]
    """How its models are trained, in words."""
    files: ClassVar[tuple[str, ...]] = ("model",)
    """The options that may name a file or a folder."""
    unsigned: ClassVar[tuple[str, ...]] = ("batch_size",)
    """The options that do not change what it finds."""

    @classmethod
    def installed(cls) -> str:
        """The version of its package that is installed, or the command that installs it."""
        if is_installed(cls.package):
            return f"{cls.package} {version(cls.package)}"
        return f"needs: {install_command(EXTRA_OF_PACKAGE[cls.package])}"

    def __init__(self, labels: Labels, **options: Any) -> None:
        require(self.package)
        self._labels = as_label_set(labels)
        self.options = build(self.options_type, options, f"options of {self.name}")
        self.tags = self._named()
        self._model: Any = None

    @property
    def labels(self) -> LabelSet:
        """The labels that it predicts."""
        return self._labels

    @property
    def signature(self) -> dict[str, str]:
        """What identifies it in a score: a model in a file or folder by its last name and a hash of what is in it."""
        said = {key: value for key, value in asdict(self.options).items() if key not in self.unsigned}
        said |= {key: self.identity(said[key]) for key in self.files if said[key]}
        options = ",".join(f"{key}={value}" for key, value in said.items())
        names = ",".join(self.tags)
        return {"rival": self.name, self.package: version(self.package), "labels": names, "options": options}

    @abstractmethod
    def load_model(self) -> Any:
        """The model that the options name. Any exception becomes a `ModelError`."""

    @abstractmethod
    def find(self, model: Any, texts: Sequence[str]) -> Sequence[ToolAnswer]:
        """The answer for each text; no text is empty or blank."""

    def words(self, model: Any, text: str) -> Sequence[Span] | None:
        """The words of a text at whose edges its entities begin and end, as far as it reads the text; None: any place.

        In code points.
        """
        return None

    def max_words(self, model: Any) -> int | None:
        """The number of words that an entity has at most."""
        return None

    def clashes(self, entities: Sequence[WordEntity]) -> list[tuple[WordEntity, str]]:
        """Entities of one text, in code points, that it cannot find beside the others, each with the reason."""
        return not_flat(entities)

    def tag_of(self, name: str) -> str | None:
        """The tag of a label of the tool; empty: it is left out on purpose; None: it stands for no tag."""
        return self.tags.get(name)

    def reached(self, model: Any) -> Collection[str]:
        """The tags that the model can find."""
        return self.labels.tags

    def accepted(self, model: Any) -> Any:
        """The model, if it fits the options. Raises `UsageError`."""
        return model

    def _named(self) -> dict[str, str]:
        """The tag of each label's name, by which it is asked for. Raises `UsageError` when two labels have one name."""
        tags: dict[str, str] = {}
        for label in self.labels:
            name = label.name or label.tag
            if name in tags:
                raise UsageError(f"labels {tags[name]!r} and {label.tag!r} have one name, {name!r}; give each its own")
            tags[name] = label.tag
        return tags

    @property
    def model(self) -> Any:
        """The loaded model. Raises `ModelError`."""
        if self._model is None:
            try:
                loaded = self.load_model()
            except GennerError:
                raise
            except Exception as error:  # of another package: they have no common base
                said = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ModelError(
                    f"{self.name}: the model {self.options.model!r} cannot be loaded: {said}; "
                    f"genner rival list {self.name} says what a model may be"
                ) from error
            self._model = self.accepted(loaded)
        return self._model

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `UsageError`: a tool is trained by its own package."""
        raise UsageError(not_trained(type(self)))

    def predict(self, texts: Iterable[str | Document]) -> Iterator[Prediction]:
        """See `genner.rivals.base.Rival.predict`. Entities are checked: see `genner.rivals.tools.found`."""
        not_one_text(texts)
        read = (document_of(text, number) for text, number in zip(texts, count(), strict=False))
        while documents := list(islice(read, ASKED_AT_ONCE)):
            asked = [d.text for d in documents if d.text.strip()]
            answers = iter(self.find(self.model, asked) if asked else ())
            for document in documents:
                yield checked(document, next(answers) if document.text.strip() else ToolAnswer(), self.tag_of)

    def unencodable(self, document: Document) -> Unencodable:
        """See `genner.rivals.base.Rival.unencodable`. Loads the model. Raises `ModelError`."""
        lost: Unencodable = Counter()
        rest, reached = [], self.reached(self.model)
        words, limit = self.words(self.model, document.text), self.max_words(self.model)
        first = {start: i for i, (start, _) in enumerate(words or ())}
        last = {end: i + 1 for i, (_, end) in enumerate(words or ())}
        for entity in document.entities:
            if entity.label not in self.labels:
                lost[NOT_ASKED] += 1
            elif entity.label not in reached:
                lost[NOT_IN_MODEL] += 1
            elif words is not None and entity.end > max(last, default=0):
                lost[UNREAD] += 1
            elif words is not None and not (entity.start in first and entity.end in last):
                lost[INSIDE_WORD] += 1
            elif limit is not None and last[entity.end] - first[entity.start] > limit:
                lost[f"longer than {limit} words"] += 1
            else:
                rest.append(WordEntity(entity.start, entity.end, entity.label))
        lost.update(reason for _, reason in self.clashes(rest))
        return lost

    def save(self, folder: Path) -> None:
        """Write what `load` needs: labels and options, not the model, which stays where it is."""
        folder.mkdir(parents=True, exist_ok=True)
        options = asdict(self.options)
        options |= {key: str(Path(options[key]).expanduser().resolve()) for key in self.files if _on_disk(options[key])}
        labels = json.loads(self.labels.to_file())
        write_manifest(folder, {"rival": self.name, "options": options, "labels": labels})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The tool that `save` wrote. Raises `ModelError` if the folder holds another or none."""
        manifest = read_manifest(folder)
        if manifest["rival"] != cls.name:
            raise ModelError(f"{folder} holds the rival {manifest['rival']!r}, not {cls.name!r}")
        return cls(LabelSet.from_json(manifest["labels"], str(folder / RIVAL_MANIFEST)), **manifest["options"])

    @classmethod
    def identity(cls, named: str) -> str:
        """What a signature calls a model or a file of examples; it tells no path. Raises `ModelError`."""
        here = Path(named).expanduser()
        if not _on_disk(named):
            return named
        try:
            digest = digest_of([here] if here.is_file() else here.rglob("*"))
            return f"{here.resolve().name}@{digest}"
        except OSError as error:
            raise ModelError(f"{cls.name}: {named} cannot be read: {error.strerror}") from None


class TrainedTool(Tool):
    """A tool whose model was trained on labels of its own: `label_map` says which of them stands for which tag.

    `PERSON=PER,GPE=LOC,DATE=`: DATE is left out on purpose; `*=` as a part: all others are, too. A label that is a tag
    of its own stands for itself. Raises `UsageError` for a map that names no tag, or no label of the model, and for a
    model none of whose labels stands for a tag.
    """

    @abstractmethod
    def names(self, model: Any) -> Collection[str] | None:
        """The labels that a model has; None if they are not known."""

    def tag_of(self, name: str) -> str | None:
        """See `Tool.tag_of`."""
        return self.tags.get(name, self.tags.get("*"))

    def reached(self, model: Any) -> Collection[str]:
        """See `Tool.reached`."""
        names = self.names(model)
        return self.labels.tags if names is None else {tag for name in names if (tag := self.tag_of(name))}

    def accepted(self, model: Any) -> Any:
        """See `Tool.accepted`."""
        names = self.names(model)
        if names is None:
            return model
        shown = ", ".join(sorted(names)) or "none"
        for name in self.tags:
            if name not in (*names, *self.labels.tags, "*"):
                raise UsageError(
                    f"label_map: the model {self.options.model!r} has no label {name!r}; its labels: {shown}"
                )
        if not self.reached(model):
            raise UsageError(
                f"no label of the model {self.options.model!r} stands for one of {', '.join(self.labels.tags)}; its "
                f"labels: {shown}; say which stands for which with label_map=MODEL_LABEL=TAG,..."
            )
        return model

    def _named(self) -> dict[str, str]:
        tags = {tag: tag for tag in self.labels.tags}
        for part in filter(None, (part.strip() for part in self.options.label_map.split(","))):
            theirs, equals, tag = (piece.strip() for piece in part.partition("="))
            if not equals or not theirs or (tag and (tag not in self.labels or theirs == "*")):
                raise UsageError(
                    f"label_map {part!r}; legal: MODEL_LABEL=TAG with a tag of {', '.join(self.labels.tags)}, or "
                    "MODEL_LABEL= to leave a label out, or *= to leave all others out"
                )
            tags[theirs] = tag
        return tags


def not_trained(kind: type[Tool]) -> str:
    """What is said to who wants to train a tool."""
    return (
        f"{kind.name} is not trained here: {kind.training}; name a trained model, as in: "
        f"genner rival predict {kind.name} TEXTS --model MODEL --labels TAGS --out FILE"
    )


def _on_disk(named: str) -> bool:
    return bool(named) and Path(named).expanduser().exists()
