"""Runs each kind of cell: from its description to metrics; the cell's folder keeps what later cells need.

Every kind can be interrupted at any moment and resumes: `train` and `fit` from their last checkpoint, `score` and
`probe` after the last whole line of their answers, `ability` after the last task (a cell is one task), `contamination`
after the last item of a signal.
"""

from collections.abc import Callable

from genner.assess.answer_cells import run_probe, run_score
from genner.assess.cell_context import CellContext, CellFindings, require_model
from genner.assess.corpora import MissingError, must_be_there, path_of, syntax_of
from genner.assess.records import CellKind
from genner.assess.rival_cells import run_fitting, run_rival_score
from genner.assess.training_cells import run_training
from genner.data.catalog import catalog, named_label_set
from genner.errors import DataError, GennerError
from genner.extras import naming_parts


@naming_parts()
def execute(work: CellContext) -> CellFindings:
    """Run a cell.

    Raises `MissingError` when a file or model is missing, `MissingPartError` when a package is missing, and any other
    error of the run.
    """
    if work.run.cell.kind == "score" and "rival" in work.about:
        return run_rival_score(work)
    return _KINDS[work.run.cell.kind](work)


def _ability(work: CellContext) -> CellFindings:
    from genner import ability
    from genner.model_source import called_in_signatures

    about = work.about
    require_model(about["model"])
    data = work.data / about["data"] if about["data"] else None
    if data is not None and not data.is_dir():
        raise MissingError(
            f"there is no folder {data} with the tasks' files; see docs/ability.md for what belongs there"
        )
    try:
        found = ability.run(
            work.model,
            about["task"],
            work.run.folder,
            shots=about["shots"],
            limit=about["limit"],
            seed=about["seed"],
            data=data,
            device=work.device,
        )
    except DataError as error:
        raise MissingError(str(error)) from error
    settings = {"task": about["task"], "shots": about["shots"], "limit": about["limit"], "seed": about["seed"]}
    settings |= {
        "model": called_in_signatures(about["model"]),
        "trained": about["trained"],
        "harness": found.harness,
        **found.settings,
    }
    signature = "|".join(["ability", *(f"{key}:{value}" for key, value in settings.items())])
    return CellFindings(found.metrics(), signature, found.tokens, found.passes)


def _contamination(work: CellContext) -> CellFindings:
    from genner.contamination.run import check
    from genner.contamination.sources import Given, case_of
    from genner.data.base import ReadLog
    from genner.model_source import called_in_signatures

    about = work.about
    files = [about["file"], *about["train"], *([about["dev"]] if about["dev"] else [])]
    must_be_there(about["corpus"], files, work.data)
    require_model(about["model"])
    train = tuple(path_of(file, work.data) for file in about["train"])
    # A shipped sample is JSON Lines, whatever the syntax of the corpus's own files.
    syntaxes: dict[str, str] = {}
    if "from" in about:
        syntaxes = dict.fromkeys(("train", "members", "unseen"), str(about["from"]))
    if test := syntax_of(about["file"], about.get("from")):
        syntaxes["test"] = test
    given = Given(
        data=path_of(about["file"], work.data),
        syntaxes=syntaxes,
        name=catalog()[about["corpus"]].title if about["corpus"] in catalog() else about["corpus"],
        split=about["split"],
        labels=named_label_set(about["labels"], work.data),
        format=about["format"],
        root=work.data,
        train=train,
        members=train,
        unseen=(path_of(about["dev"], work.data),) if about["dev"] else (),
        limit=about["sentences"],
        set=about["corpus"],
    )
    case, notes = case_of(work.model, given, ReadLog())
    signals = about["signals"]
    found = check(
        work.model,
        case,
        signals,
        work.run.folder / "signals",
        seed=about["seed"],
        device=work.device,
        notes=notes,
        started=lambda signal: work.tell(signals.index(signal), len(signals), "signals"),
    )
    if found.problems:
        raise GennerError("; ".join(f"{name}: {why}" for name, why in found.problems.items()))
    settings = {key: found.settings[key] for key in ("model", "adapter", "set", "data", "sample", "seed", "dtype")}
    settings["model"] = called_in_signatures(settings["model"])
    signature = "|".join(["contamination", *(f"{key}:{value}" for key, value in settings.items())])
    return CellFindings({**found.to_dict(), "documents": len(case.sample)}, signature, 0, 0)


_KINDS: dict[CellKind, Callable[[CellContext], CellFindings]] = {
    "train": run_training,
    "fit": run_fitting,
    "score": run_score,
    "probe": run_probe,
    "ability": _ability,
    "contamination": _contamination,
}
