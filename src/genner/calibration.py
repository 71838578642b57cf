"""The calibration of a model: what its scores are worth, and the file that keeps it.

`genner.calibration_scales` says how the decisions on an entity make its score. This holds for the label sets in the
fit. For others there is `genner.transfer`, if one was fitted; `Calibration.standing` says what scores are worth for
some labels.

A calibration also has thresholds (chosen by `genner.training.thresholds`): entities that score less are left out,
unless a caller asks for another `min_score`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, Self

from genner.calibration_scales import COOLEST, FARTHEST, HOTTEST, Fit, Scale, Thresholds, tags
from genner.document import LabelSet
from genner.engines.base import Generation
from genner.errors import DataError, ModelError
from genner.formats import Format
from genner.grammar import DecisionKinds, GrammarEntity
from genner.token_groups import decision_families, token_groups
from genner.trained import Trained
from genner.transfer import FEATURES, Transfer, features
from genner.writing import replacing

CALIBRATION_FILE = "calibration.json"  # in an adapter's folder, or a model's
VERSION = 1

Standing = Literal["calibrated", "calibrated for other labels", "uncalibrated"]
"""What scores are worth: fitted on this label set; fitted on others, and tested on label sets outside the fit; or not
to be read as probabilities."""


@dataclass(frozen=True)
class Calibration:
    """The scales of a model by family of formats, and what they were fitted on.

    `adapter` has the first digits of the adapter's SHA-256, so that no other is calibrated by it; it is empty if the
    model has none. A family without a scale keeps the model's own scores. `transfers` are for labels that no scale was
    fitted on; they need to know what the model was `trained` on, which is not part of the file.

    `IDENTITY` has no scales: scores are the product of the model's own probabilities.
    """

    scales: Mapping[str, Scale]
    adapter: str = ""
    fits: Mapping[str, Fit] = field(default_factory=dict)
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    transfers: Mapping[str, Transfer] = field(default_factory=dict)
    trained: Trained | None = field(default=None, compare=False)

    @property
    def is_identity(self) -> bool:
        """Whether it leaves all scores as the model gives them."""
        return not self.scales

    def standing(self, form: Format, labels: LabelSet) -> Standing:
        """What the scores of entities are worth when these labels are asked for in this format, under the grammar."""
        kind, asked = (
            form.decision_kinds.family,
            [labels.subset([tag]) for tag in labels.tags] if form.prompt_per_label else [labels],
        )
        if (fit := self.fits.get(kind)) is None or fit.format != form.name:
            return "uncalibrated"
        if all(tags(part.tags) in self.scales[kind].offsets for part in asked):
            return "calibrated"
        transfer = self.transfers.get(kind)
        if transfer is not None and self.trained is not None and transfer.format == form.name:
            if all(transfer.keeps(tags(part.tags)) for part in asked):
                return "calibrated"
            if transfer.holds and not any(tags(part.tags) in transfer.offsets for part in asked):
                return "calibrated for other labels"
        return "uncalibrated"

    def threshold(self, kind: str, labels: Iterable[str]) -> float | None:
        """The least score of the entities that are kept by default; None where none was chosen for this family."""
        chosen = self.thresholds.get(kind)
        return None if chosen is None else chosen.of(labels)

    def score(
        self, written: GrammarEntity, generation: Generation, labels: LabelSet, kinds: DecisionKinds
    ) -> float | None:
        """The calibrated score of an entity, asked for `labels` in a format of these decisions; None when the engine
        gave no log-probabilities. Raises `FormatError` for an entity of other decisions."""
        decided = token_groups(written, generation, kinds)
        if decided is None:
            return None
        scale = self.scales.get(kinds.family) or Scale.identity(kinds)
        transfer = self.transfers.get(kinds.family)
        if transfer is None or self.trained is None or tags(labels.tags) in scale.offsets:
            return scale.score(decided, labels.tags)
        return transfer.score(decided, features(labels, self.trained)[written.label], tags(labels.tags))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; `from_dict` reads them back."""
        families: dict[str, dict[str, Any]] = {}
        for kind, scale in self.scales.items():
            families[kind] = {
                "temperatures": dict(scale.temperatures),
                "overall": scale.overall,
                "offset": scale.offset,
                "offsets": [{"labels": list(labels), "offset": offset} for labels, offset in scale.offsets.items()],
            }
            if chosen := self.thresholds.get(kind):
                listed = [{"labels": list(labels), "threshold": least} for labels, least in chosen.by_labels.items()]
                families[kind]["thresholds"] = {"other": chosen.other, "sets": listed}
            if transfer := self.transfers.get(kind):
                families[kind]["other_labels"] = transfer.to_dict()
            if fit := self.fits.get(kind):
                families[kind]["fit"] = {
                    "format": fit.format,
                    "bins": fit.bins,
                    "error_before": fit.before,
                    "error_after": fit.after,
                    "sets": {name: dict(one) for name, one in fit.sets.items()},
                }
        return {"version": VERSION, "adapter": self.adapter, "families": families}

    @classmethod
    def from_dict(cls, raw: Any) -> Self:
        """Raises `DataError` naming what is missing, of the wrong type or out of range."""
        table = _table(raw, "")
        if table.get("version") != VERSION:
            raise DataError("version", f"{table.get('version')!r}; legal: {VERSION}")
        adapter = table.get("adapter")
        if not isinstance(adapter, str):
            raise DataError("adapter", f"{adapter!r} is not a string")
        scales, fits, thresholds = dict[str, Scale](), dict[str, Fit](), dict[str, Thresholds]()
        transfers = dict[str, Transfer]()
        known = decision_families()
        for name, value in _table(table.get("families"), "families").items():
            if name not in known:
                raise DataError("families", f"{name!r} is none; legal: {', '.join(known)}")
            one = _table(value, name)
            scales[name] = _scale(one, known[name])
            if "fit" in one:
                fits[name] = _fit(one["fit"], f"{name}.fit")
            if "thresholds" in one:
                thresholds[name] = _thresholds(_table(one["thresholds"], f"{name}.thresholds"), f"{name}.thresholds")
            if "other_labels" in one:
                transfers[name] = _transfer(_table(one["other_labels"], f"{name}.other_labels"), known[name])
        return cls(scales, adapter, fits, thresholds, transfers)

    def write(self, folder: Path) -> Path:
        """Write it into an adapter's or a model's folder, over another. Returns the file; raises `ModelError`."""
        path = folder / CALIBRATION_FILE
        try:
            with replacing(path, alone=True) as file:
                file.write((json.dumps(self.to_dict(), indent=1) + "\n").encode("utf-8"))
        except OSError as error:
            raise ModelError(
                f"{path} cannot be written: {error}; make room, or mend the rights of its folder"
            ) from None
        return path

    @classmethod
    def read(cls, folder: Path, adapter: str = "") -> Self:
        """The calibration in a folder; the identity if there is none.

        Args:
            adapter: the first digits of the hash of the adapter at hand; empty not to compare it.

        Raises `ModelError` when the file is damaged or was fitted for another adapter.
        """
        path = folder / CALIBRATION_FILE
        if not path.exists():
            return cls({})
        mend = "run `genner calibrate` again, or delete the file: scores are the model's own then"
        try:
            found = cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read: {error}; {mend}") from None
        except DataError as error:
            raise ModelError(f"{path} is damaged: {error}; {mend}") from None
        if adapter and found.adapter and found.adapter != adapter:
            raise ModelError(f"{path} was fitted for adapter {found.adapter}, and this is {adapter}; {mend}")
        return found


