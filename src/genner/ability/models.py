"""The sides of a comparison: a base and adapters on it, loaded once if possible."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genner.ability.result import ADAPTER, BASE
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.model_source import ModelSource

LOAD_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class AbilitySide:
    """The measured model: weights in a folder, with or without an adapter. `model` is the user's name for it."""

    name: str
    model: str
    weights: Path
    adapter: Path | None = None

    @property
    def load(self) -> tuple[Path, Path | None]:
        """What must be loaded for this side: weights, and the adapter if it must be merged into them."""
        alone = self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file()
        return self.weights, self.adapter if alone else None


def sides(model: str, also: Mapping[str, str] | None = None) -> list[AbilitySide]:
    """The base of a model, the model itself unless it is a base, and others on that base, by their given names.

    For a fully fine-tuned or merged model, the base is the preset or folder that its files name as its origin. Raises
    as `genner.load` does, and `UsageError` for a name that is taken or an adapter of another base.
    """
    source = ModelSource.resolve(model)
    if source.origin is None:
        found = [AbilitySide(BASE, model, source.weights)]
    else:
        folder = source.weights if source.adapter else ModelSource.resolve(source.origin).weights
        found = [
            AbilitySide(BASE, source.origin, folder),
            AbilitySide(ADAPTER, model, source.weights, source.adapter),
        ]
    for name, other in (also or {}).items():
        if not name.isidentifier() or name in {side.name for side in found}:
            raise UsageError(f"the name {name!r} is taken, or none: give a new word, as in --also mixed=runs/mixed")
        beside = ModelSource.resolve(other)
        side = AbilitySide(name, other, beside.weights, beside.adapter)
        if (beside.origin or other) != found[0].model:
            raise UsageError(
                f"{other!r} is made of {beside.origin!r}, not of {found[0].model!r} like {model!r}; compare models "
                "of one base"
            )
        found.append(side)
    return found


class Models:
    """Loads sides, each set of weights once, and switches their adapters on and off.

    So a base and its adapter share the weights in memory, the dtype and all arithmetic except the adapter's own. An
    adapter whose tokenizer has more tokens is merged into a separate copy of the weights, as in `genner.load`.

    Args:
        dtype: one of `LOAD_DTYPES`; auto is bfloat16 on a CUDA GPU and float32 elsewhere.
        device: a torch device name; None: the GPU if there is one.

    Raises `UnknownNameError` for a dtype.
    """

    def __init__(self, dtype: str = "auto", device: str | None = None) -> None:

        from genner.engines.transformers_engine import device_of

        if dtype not in LOAD_DTYPES:
            raise UnknownNameError("dtype", dtype, LOAD_DTYPES)
        self.device = device_of(device)
        self.dtype = ("bfloat16" if self.device.type == "cuda" else "float32") if dtype == "auto" else dtype
        self._key: tuple[Path, Path | None] | None = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._names: dict[Path, str] = {}  # loaded adapters, by their name in peft

    @contextmanager
    def on(self, side: AbilitySide) -> Iterator[tuple[Any, Any]]:
        """The model of a side, ready to run inside the block, and its tokenizer. Raises `ModelError`."""
        self._load(side.load)
        if side.adapter is not None and side.load[1] is None:
            self._switch(side.adapter)
            yield self._model, self._tokenizer
        elif self._names:
            with self._model.disable_adapter():
                yield self._model, self._tokenizer
        else:
            yield self._model, self._tokenizer

    def _load(self, key: tuple[Path, Path | None]) -> None:
        import torch

        from genner.engines.fast_loading.weights import load_weights

        if key == self._key:
            return
        self._model = self._tokenizer = self._key = None  # before the next is loaded: two may not fit
        self._names = {}
        self._model, self._tokenizer = load_weights(*key, self.device, getattr(torch, self.dtype), "sdpa", plain=False)
        self._key = key

    def _switch(self, adapter: Path) -> None:
        from peft import PeftModel

        from genner.engines.fast_loading.weights import quiet_libraries

        if adapter not in self._names:
            name = f"side{len(self._names)}"
            try:
                if self._names:
                    self._model.load_adapter(str(adapter), adapter_name=name, autocast_adapter_dtype=False)
                else:
                    with quiet_libraries():
                        self._model = PeftModel.from_pretrained(
                            self._model, str(adapter), adapter_name=name, autocast_adapter_dtype=False
                        )
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ModelError(f"adapter {adapter} does not fit {self._key and self._key[0]}: {error}") from error
            self._names[adapter] = name
            self._model.eval()
        self._model.set_adapter(self._names[adapter])
