"""From an overlap of files to the findings for each side of a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ContaminationCase, Finding, Measure, SignalVerdict
from genner.contamination.membership import is_adapted

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel


def by_side(
    case: ContaminationCase,
    sides: Sequence["LanguageModel"],
    hit: bool,
    said: str,
    measures: dict[str, Measure],
    examples: tuple[dict[str, Any], ...] = (),
    verdict: SignalVerdict | None = None,
) -> list[Finding]:
    """A finding for each side; the verdict follows from `hit` unless `verdict` is given.

    The training data are those of the adapter. The pretraining data of a base are not available, so overlap with them
    is unknown, never none. The same holds if the files are only a part of the training data.
    """
    names = [side.name for side in sides]
    findings = []
    for name in names:
        if not is_adapted(name, names):
            findings.append(
                Finding(name, "unknown", "what the base was trained on is not at hand, so nothing is compared")
            )
        elif not case.train:
            findings.append(
                Finding(
                    name,
                    "unknown",
                    "what the model was trained on is not known; give it as --recipe RECIPE.toml --data DATA, or as "
                    "--train FILE",
                )
            )
        elif hit or case.complete or verdict:
            part = "" if case.complete else f" (in the {_files(case)} given; what else was trained on is not known)"
            findings.append(
                Finding(name, verdict or ("found" if hit else "nothing found"), said + part, measures, examples)
            )
        else:
            part = f"; so in the {_files(case)} given, and what else was trained on is not known"
            findings.append(Finding(name, "unknown", said + part, measures))
    return findings


def _files(case: ContaminationCase) -> str:
    n = len(case.train)
    return f"{n} file{'s' * (n != 1)}"