IDENTITY = Calibration({})
"""The calibration of a model that has none."""


def _table(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise DataError(where or "the file", f"is {type(raw).__name__}, not an object")
    return raw


def _number(raw: Any, where: str, low: float, high: float) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw) or not low <= raw <= high:
        raise DataError(where, f"{raw!r}; legal: a number, {low:g} {'or more' if high == inf else f'to {high:g}'}")
    return float(raw)


def _scale(one: dict[str, Any], of: DecisionKinds) -> Scale:
    kind = of.family
    where = f"{kind}.temperatures"
    temperatures = _table(one.get("temperatures"), where)
    if unknown := temperatures.keys() - set(of.kinds):
        raise DataError(where, f"{sorted(unknown)[0]!r} is no kind of decision; legal: {', '.join(of.kinds)}")
    if missing := set(of.kinds) - of.uncounted - temperatures.keys():
        raise DataError(where, f"{sorted(missing)[0]!r} is missing")
    made = {name: _number(t, f"{where}.{name}", COOLEST, HOTTEST) for name, t in temperatures.items()}
    overall = _number(one.get("overall"), f"{kind}.overall", COOLEST, HOTTEST)
    return Scale(made, overall, _number(one.get("offset"), f"{kind}.offset", -FARTHEST, FARTHEST), _offsets(one, kind))


