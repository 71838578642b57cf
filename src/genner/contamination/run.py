"""Runs all signals one after the other and stores the findings of each as soon as it is done.

FOLDER/settings.json       what is measured: another measurement cannot resume in this folder
FOLDER/<signal>.jsonl      what a signal has computed so far, one item per line
FOLDER/<signal>.json       its findings: written last, so if the file exists the signal is done
FOLDER/contamination.json  all of it
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Any

from genner.ability.models import Models, sides
from genner.contamination import SIGNALS
from genner.contamination.base import ContaminationCase, Finding
from genner.contamination.resumable import ItemListener, ResumableItems
from genner.document import Document
from genner.errors import DataError, GennerError, UsageError
from genner.evaluation.pairing import genner_version
from genner.extras import naming_parts
from genner.model_source import ModelSource
from genner.writing import lock, write_atomic

CONTAMINATION_SCHEMA = 1
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Contamination:
    """The findings for a model and a test set: by signal, one per side; `problems`: the errors of failed signals."""

    settings: dict[str, Any]
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": CONTAMINATION_SCHEMA,
            "settings": self.settings,
            "notes": list(self.notes),
            "signals": {name: [finding.to_dict() for finding in found] for name, found in self.findings.items()},
            "problems": self.problems,
        }


@naming_parts()
def check(
    model: str,
    case: ContaminationCase,
    signals: Sequence[str],
    out: Path | None = None,
    *,
    seed: int = 0,
    dtype: str = "auto",
    device: str | None = None,
    notes: Sequence[str] = (),
    watch: ItemListener = lambda what, done, total: None,
    started: Callable[[str], None] = lambda signal: None,
) -> Contamination:
    """Test a model for contamination by a test set.

    Args:
        model: as for `genner.load`; for an adapter, its base is tested too.
        case: the test set and what is known (`sources.case_of`).
        signals: names in `SIGNALS`.
        out: the folder for the findings; an interrupted run resumes there. None: nothing is stored.
        dtype: float32, bfloat16, float16, or auto: bfloat16 on a GPU, float32 elsewhere.
        watch: callback for progress within a signal; `started`: for its beginning.

    Raises `UsageError` when the folder holds another measurement, `DataError` when it is damaged or another process
    measures into it; `ModelError` and `UnknownNameError` as `genner.load` does. Any other genner error in a signal is
    added to `problems`.
    """
    from genner.contamination.language_model import LanguageModel

    some = sides(model)
    models = Models(dtype, device)
    settings = _settings(model, case, seed, models)
    if out is not None:
        _claim(out, settings)
    with _alone(out):
        asked = [LanguageModel(models, side) for side in some]
        findings: dict[str, list[Finding]] = {}
        problems: dict[str, str] = {}
        for name in signals:
            started(name)
            done = _read(out / f"{name}.json") if out is not None else None
            if done is None:
                try:
                    kept = ResumableItems(out / f"{name}.jsonl" if out is not None else None, watch)
                    done = SIGNALS[name](seed).look(case, asked, kept)
                except GennerError as error:
                    problems[name] = str(error)
                    continue
                if out is not None:
                    _write(out / f"{name}.json", {"signal": name, "findings": [finding.to_dict() for finding in done]})
            findings[name] = done
        found = Contamination(settings, findings, tuple(notes), problems)
        if out is not None:
            _write(out / "contamination.json", found.to_dict())
    return found


@contextmanager
def _alone(out: Path | None) -> Iterator[None]:
    """Keep other processes out of a folder with `settings.json`. Raises `DataError` when one measures into it."""
    if out is None:
        yield
        return
    with FileIO(out / _SETTINGS) as file:
        lock(file, out)
        yield


def _settings(model: str, case: ContaminationCase, seed: int, models: Models) -> dict[str, Any]:
    """All settings that identify a measurement, as JSON types."""
    return {
        "model": model,
        "adapter": ModelSource.resolve(model).digest,
        "set": case.name,
        "split": case.split,
        "labels": list(case.labels.tags),
        "format": case.format,
        "documents": len(case.test),
        "sample": len(case.sample),
        "data": _hash(case.test),
        "train": {source.name: [len(source.documents), _hash(source.documents)] for source in case.train},
        "complete": case.complete,
        "members": [len(case.members), _hash(case.members)],
        "unseen": [len(case.unseen), _hash(case.unseen)],
        "seed": seed,
        "dtype": models.dtype,
        "device": models.device.type,
        "genner": genner_version(),
    }


def _hash(documents: Sequence[Document]) -> str:
    digest = blake2b(digest_size=6)
    for d in documents:
        digest.update(json.dumps([d.text, [[e.start, e.end, e.label] for e in d.entities]]).encode())
    return digest.hexdigest()


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Raise `UsageError` when the folder holds another measurement."""
    path = out / _SETTINGS
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(there, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError) as error:
            raise DataError(str(path), f"is damaged: {error}; delete the folder to measure again") from None
        for key, value in settings.items():
            if key not in ("genner", "device") and there.get(key) != value:
                raise UsageError(
                    f"--out {out} holds another measurement, with {key} = {there.get(key)!r} where {value!r} is "
                    "wanted; give another --out, or delete it"
                )
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {str(out)!r} is not a folder; give a new folder, or that of an interrupted run")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"--out {str(out)!r} holds other files; give a new folder, or that of an interrupted run")
    out.mkdir(parents=True, exist_ok=True)
    _write(path, settings)


def _read(path: Path) -> list[Finding] | None:
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return [Finding.from_dict(finding) for finding in raw["findings"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(str(path), f"is damaged: {error!r}; delete it to look again") from None


def _write(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
