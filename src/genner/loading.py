"""`genner.load`: from the name of a model to an `Extractor`."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from genner.calibration import IDENTITY
from genner.document import Document, LabelSet
from genner.engines import engine_class, engine_names
from genner.engines import engine_options as options_of
from genner.engines.base import Capabilities
from genner.errors import UnknownNameError, UsageError
from genner.extract import Extractor
from genner.extras import naming_parts
from genner.few_shot import FewShot, SelfVerification
from genner.formats import get_format
from genner.inputs import checked_score
from genner.labels import DEFAULT, Labels, as_label_set, label_set
from genner.model_source import ModelSource

if TYPE_CHECKING:
    from genner.engines.base import Engine, LoadableEngine

DEFAULT_MODEL = "default"


@naming_parts()
def load(
    model: str | os.PathLike[str] | None = None,
    labels: Labels = None,
    *,
    format: str | None = None,
    constrained: bool | None = None,
    min_score: float | None = None,
    device: str | None = None,
    decoder: str = "speculative",
    engine: "str | Engine" = "local",
    engine_options: Mapping[str, Any] | None = None,
    nested: bool | None = None,
    symbols: bool = False,
    demonstrations: str | os.PathLike[str] | Iterable[Document] | FewShot | None = None,
    verify: bool | SelfVerification = False,
    prompt_per_label: bool | None = None,
    wording: str = "genner",
) -> Extractor:
    """Load a model and return an `Extractor` for it.

    Args:
        model: `default`; or the folder of an adapter, of a training run, or of a plain transformers model; or a preset
            (`genner models list`); or OWNER/NAME, a model or adapter of the Hugging Face hub, which is fetched at the
            first use. An adapter is refused when its base is not the one that it was trained on. With an engine that
            asks a server, also the name of a model there. None: `default`, or the server's only model.
        labels: default labels of calls: a label set, its name, or tags. By default the label set that the model was
            trained on, if there was only one; else PER, LOC, ORG.
        format: the answer format; by default, the one that its adapter was trained on most.
        constrained: decode under the grammar. None: if the engine can.
        min_score: leave out entities with a lower score; 0 leaves out none. By default the threshold that the model's
            calibration has for the labels of a call, which was chosen on dev data; 0 if it has none.
        device: `cpu`, `cuda` ...; by default the GPU, if there is one.
        decoder: `speculative`, or `reference`, which is slow and gives the same output.
        engine: what runs the model: a name of an engine (`genner engines`). Or the engine of another extractor that
            holds several adapters: the model, an adapter of the same base, joins it.
        engine_options: options of the engine, by name (`genner engines NAME`).
        nested: whether entities may be nested; None: as the label set says (see `Extractor`).
        symbols: allow entities that start at markup or consist of punctuation (see `Extractor`).
        demonstrations: an annotated corpus, random sentences of which are shown before each text; or a `FewShot`, which
            says how many and which.
        verify: ask the model about each entity whether it is one, and drop those that it denies.
        prompt_per_label: ask for one label at a time, or for all; None: as the format does.
        wording: the words of the prompt, `genner` or `gpt_ner` (see `Extractor`).

    Raises `UnknownNameError`, `ModelError`, `LabelError`, `MissingPartError` if packages for running models are
    missing, and `UsageError` for any other argument. The default model is fetched if it is not present yet.
    """
    # All arguments are checked before a model is fetched or loaded.
    given: LabelSet | None = None if labels is None else as_label_set(labels)
    if min_score is not None:
        checked_score(min_score)
    if decoder not in ("speculative", "reference"):
        raise UnknownNameError("decoder", decoder, ["speculative", "reference"])
    options: Any = None
    if isinstance(engine, str):
        kind = engine_class(engine)
        can, name = kind.capabilities, engine
        options = options_of(engine, engine_options or {})
    else:
        if isinstance(engine, type) or not isinstance(getattr(engine, "capabilities", None), Capabilities):
            raise UsageError(
                f"engine {engine!r} is no engine; legal: {', '.join(engine_names())}, or the engine of an extractor"
            )
        can, name = engine.capabilities, engine.name
        if engine_options:
            raise UsageError("engine_options are for an engine that is loaded now; this one is loaded already")
        if not can.adapters:
            raise UsageError(f"engine {name!r} holds one model; give the name of an engine, which is loaded anew")
    if constrained and not can.constrains:
        raise UsageError(f"engine {name!r} cannot decode under a grammar; give constrained=False, or engine='local'")
    if format is not None:
        get_format(format)
    few_shot: FewShot | None = None
    if demonstrations is not None:
        few_shot = demonstrations if isinstance(demonstrations, FewShot) else FewShot(demonstrations)
    if verify is True:
        verify = SelfVerification(few_shot)
    source = _source(model, on_server=not can.weights)
    if isinstance(engine, str):
        engine, source = _engine(kind, source, device, decoder, options)
    elif can.weights and (base := getattr(engine, "folder", None)) != source.weights:
        raise UsageError(f"{source.name!r} belongs to the model in {source.weights}, and the engine has loaded {base}")
    adapter = ""
    if engine.capabilities.adapters and (source.adapter or not can.weights):
        adapter = engine.add_adapter(source.name, source.adapter)
    return Extractor(
        engine,
        get_format(format or source.format),
        given or source.labels or label_set(DEFAULT),
        constrained=constrained,
        prompt_full_label_set=source.prompt_full_label_set,
        min_score=min_score,
        signature=source.signature,
        calibration=source.calibration if can.weights or source.adapter else IDENTITY,
        nested=nested,
        symbols=symbols,
        trained=source.trained,
        adapter=adapter,
        prompt_per_label=prompt_per_label,
        wording=wording,
        few_shot=few_shot,
        verification=verify or None,
    )


def _source(model: str | os.PathLike[str] | None, *, on_server: bool) -> ModelSource:
    """The model of a name; nothing is fetched. If a server has it, a name that means nothing here is a name there."""
    if not on_server:
        return ModelSource.resolve(DEFAULT_MODEL if model is None else model, fetch=False)
    if model is None:
        return ModelSource("", "server", "")
    return ModelSource.find(model) or ModelSource(str(model), "server", str(model))


def _engine(
    kind: "LoadableEngine", source: ModelSource, device: str | None, decoder: str, options: Any
) -> tuple["Engine", ModelSource]:
    """The engine, and the model as it is known when its files are there."""
    if not kind.capabilities.weights:
        return kind.load(None, name=source.name, options=options), source

    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import device_of

    place = device_of(device)
    if source.kind == "hub":
        source = ModelSource.resolve(source.name)
    own = source.adapter or source.weights
    made = kind.load(
        source.weights,
        source.adapter,
        name=source.name,
        device=place,
        decoder=decoder,
        drafter=SpanDrafter.load(own, place) if decoder != "reference" else None,
        options=options,
    )
    if source.preset and (chat := getattr(made, "chat", None)) is not None:
        source.preset.check_chat(chat)
    return made, source