def _offsets(one: dict[str, Any], kind: str) -> dict[tuple[str, ...], float]:
    return _by_labels(one.get("offsets"), f"{kind}.offsets", "offset", -FARTHEST, FARTHEST)


def _thresholds(table: dict[str, Any], where: str) -> Thresholds:
    other = _number(table.get("other"), f"{where}.other", 0, 1)
    return Thresholds(other, _by_labels(table.get("sets"), f"{where}.sets", "threshold", 0, 1))


def _by_labels(listed: Any, where: str, name: str, low: float, high: float) -> dict[tuple[str, ...], float]:
    """Numbers called `name`, each from `low` to `high`, by the label set in the same table."""
    made: dict[tuple[str, ...], float] = {}
    if not isinstance(listed, list):
        raise DataError(where, f"is {type(listed).__name__}, not a list")
    for value in listed:
        table = _table(value, where)
        labels = table.get("labels")
        if not isinstance(labels, list) or not labels or not all(isinstance(tag, str) for tag in labels):
            raise DataError(where, f"labels {labels!r} is not a list of tags")
        if tags(labels) in made:
            raise DataError(where, f"labels {labels!r} are given twice; keep one")
        made[tags(labels)] = _number(table.get(name), f"{where}.{name}", low, high)
    return made


def _fit(raw: Any, where: str) -> Fit:
    table = _table(raw, where)
    form = table.get("format")
    if not isinstance(form, str):
        raise DataError(f"{where}.format", f"{form!r} is not a string")
    sets = _sets(table, where)
    before, after = (_number(table.get(f"error_{when}"), f"{where}.error_{when}", 0, 1) for when in ("before", "after"))
    return Fit(form, sets, before, after, round(_number(table.get("bins"), f"{where}.bins", 1, inf)))


def _sets(table: dict[str, Any], where: str) -> dict[str, dict[str, float]]:
    """What was found in each set; counts are whole numbers."""
    sets = {}
    for name, value in _table(table.get("sets"), f"{where}.sets").items():
        one = _table(value, f"{where}.sets.{name}")
        found = {
            key: _number(one.get(key), f"{where}.sets.{name}.{key}", 0, high)
            for key, high in _COUNTED.items()
            if key in one or key not in _CHOSEN
        }
        sets[name] = {key: round(value) if _COUNTED[key] == inf else value for key, value in found.items()}
    return sets


def _transfer(table: dict[str, Any], of: DecisionKinds) -> Transfer:
    where = f"{of.family}.other_labels"
    form = table.get("format")
    if not isinstance(form, str):
        raise DataError(f"{where}.format", f"{form!r} is not a string")
    weights, effects = (_table(table.get(key), f"{where}.{key}") for key in ("weights", "effects"))
    for key, given, known in (("weights", weights, of.kinds), ("effects", effects, tuple(FEATURES))):
        if set(given) != set(known):
            raise DataError(f"{where}.{key}", f"is of {', '.join(given) or 'nothing'}; legal: {', '.join(known)}")
    return Transfer(
        {name: _number(weight, f"{where}.weights.{name}", 0, FARTHEST) for name, weight in weights.items()},
        {name: _number(effect, f"{where}.effects.{name}", -FARTHEST, FARTHEST) for name, effect in effects.items()},
        _number(table.get("offset"), f"{where}.offset", -FARTHEST, FARTHEST),
        form,
        _number(table.get("error"), f"{where}.error", 0, 1),
        _sets(table, where),
        _by_labels(table.get("fitted"), f"{where}.fitted", "offset", -FARTHEST, FARTHEST),
        _by_labels(table.get("fitted"), f"{where}.fitted", "error", 0, 1),
    )


_CHOSEN = {
    "gold": inf,
    "f1_all": 1.0,
    "f1_kept": 1.0,
    "error_fitted": 1.0,
}  # there where thresholds, offsets were chosen
_COUNTED = {"sentences": inf, "entities": inf, "right": inf, "error_before": 1.0, "error_after": 1.0, **_CHOSEN}
