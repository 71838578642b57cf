"""A model's training data, as far as they are known, and the `ContaminationCase` built from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genner.contamination.base import ContaminationCase, TrainedOn, evenly
from genner.contamination.exact import normalized
from genner.data.base import ReadLog
from genner.data.catalog import catalog
from genner.data.corpus import read_corpus
from genner.document import Document, LabelSet
from genner.errors import GennerError, LabelError, UnreadableError, UsageError
from genner.export.about import ModelFacts
from genner.formats import get_format
from genner.groups import with_groups
from genner.labels import as_label_set
from genner.model_source import ModelSource
from genner.training.conversations import read_conversations
from genner.training.mixture import label_set_of
from genner.training.recipe import Recipe, SetSpec
from genner.training.sampling import fraction, shots

SPLIT_NAMES = ("train", "dev", "test")


@dataclass
class KnownRecipes:
    """The recipes with which a model was trained, the last one first; `complete`: whether these are all."""

    recipes: list[Recipe] = field(default_factory=list)
    complete: bool = False
    notes: list[str] = field(default_factory=list)


def recipes_of(model: str, given: Sequence[Path] = ()) -> KnownRecipes:
    """The recipes of a model and of the adapters from which its training started, read from the folders of the runs.

    `given` are recipes, the model's own first, used if no run is available. Raises `DataError` for a file that is no
    recipe.
    """
    known = KnownRecipes([Recipe.from_file(path) for path in given])
    if not given:
        recipe = _recorded(model)
        if recipe is None:
            return known
        known.recipes.append(recipe)
    while (start := known.recipes[-1].start) is not None:
        before = _recorded(start)
        if before is None:
            known.notes.append(
                f"training began with {start!r}, whose own training data are not known; give its recipe as another "
                "--recipe"
            )
            return known
        known.recipes.append(before)
    known.complete = True
    return known


def _recorded(model: str) -> Recipe | None:
    """The recipe stored in a model's run or exported folder."""
    try:
        training = ModelFacts.of(model).training
        return Recipe.from_recorded(training.recipe) if training else None
    except GennerError:
        return None


@dataclass(frozen=True)
class Given:
    """The user's input: `data` is the test set; see `case_of`.

    `syntaxes` are the file syntaxes of `test`, `train`, `members` and `unseen`, by these names; missing ones are
    detected.
    """

    data: Path
    syntaxes: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    split: str | None = None
    labels: LabelSet | None = None
    format: str | None = None
    root: Path | None = None
    recipes: tuple[Path, ...] = ()
    train: tuple[Path, ...] = ()
    members: tuple[Path, ...] = ()
    unseen: tuple[Path, ...] = ()
    limit: int | None = None
    set: str | None = None
    """Name of the recipe's set that is of the test set's kind; by default the one in the test set's folder."""


