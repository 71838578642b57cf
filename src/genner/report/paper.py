"""The published figures: all numbers in the two main tables of the paper that the assessment follows.

`assets/paper_results.csv` holds `family,system,format,dataset,micro_f1` (micro-F1 in percent, one number per line;
encoders and GPT-NER have no format), copied from tables of Zhan, Wang and Huang (2026), "Assessment of Generative Named
Entity Recognition in the Era of Large Language Models", arXiv 2601.17898. They are facts, cited with their source; the
paper takes the figures of encoders and GPT-NER from other work."""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

SystemFamily = Literal["encoder", "gpt-ner", "llm"]

PAPER_CITATION = (
    "Zhan, Wang and Huang (2026), Assessment of Generative Named Entity Recognition in the Era of Large Language "
    "Models, arXiv 2601.17898"
)

# The name of the data set in the paper -> that of the corpus in genner's catalog.
CORPORA = {"CoNLL2003": "conll2003", "OntoNotes5.0": "ontonotes5", "ACE2005": "ace2005", "GENIA": "genia"}
TITLES = {"conll2003": "CoNLL-2003", "ontonotes5": "OntoNotes 5.0", "ace2005": "ACE 2005", "genia": "GENIA"}

GROUPS: dict[str, tuple[str, ...]] = {"flat": ("conll2003", "ontonotes5"), "nested": ("ace2005", "genia")}
"""The two main tables, and the corpora that are their columns."""

PAPER_FORMATS = ("inline_bracketed", "inline_xml", "grouped_json", "occurrence_json", "offset_json")
"""The paper's formats, in its order."""

# GPT-NER's own page has other figures than the paper's table: both are cited.
GPT_NER_NOTE = (
    "GPT-NER's own page gives its three OntoNotes figures as 76.73, 77.08 and 77.20, where the paper's table has "
    "81.73, 82.08 and 82.20."
)


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """One figure of the paper; `f1` in [0, 1]."""

    family: SystemFamily
    system: str
    format: str
    corpus: str
    f1: float


@cache
def published() -> tuple[PublishedScore, ...]:
    """All figures, in file order."""
    text = (files("genner") / "assets" / "paper_results.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        PublishedScore(
            row["family"],  # type: ignore[arg-type]
            row["system"],
            row["format"],
            CORPORA[row["dataset"]],
            round(float(row["micro_f1"]) / 100, 6),
        )
        for row in rows
    )


@cache
def figure(system: str, format: str, corpus: str) -> float | None:
    """The F1 of a system on a corpus, in [0, 1]; None if the paper has none. The format of encoders is ''."""
    return next((p.f1 for p in published() if (p.system, p.format, p.corpus) == (system, format, corpus)), None)


@cache
def mean_of_models(format: str, corpus: str) -> float | None:
    """The mean F1 of the paper's eight models, in [0, 1]; None if the paper has none."""
    found = [f for system in systems("llm") if (f := figure(system, format, corpus)) is not None]
    return sum(found) / len(found) if found else None


def systems(family: SystemFamily) -> tuple[str, ...]:
    """The names of the systems of a family, in the order of the paper."""
    return tuple(dict.fromkeys(p.system for p in published() if p.family == family))


def system_of(model: str) -> str | None:
    """The paper's name of a model given by hub id or preset name; None if the paper does not have the model.

    Names must be equal after removing owner, common words (`instruct`, `it`, `meta`) and punctuation:
    `meta-llama/Llama-3.1-8B-Instruct` is `LLaMA3.1-8B`.
    """
    return _by_key().get(_key(model))


@cache
def _by_key() -> dict[str, str]:
    # Its hub id names version and variant, not the size; either variant matches, since the paper does not say which it
    # used.
    other = {_key(model): "Granite4-3B" for model in ("granite-4.0-micro", "granite-4.0-h-micro")}
    return {_key(system): system for system in systems("llm")} | other


def _key(name: str) -> str:
    words = re.split(r"[^a-z0-9.]+", name.lower().rsplit("/", 1)[-1])
    return "".join(word for word in words if word not in ("instruct", "it", "meta")).replace(".", "")
