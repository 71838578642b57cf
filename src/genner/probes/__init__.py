"""Recognition or memorization: how a score changes when labels, mentions, context or case are changed.

`PROBES` lists all probes. To add one, write a frozen `Probe` whose docstring says what it shows, what it cannot show
and what its sources are, and add a line here. `make` builds one by name:

    probed = make("mentions_unseen", seed=1, train=train, lexicon=Lexicon.of(dev)).apply(documents, labels)
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from genner.document import Document
from genner.errors import UnknownNameError, UsageError
from genner.probes.base import Probe, Probed
from genner.probes.casing import Lower, Upper
from genner.probes.context import Neutral, NoEntities
from genner.probes.labels import DefinitionsSwapped, Permuted, Symbols, SymbolsDefined
from genner.probes.lexicon import Lexicon
from genner.probes.mentions import MentionsNonsense, MentionsOtherType, MentionsSeen, MentionsUnseen
from genner.probes.overlap import SeenUnseen

PROBES: dict[str, type[Probe]] = {
    "symbols": Symbols,
    "symbols_defined": SymbolsDefined,
    "permuted": Permuted,
    "definitions_swapped": DefinitionsSwapped,
    "mentions_seen": MentionsSeen,
    "mentions_unseen": MentionsUnseen,
    "mentions_nonsense": MentionsNonsense,
    "mentions_other_type": MentionsOtherType,
    "seen_unseen": SeenUnseen,
    "no_entities": NoEntities,
    "neutral": Neutral,
    "lower": Lower,
    "upper": Upper,
}


def make(
    name: str,
    seed: int = 0,
    *,
    train: Iterable[Document] | None = None,
    lexicon: Lexicon | None = None,
    **options: Any,
) -> Probe:
    """Build the probe of this name.

    `train` are the training documents and `lexicon` mentions by label, for probes that need them
    (`PROBES[name].needs`); other probes ignore them. `options` are the probe's own settings (`options_of`).

    Raises `UnknownNameError`; `UsageError` when something that the probe needs is missing, or for an unknown option.
    """
    if name not in PROBES:
        raise UnknownNameError("probe", name, PROBES)
    kind = PROBES[name]
    given = {"train": train, "lexicon": lexicon}
    if missing := [need for need in kind.needs if given[need] is None]:
        raise UsageError(
            f"probe {name!r} needs {' and '.join(missing)}: train is the data that the model was trained on, lexicon "
            "data with other mentions of the same labels (another split or corpus)"
        )
    made = kind.sources(tuple(train or ()) if "train" in kind.needs else (), lexicon or Lexicon({}))
    known = options_of(name)
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"probe {name!r} has no option {key!r}; it has: {', '.join(known) or 'none'}")
        if isinstance(value, list):
            value = options[key] = tuple(value)
        if type(value) is not type(known[key]):
            raise UsageError(f"probe {name!r}: option {key!r} is {value!r}; legal: as {known[key]!r}, its default")
    return kind(seed=seed, **made, **options)


def options_of(name: str) -> dict[str, Any]:
    """The options of a probe and their defaults."""
    kind = PROBES[name]
    taken = {"seed", *kind.sources((), Lexicon({}))}
    return {f.name: f.default for f in fields(kind) if f.name not in taken}


__all__ = ["PROBES", "Lexicon", "Probe", "Probed", "make", "options_of"]
