"""The findings as text: one line per signal and side, and the meaning of the verdicts."""

import inspect

from genner.contamination import SIGNAL_VERDICTS, SIGNALS
from genner.contamination.run import Contamination


def meaning(signal: str) -> str:
    """The first sentence of a signal's description."""
    about = inspect.getdoc(SIGNALS[signal]) if signal in SIGNALS else None
    return " ".join((about or "no description").partition("\n\n")[0].split())


def markdown(found: Contamination) -> str:
    """A table of the findings, and notes."""
    s = found.settings
    lines = [
        f"{s['model']} (adapter {s['adapter']}) on {s['set']}, {s['split']}: {s['documents']:,} documents, "
        f"{s['sample']:,} put to the model; beside them {s['members'][0]:,} of their kind that were trained on and "
        f"{s['unseen'][0]:,} that were not",
        "",
        "| signal | side | verdict | what was found |",
        "|---|---|---|---|",
    ]
    for name, findings in found.findings.items():
        lines += [f"| {name} | {f.side} | {f.verdict} | {f.said.replace('|', '/')} |" for f in findings]
    verdicts = dict.fromkeys(f.verdict for findings in found.findings.values() for f in findings)
    lines += ["", *(f"{verdict}: {SIGNAL_VERDICTS[verdict]}." for verdict in SIGNAL_VERDICTS if verdict in verdicts)]
    lines += [f"note: {note}." for note in found.notes]
    lines += [f"failed: {name}: {why}" for name, why in found.problems.items()]
    return "\n".join(lines) + "\n"
