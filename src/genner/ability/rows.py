"""The functions named in the offline tasks' files: they read, prompt and score rows inside the harness."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genner.ability.qa_metrics import drop_cued, squad
from genner.data.json_stream import json_lines
from genner.errors import DataError

RESERVED = 100
"""Number of rows at the end of a file that serve only as shots, if a task has no file of shots."""


def load(file: str, shots: str | None = None, group: str | None = None, **_: Any) -> dict[str, Any]:
    """The splits `test` and `shots` of a task, each a `datasets.Dataset`.

    Without a file of shots, the last `RESERVED` rows (a quarter of a smaller file) are the shots. If `group` names the
    field with the passage, or with passage and question, a few more are added so that no passage is in both splits.
    Raises `DataError`.
    """
    from datasets import Dataset

    rows = _rows(Path(file))
    if shots is not None:
        test, examples = rows, _rows(Path(shots))
    else:
        at = len(rows) - min(RESERVED, len(rows) // 4)
        kept = {_passage(row, group) for row in rows[at:]} if group else set()
        test = [row for row in rows[:at] if not group or _passage(row, group) not in kept]
        examples = rows[at:]
    if not test or not examples:
        raise DataError(file, f"{len(rows)} rows are too few: none are left to ask, or none for shots")
    return {"test": Dataset.from_list(test), "shots": Dataset.from_list(examples)}


def _passage(row: dict[str, Any], field: str) -> str:
    return str(row.get(field)).rpartition("\nQuestion:")[0] or str(row.get(field))


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, row in json_lines(path):
        if not isinstance(row, dict):
            raise DataError(str(path), "is not a JSON object", number)
        rows.append(row)
    return rows


def drop_target(doc: Mapping[str, Any]) -> str:
    """The first gold answer, its spans as a list that `drop_cued` reads back."""
    return ", ".join(doc["answers"][0])


def drop_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    em, f1 = drop_cued(results[0], doc["answers"])
    return {"em": em, "f1": f1}


def squad_target(doc: Mapping[str, Any]) -> str:
    target: str = doc["answers_text"][0]
    return target


def squad_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    em, f1 = squad(results[0], doc["answers_text"])
    return {"em": em, "f1": f1}


# For these, NLTK splits sentences and words with data that it downloads.
_NEED_PUNKT = ("length_constraints:number_sentences", "change_case:capital_word_frequency")


def without_punkt(dataset: Any) -> Any:
    """IFEval's rows without those whose check needs NLTK's `punkt_tab`, where that is not installed."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return dataset.filter(lambda row: not set(_NEED_PUNKT) & set(row["instruction_id_list"]))
    return dataset
