"""Training of a cell's model, on the data of its corpus or on probed data."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from genner.assess.answer_cells import make_probe
from genner.assess.cell_context import CellContext, CellFindings, require_model
from genner.assess.corpora import MissingError, documents_of, must_be_there, path_of
from genner.assess.records import Json
from genner.data.catalog import named_label_set


def run_training(work: CellContext) -> CellFindings:
    from genner.model_source import called_in_signatures
    from genner.training import RunOptions, train
    from genner.training.recipe import Recipe

    about, folder = work.about, work.run.folder
    recipe, data = Recipe.from_recorded(about["recipe"]), work.data
    for spec in recipe.sets:
        must_be_there(spec.name, [*spec.train, *([spec.dev] if spec.dev else [])], data)
    for path in (path_of(name, data) for talk in recipe.chat for name in talk.train):
        if not path.is_file():
            raise MissingError(f"there is no {path} of general conversations; docs/mixing.md says where to get some")
    require_model(recipe.base)
    if "probe" in about:
        recipe, data = _probed_recipe(work, recipe), folder
    limits = about["limits"]
    options = RunOptions(
        max_minutes=limits["max_minutes"],
        eval_minutes=inf,  # at the end, and every `eval_steps`
        eval_steps=limits["eval_steps"],
        eval_sentences=limits["eval_sentences"],
        resume=True,
        device=work.device,
    )
    progress = train(recipe, data, folder, options, [StepTracker(work)])
    if not progress.finished:
        raise KeyboardInterrupt
    losses = progress.losses
    found = {
        "steps": progress.step,
        "tokens": progress.tokens,
        "loss": sum(losses) / len(losses) if losses else None,
        "dev": _dev(folder / "metrics.jsonl"),
        "data": json.loads((folder / "data.json").read_text(encoding="utf-8")),
    }
    base = called_in_signatures(recipe.base)
    signature = f"train|base:{base}|cell:{work.run.cell.id}|seed:{recipe.seed}|steps:{progress.step}"
    return CellFindings(found, signature, progress.tokens, progress.step * recipe.optim.groups_per_step)


class StepTracker:
    """A training tracker that reports the progress of the run."""

    def __init__(self, work: CellContext) -> None:
        self._work, self._total = work, 1

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        self._total = json.loads((self._work.run.folder / "data.json").read_text(encoding="utf-8"))["steps"]
        self.log({}, step)

    def log(self, values: dict[str, float], step: int) -> None:
        self._work.tell(step, self._total, "steps")

    def end(self) -> None:
        pass


def _dev(path: Path) -> Json:
    """The scores of the last evaluation in a run's metrics, without their `dev_`."""
    from genner.training.curve import read_metrics

    scores: Json = {}
    for record in read_metrics(path):
        found = {key.removeprefix("dev_"): value for key, value in record.items() if key.startswith("dev_")}
        scores = found or scores
    return scores


def _probed_recipe(work: CellContext, recipe: Any) -> Any:
    """The recipe with a probed first corpus (train and dev), whose files are written below the cell's folder."""
    from genner.data import write_atomic

    spec, *others = recipe.sets
    labels = named_label_set(spec.labels, work.data)
    probe = make_probe(work, labels)
    folder = work.run.folder / "probed"
    folder.mkdir(exist_ok=True)
    written = {}
    for name, files in (("train", spec.train), ("dev", (spec.dev,) if spec.dev else ())):
        documents = [d for file in files for d in documents_of(file, work.data, labels, spec.from_)]
        probed = probe.apply(documents, labels)
        lines = [json.dumps(d.to_dict(), ensure_ascii=False) + "\n" for d in probed.documents]
        write_atomic(folder / f"{name}.jsonl", "".join(lines))
        written[name] = probed.labels
    write_atomic(folder / "labels.json", written["train"].to_file())
    spec = replace(
        spec,
        train=("probed/train.jsonl",),
        dev="probed/dev.jsonl" if spec.dev else None,
        labels="probed/labels.json",
        from_=None,
    )
    root = work.data.resolve()
    rest = [
        replace(
            other, train=tuple(str(root / f) for f in other.train), dev=str(root / other.dev) if other.dev else None
        )
        for other in others
    ]
    talks = [replace(talk, train=tuple(str(root / f) for f in talk.train)) for talk in recipe.chat]
    return replace(recipe, sets=(spec, *rest), chat=tuple(talks))
