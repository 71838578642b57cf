"""The likelihood of bare texts: loss, zlib ratio, Min-K%, Min-K%++, and relative to the base."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ADAPTER, BASE, ContaminationCase, Finding, Signal, texts_of
from genner.contamination.membership import is_adapted, judged
from genner.contamination.resumable import ResumableItems

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel, Scored

K = 0.2
"""The share of a text's tokens, the least likely ones, that Min-K% uses."""


@dataclass(frozen=True)
class TextLikelihood(Signal):
    """The likelihood of the bare texts, compared with unseen texts of the same kind.

    Shows: whether the texts were memorized, labels aside. Five scores per text, each reported as an AUC against unseen
    texts: `loss`, the mean log-likelihood per token; `zlib`, log-likelihood divided by compressed size; `min_k` and
    `min_k_plus`, the mean over the least likely fifth of the tokens, raw and standardized over the vocabulary; for an
    adapter `reference`, how much likelier it finds the text than its base does.
    Cannot show: contamination if texts were read only once, or the model is small: on large corpora such scores are
    barely better than chance (Duan et al., 2024). Unseen texts of another kind (a later year, another log) differ for
    other reasons, so a difference proves nothing unless the score also detects members.
    Sources: Yeom et al. (2018), "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting" (loss);
    Carlini et al. (2021), "Extracting Training Data from Large Language Models" (zlib, and a reference model); Shi et
    al. (2024), "Detecting Pretraining Data from Large Language Models" (Min-K%); Zhang et al. (2025), "Min-K%++:
    Improved Baseline for Detecting Pre-Training Data from Large Language Models", arXiv 2404.02936; Duan et al. (2024),
    "Do Membership Inference Attacks Work on Large Language Models?".
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        found = {
            side.name: {
                group: [value for value in _scores(side, texts_of(documents), kept) if value]
                for group, documents in case.groups().items()
            }
            for side in sides
        }
        findings = []
        for side in sides:
            names = ["loss", "zlib", "min_k", "min_k_plus"]
            scores: dict[str, dict[str, list[float]]] = {
                name: {group: [value[name] for value in values] for group, values in found[side.name].items()}
                for name in names
            }
            if side.name == ADAPTER and BASE in found:
                scores["reference"] = {
                    group: [a["loss"] - b["loss"] for a, b in zip(values, found[BASE][group], strict=True)]
                    for group, values in found[ADAPTER].items()
                }
            findings.append(judged(case, side.name, scores, is_adapted(side.name, list(found))))
        return findings


def _scores(side: "LanguageModel", texts: Sequence[str], kept: ResumableItems) -> list[dict[str, float]]:
    """The scores of each text; empty for a text in which no token can be scored."""

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        for row, scored in side.score_texts([texts[i] for i in places], spread=True):
            yield places[row], _values(texts[places[row]], scored)

    return kept.fill(f"texts, {side.name}", list(texts), compute)


def _values(text: str, scored: "Scored") -> dict[str, float]:
    logp = scored.logp
    if not logp:
        return {}
    least = max(1, round(K * len(logp)))
    standard = [
        (value - mean) / max(deviation, 1e-6)
        for value, mean, deviation in zip(logp, scored.mean, scored.deviation, strict=True)
    ]
    return {
        "loss": sum(logp) / len(logp),
        "zlib": sum(logp) / len(zlib.compress(text.encode("utf-8"))),
        "min_k": sum(sorted(logp)[:least]) / least,
        "min_k_plus": sum(sorted(standard)[:least]) / least,
    }
