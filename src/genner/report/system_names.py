"""What distinguishes systems of one model: the suffixes of their names in tables."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from genner.report.cell_items import CellItem

# Axes of the tables. `seed` is averaged over; everything else in a description distinguishes systems.
_AXES = {
    *("model", "format", "corpus", "file", "from", "split", "sentences", "labels", "decoding"),
    *("seed", "trained", "probe"),
}
_ABILITY_AXES = {"task", "shots", "limit", "data"}
_PROBE_INPUTS = {"options", "train", "lexicon"}  # inputs other than the documents do not describe the system
_TRAINING_AXES = {"format", "seed", "corpus", "model", "probe"} | _PROBE_INPUTS


def name_suffixes(items: Iterable[CellItem], training_of: Callable[[CellItem], CellItem | None]) -> dict[str, str]:
    """For each cell the suffix of the model's name: a training corpus other than the test corpus, and each setting
    that differs between otherwise equal cells. A cell without a suffix is left out."""
    alike: defaultdict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    parts: dict[str, list[str]] = {}
    for item in items:
        training = training_of(item)
        parts[item.id] = _trained_on(item, training)
        settings = _settings(item, training)
        alike[_axes(item, training, parts[item.id])].append((item.id, settings))
    differing = {
        key
        for found in alike.values()
        for key in {key for _, settings in found for key in settings}
        if len({settings.get(key) for _, settings in found}) > 1
    }
    values = {key: {s[key] for found in alike.values() for _, s in found if key in s} for key in differing}
    shown = {key: _short_values(known) for key, known in values.items()}
    for found in alike.values():
        for id, settings in found:
            names = sorted(differing & settings.keys())
            parts[id] += [f"{key.removeprefix('recipe.')}={shown[key][settings[key]]}" for key in names]
    return {id: ", ".join(words) for id, words in parts.items() if words}


def _trained_on(item: CellItem, training: CellItem | None) -> list[str]:
    if training is None:
        return []
    corpus = training.description.get("corpus")
    other = [f"on {corpus}"] if corpus != item.description.get("corpus") else []
    return other + ([str(training.description.get("format"))] if item.cell.kind == "ability" else [])


def _settings(item: CellItem, training: CellItem | None) -> dict[str, str]:
    """The settings of a cell and its training that are no axes of a table."""
    axes = _AXES | (_ABILITY_AXES if item.cell.kind == "ability" else _PROBE_INPUTS)
    found = _texts({k: v for k, v in item.description.items() if k not in axes})
    if training:
        found |= _texts({k: v for k, v in training.description.items() if k not in _TRAINING_AXES})
    return {key: value for key, value in found.items() if key.split(".")[-1] != "seed"}


def _axes(item: CellItem, training: CellItem | None, suffix: list[str]) -> str:
    """The axes of a cell without its seed, as JSON; cells that agree in them are otherwise equal."""
    kept = (_AXES | _ABILITY_AXES | {"options"}) - {"seed", "trained"}
    same = {key: value for key, value in item.description.items() if key in kept}
    same |= {"kind": item.cell.kind, "from": suffix, "trained": item.description.get("trained") is not None}
    same |= {"system": item.cell.model} if {"system", "rival"} & item.description.keys() else {}
    same |= {"through": training.description.get("probe") if training else None}
    return json.dumps(same, sort_keys=True, default=str)


def _short_values(values: Iterable[str]) -> dict[str, str]:
    """The short form of each value of a setting; the values themselves if two have the same, since cells with the same
    name would be averaged."""
    found = {value: _brief(value) for value in values}
    return found if len(set(found.values())) == len(found) else {value: value for value in found}


def _brief(text: str) -> str:
    """The names in a JSON list of named tables (`none` if it is empty); anything else unchanged."""
    if not text.startswith("["):
        return text
    try:
        return "+".join(table["name"] for table in json.loads(text)) or "none"
    except (ValueError, TypeError, KeyError):
        return text


def flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; an empty table stays one."""
    found: dict[str, Any] = {}
    for key, v in value.items():
        found |= flat(v, f"{before}{key}.") if isinstance(v, Mapping) and v else {f"{before}{key}": v}
    return found


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: v if isinstance(v, str) else json.dumps(v, sort_keys=True, default=str)
        for key, v in flat(value).items()
        if not isinstance(v, Mapping)
    }
