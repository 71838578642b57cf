"""Measuring, and comparing what was measured."""

from pathlib import Path

from genner.ability.result import AbilityResult


def run(
    model: str,
    task: str,
    out: Path,
    *,
    adapted: bool = True,
    shots: int = 0,
    limit: int | None = None,
    seed: int = 0,
    data: Path | None = None,
    dtype: str = "auto",
    batch_size: int = 8,
    device: str | None = None,
) -> AbilityResult:
    """Measure one model on one task; leaves `items.jsonl` and `ability.json` in the folder `out`.

    Args:
        model: as for `genner.load`: `default`, a preset, the folder of an adapter, of a training run or of a model.
        task: the name of a task of the harness, or of `genner.ability.tasks.OFFLINE`; with `+chat` at its end the
            model's chat template is applied, and shots become turns.
        adapted: with False, the adapter of `model` is switched off: its base is measured, with equal arithmetic.
        shots: examples in the prompt.
        limit: so many items, drawn by `seed` (equal for all models); None: all.
        data: the folder with the offline tasks' files; None: the hub.
        dtype: float32, bfloat16, float16, or auto: bfloat16 on a GPU, float32 elsewhere.

    A folder that holds this measurement already is read and not measured again.

    Raises `UsageError` for arguments out of range, a folder that holds another measurement, or a missing harness;
    `UnknownNameError` for a task or model that is not known; `DataError` when a task's data cannot be had; `ModelError`.
    """
    raise NotImplementedError
