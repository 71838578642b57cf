"""`genner.load`: from the name of a model to an `Extractor`."""

import os

from genner.document import LabelSet
from genner.engines import engine_class
from genner.errors import UnknownNameError, UsageError
from genner.extract import Extractor
from genner.extras import naming_parts
from genner.formats import get_format
from genner.inputs import checked_score
from genner.labels import DEFAULT, Labels, as_label_set, label_set
from genner.model_source import ModelSource

DEFAULT_MODEL = "default"


@naming_parts()
def load(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    labels: Labels = None,
    *,
    format: str | None = None,
    constrained: bool = True,
    min_score: float | None = None,
    device: str | None = None,
    decoder: str = "speculative",
    engine: str = "local",
    nested: bool | None = None,
    symbols: bool = False,
) -> Extractor:
    """Load a model and return an `Extractor` for it.

    Args:
        model: `default`; or the folder of an adapter, of a training run, or of a plain transformers model; or a preset
            (`genner models list`); or OWNER/NAME, a model or adapter of the Hugging Face hub, which is fetched at the
            first use. An adapter is refused when its base is not the one that it was trained on.
        labels: default labels of calls: a label set, its name, or tags. By default the label set that the model was
            trained on, if there was only one; else PER, LOC, ORG.
        format: the answer format; by default, the one that its adapter was trained on most.
        constrained: decode under the grammar.
        min_score: leave out entities with a lower score; 0 leaves out none. By default the threshold that the model's
            calibration has for the labels of a call, which was chosen on dev data; 0 if it has none.
        device: `cpu`, `cuda` ...; by default the GPU, if there is one.
        decoder: `speculative`, or `reference`, which is slow and gives the same output.
        engine: what runs the model, a name of `genner.engines.ENGINES`. `free` needs `constrained=False`.
        nested: whether entities may be nested; None: as the label set says (see `Extractor`).
        symbols: allow entities that start at markup or consist of punctuation (see `Extractor`).

    Raises `UnknownNameError`, `ModelError`, `LabelError`, `MissingPartError` if packages for running models are
    missing, and `UsageError` for any other argument. The default model is fetched if it is not present yet.
    """
    # All arguments are checked before a model is fetched or loaded.
    given: LabelSet | None = None if labels is None else as_label_set(labels)
    if min_score is not None:
        checked_score(min_score)
    if decoder not in ("speculative", "reference"):
        raise UnknownNameError("decoder", decoder, ["speculative", "reference"])
    runs = engine_class(engine)
    if constrained and not runs.constrains:
        raise UsageError(f"engine {engine!r} cannot decode under a grammar; give constrained=False, or engine='local'")
    if format is not None:
        get_format(format)
    source = ModelSource.resolve(model, fetch=False)

    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import device_of

    place = device_of(device)
    if source.kind == "hub":
        source = ModelSource.resolve(model)
    form = get_format(format or source.format)
    own = source.adapter or source.weights
    made = runs.load(
        source.weights,
        source.adapter,
        name=source.name,
        device=place,
        decoder=decoder,
        drafter=SpanDrafter.load(own, place) if decoder != "reference" else None,
    )
    if source.preset and (chat := getattr(made, "chat", None)) is not None:
        source.preset.check_chat(chat)
    return Extractor(
        made,
        form,
        given or source.labels or label_set(DEFAULT),
        constrained=constrained,
        prompt_full_label_set=source.prompt_full_label_set,
        min_score=min_score,
        signature=source.signature,
        calibration=source.calibration,
        nested=nested,
        symbols=symbols,
        trained=source.trained,
    )
