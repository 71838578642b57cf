"""Fine-tuning: recipes, mixtures, methods, the loop. `run` is what `genner train` calls.

Exports are imported lazily: at its start, the command line needs only `RunOptions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genner.training.launch import run, train
    from genner.training.options import RunOptions
    from genner.training.post_training import run_calibration, run_drafter, run_manifest

__all__ = ["RunOptions", "run", "run_calibration", "run_drafter", "run_manifest", "train"]

_MODULES = {"RunOptions": "options", "run": "launch", "train": "launch"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'post_training')}"), name)