def case_of(
    model: str, given: Given, read_log: ReadLog, watch: Callable[[str], None] = lambda said: None
) -> tuple[ContaminationCase, list[str]]:
    """The case of a model and a test set, and notes on what is unknown.

    The training data are `train` and the sets of the model's recipes, whose files lie below `root`. Unless they are
    given, `members` and `unseen` come from the recipe's set in the folder of the test set: `members` are its training
    texts, `unseen` its dev file. Sentences that occur in both, or in the sample, are left out.

    Raises `UsageError` for a test set without documents, or for labels that it lacks; `UnknownNameError` for a
    format that is not known; `DataError` as readers do.
    """
    watch(str(given.data))
    test = with_groups(list(read_corpus(given.data, given.syntaxes.get("test"), read_log)))
    if not test:
        raise UsageError(f"{str(given.data)!r} holds no document; give a file with the test set")
    known = recipes_of(model, given.recipes)
    notes, root = list(known.notes), given.root or Path()
    sources = [
        TrainedOn(str(path), list(read_corpus(path, given.syntaxes.get("train"), read_log))) for path in given.train
    ]
    missing: list[str] = []
    own: SetSpec | None = None
    kind: Sequence[Document] = ()
    read: set[Path] = set()
    for recipe in known.recipes:
        for spec in recipe.sets:
            found = _documents(spec, recipe.seed, root, read, missing, read_log, watch)
            sources += found
            if own is None and found and _is_own(spec, given, root):
                own, kind = spec, found[0].documents
        for talk in recipe.chat:
            for file in talk.train:
                if (root / file).is_file():
                    turns = (text for turns, _ in read_conversations(root / file) for _, text in turns)
                    sources.append(TrainedOn(file, [Document(text) for text in turns]))
                else:
                    missing.append(file)
    if missing:
        some = ", ".join([*missing[:3], *(["..."] if len(missing) > 3 else [])])
        notes.append(f"{len(missing)} files of the recipe are not under {root} ({some}); give their folder as --data")
    for source in sources[: len(given.train)]:
        if not source.documents:
            notes.append(f"{source.name} holds no document, so nothing is compared with it")
    members, unseen = (
        _files(paths, read_log, given.syntaxes.get(name))
        for name, paths in (("members", given.members), ("unseen", given.unseen))
    )
    notes += [
        f"the given {name} hold no document; those of the recipe are taken, if it has any"
        for name, paths, read_in in (("members", given.members, members), ("unseen", given.unseen, unseen))
        if paths and not read_in
    ]
    members = members or with_groups(kind)
    if own is not None and not unseen and own.dev is not None and (root / own.dev).exists():
        unseen = _files([root / own.dev], read_log, own.from_)
    sample = evenly(test, given.limit)
    asked = {normalized(d.text) for d in sample}
    seen = {normalized(d.text) for source in sources for d in source.documents} | {normalized(d.text) for d in members}
    members = [d for d in members if normalized(d.text) not in asked]
    known_texts = seen | asked
    kept = [d for d in unseen if normalized(d.text) not in known_texts]
    if left := len(unseen) - len(kept):
        notes.append(f"{left} of {len(unseen)} unseen texts are trained on or in the sample; they are left out")
    case = ContaminationCase(
        name=given.name or _name(given.data),
        split=given.split or next((s for s in SPLIT_NAMES if s in given.data.stem.split(".")[0]), "test"),
        labels=_label_set(given, own, root, [*test, *members, *kept]),
        format=get_format(given.format).name if given.format else ModelSource.resolve(model).format,
        test=test,
        sample=sample,
        train=[source for source in sources if source.documents],
        complete=known.complete and not missing,
        members=evenly(members, given.limit),
        unseen=evenly(kept, given.limit),
    )
    return case, notes


def _documents(
    spec: SetSpec,
    seed: int,
    root: Path,
    read: set[Path],
    missing: list[str],
    read_log: ReadLog,
    watch: Callable[[str], None],
) -> list[TrainedOn]:
    """The documents of a set after `fraction` and `shots`, by file; a file that several sets use comes once."""
    if spec.weight <= 0:
        return []
    found: list[Document] = []
    whole = spec.fraction >= 1 and not spec.shots
    for file in spec.train:
        path = (root / file).resolve()
        if path in read and whole:
            continue
        watch(file)
        try:
            found += read_corpus(root / file, spec.from_, read_log)
        except UnreadableError:
            missing.append(file)
            continue
        if whole:
            read.add(path)
    named = f"{seed}:{spec.name}"
    part = shots(found, spec.shots, named) if spec.shots else found
    part = fraction(found, spec.fraction, named) if spec.fraction < 1 and found else part
    return [TrainedOn(spec.name, part)]


def _is_own(spec: SetSpec, given: Given, root: Path) -> bool:
    """Whether a recipe's set is of the test set's kind."""
    if given.set is not None:
        return spec.name == given.set
    folder = given.data.resolve().parent
    return any((root / file).resolve().parent == folder for file in spec.train)


def _files(paths: Iterable[Path], read_log: ReadLog, reader: str | None = None) -> list[Document]:
    return [document for path in paths for document in with_groups(list(read_corpus(path, reader, read_log)))]


def _name(data: Path) -> str:
    """The public name of the set: the catalog's title for its folder or file, or their name."""
    for name in (data.stem, data.resolve().parent.name):
        if name in catalog():
            return catalog()[name].title
    return data.resolve().parent.name if data.stem in SPLIT_NAMES else data.stem


def _label_set(given: Given, own: SetSpec | None, root: Path, documents: Sequence[Document]) -> LabelSet:
    """The given labels, those of the recipe's set, or those of the documents. Raises `LabelError`."""
    tags = sorted({e.label for d in documents for e in d.entities})
    labels = given.labels or (label_set_of(own, root) if own else as_label_set(tags or None))
    if lacking := [tag for tag in tags if tag not in labels]:
        raise LabelError(f"label {lacking[0]!r} is in the data and not in the label set: {', '.join(labels.tags)}")
    return labels
