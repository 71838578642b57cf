"""Model cards: README.md with the front matter of the Hugging Face hub. Facts that `ModelFacts` lacks are left out or
stated as unknown."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from genner.data import write_atomic
from genner.errors import DataError, ModelError, UsageError
from genner.export.about import FOUR_BITS, MODEL_KINDS, PARTS, ModelFacts
from genner.export.card_training import data, labels, training
from genner.export.scores import (
    BEGIN,
    END,
    ModelScore,
    dev_text,
    merged,
    model_index,
    read_scores,
    replaced,
    table,
    to_json,
)
from genner.extras import naming_parts
from genner.labels import label_sets
from genner.manifest import MANIFEST, TUNED, read_json

CARD = "README.md"
ORIGINAL = "ORIGINAL.md"
"""The hand-written card of the model from which an exported folder was made."""
MARK = "<!-- Written by genner, and written again by `genner card`; take this line out to keep your changes. -->"

_LIBRARIES = {"adapter": "peft", "merged": "transformers", "tuned": "transformers", "model": "transformers"}
_TASK = "that finds named entities by writing the text out again with its entities marked"
_PLAIN = re.compile(r"[A-Za-z][\w./-]*[A-Za-z0-9]")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}  # not strings in YAML


@naming_parts()
def write_cards(folder: Path, force: bool = False, scores: Sequence[str] = ()) -> list[Path]:
    """Write the card of an adapter's or an exported folder. For a training run's folder, write the cards of its
    adapters, and in the folder itself the card of the adapter that is loaded from it. Returns the files, the folder's
    own last.

    `scores` are reports, `[SET/SPLIT=]FILE`, of the model that is loaded from the folder; they are kept beside its
    weights. In a hand-written card, only the scores are written, if it has a place for them (`BEGIN`).

    Raises `UsageError` when the folder is none of these or has a hand-written card (unless `force`), or a report is no
    result; `ModelError` when a file is damaged or cannot be written.
    """
    folder = folder.resolve()
    title = folder.parent.name if folder.name in PARTS else folder.name
    if exported := ModelFacts.read(folder):
        targets = [(folder, exported)]
    else:
        places = [p for p in (folder, *(folder / part for part in PARTS)) if _holds_weights(p)]
        if not places:
            raise UsageError(
                f"{folder} holds no model of genner: no genner.json of an export, and neither in it nor in best/, "
                f"adapter/ or model/ an adapter_config.json or {TUNED}; give the folder of a run, an adapter, an export"
            )
        targets = [(place, ModelFacts.of(str(place))) for place in places]
        if folder not in places:
            targets.append((folder, targets[0][1]))
    place, loaded = targets[0]
    scored = replace(loaded, results=_results(loaded, scores), bare=loaded.bare and not scores)
    targets = [(place, scored if about is loaded else about) for place, about in targets]
    by_hand = {} if force else {place: _by_hand(place / CARD) for place, _ in targets}
    for other, card in by_hand.items():
        if card and not (scores and replaced(card, scored.results)):
            how = f" (or, for its scores alone, give it two lines, {BEGIN!r} and {END!r})" if scores else ""
            raise UsageError(
                f"{other / CARD} was not written by genner; overwrite it with --force, or move it away{how}"
            )
    if scores:
        _keep(scored, place)
    written = []
    for other, about in targets:
        mended = replaced(by_hand.get(other, ""), about.results)
        written.append(_write(other / CARD, mended) if mended else write_card(about, other, title))
    return written


def _results(about: ModelFacts, scores: Sequence[str]) -> tuple[ModelScore, ...]:
    return merged(about.results, [result for given in scores for result in read_scores(given, about.adapter)])


def _keep(about: ModelFacts, place: Path) -> None:
    """Write results beside the weights, replacing the scores of earlier versions. Raises `ModelError`."""
    path = place / (TUNED if about.kind == "tuned" else MANIFEST)
    raw = read_json(path)
    raw.pop("scores", None)
    raw["results"] = to_json(about.results)
    _write(path, json.dumps(raw, indent=1, ensure_ascii=False) + "\n")


def write_card(about: ModelFacts, folder: Path, title: str) -> Path:
    """Write one card, overwriting any existing one. Raises `ModelError`."""
    return _write(folder / CARD, render(about, title, original=(folder / ORIGINAL).is_file()))


def _write(path: Path, text: str) -> Path:
    try:
        write_atomic(path, text)
    except DataError as error:
        raise ModelError(str(error)) from error
    return path


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("adapter_config.json", TUNED))


def _by_hand(path: Path) -> str:
    """The hand-written card; empty if there is none."""
    card = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return card if MARK not in card else ""


def render(about: ModelFacts, title: str, original: bool = False) -> str:
    """The card. `title` names the model, and the folder in examples; `original`: a hand-written card is beside it."""
    where = f"\n\nWhat was written by hand about its original is in [{ORIGINAL}]({ORIGINAL})." if original else ""
    parts = [_front_matter(about, title), MARK, f"# {title}", _opening(about) + where]
    if about.training or about.labels:
        parts += ["## Labels", labels(about)]
    if about.training:
        parts += ["## Data", data(about), "## Training", training(about)]
    elif about.formats:
        parts += ["## Training", "With which data and settings it was trained is not recorded with it."]
    parts += ["## Scores", _scores(about), "## Use", _use(about, title), "## Limits", _limits(about)]
    return "\n\n".join(parts) + "\n"


# -- the parts


def _front_matter(about: ModelFacts, title: str) -> str:
    base, lines = about.base, ["---"]
    if base.hub:
        lines.append(f"base_model: {_scalar(base.hub)}")
        if about.formats:
            lines.append(f"base_model_relation: {'adapter' if about.kind == 'adapter' else 'finetune'}")
    if about.kind in _LIBRARIES:
        lines.append(f"library_name: {_LIBRARIES[about.kind]}")
    lines.append(f"license: {_scalar((base.licence or 'unknown').lower())}")
    lines += _items("tags", ["genner", "named-entity-recognition", *(["gguf"] if about.kind == "gguf" else [])])
    if about.training:
        recipe = about.training.recipe
        lines += _items("datasets", [item["name"] for item in (*recipe["sets"], *recipe.get("chat", ()))])
    if about.results and about.kind in ("adapter", "tuned", "model"):  # otherwise, other weights were scored
        lines.append(model_index(title, about.results))
    return "\n".join([*lines, "---"])


def _items(key: str, values: Iterable[str]) -> list[str]:
    return [f"{key}:", *(f"- {_scalar(value)}" for value in values)]


def _scalar(value: str) -> str:
    """A string in YAML; quoted as in JSON, which YAML accepts, if it could be read as another type."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)


def _opening(about: ModelFacts) -> str:
    base = about.base
    licence = base.licence or "unknown to genner; see its publisher"
    lines = [
        f"{MODEL_KINDS[about.kind]} {_TASK}." if about.formats else f"{MODEL_KINDS[about.kind]}.",
        "",
        f"- base model: `{base.name}`" + (f", {base.description}" if base.description else ""),
        f"- its licence: {licence}",
    ]
    if about.adapter:
        lines.append(f"- adapter: SHA-256 `{about.adapter}`")
    if about.start:
        lines.append(
            f"- training went on from the adapter `{about.start['name']}`, SHA-256 `{about.start['sha256']}`: what that"
            " one was trained on, and under which licences, counts for this one too, and its own card tells it"
        )
    if about.formats:
        lines.append(f"- answer formats: {', '.join(f'`{name}`' for name in about.formats)}")
    if about.dtype and about.kind != "gguf":
        lines.append(f"- weights: {about.dtype}")
    lines += [f"- `{name}`: {kind}" for name, kind in about.gguf.items()]
    return "\n".join(lines)


def _scores(about: ModelFacts) -> str:
    parts = []
    if about.results:
        whose = ""
        if about.kind in ("merged", "gguf") and not all(r.adapter.endswith("-merged") for r in about.results):
            whose = "Of the adapter over its base, before its weights were merged and rounded:\n\n"
        parts.append(whose + table(about.results))
    lines = dev_text(about.dev, about.bare)
    for form, (before, after) in about.calibration.items() if about.kind != "gguf" else ():
        lines.append(
            f"The scores of entities are calibrated on dev data: expected calibration error {before:.3f} before, "
            f"{after:.3f} after, by cross-validation (`{form}`)."
        )
    if not about.results and not about.dev.get("results"):
        none = "None are recorded with these weights; `genner extract` and `genner evaluate` make them, and "
        parts.append(f"{none}`genner card --scores` writes them here.")
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def _use(about: ModelFacts, title: str) -> str:
    name = json.dumps(title, ensure_ascii=False)
    if about.kind == "gguf":
        return (
            "A prompt is one user turn: what `genner.prompts.instruction(labels, format)` returns, then the text. "
            '`genner grammar --text "Ada left." --to gbnf` writes the grammar of the answers to one text, for '
            "`--grammar-file` of llama.cpp; greedy decoding (`--temp 0`)."
        )
    sets = [item["labels"] for item in about.training.recipe["sets"]] if about.training else []
    shipped = next((labels for labels in sets if labels in label_sets()), None)
    asked = f', labels="{shipped}"' if shipped else ""
    code = [
        "```python",
        "import genner",
        "",
        f"ner = genner.load({name})  # the path of this folder",
        f'ner.extract("Ada Lovelace was born in London."{asked}).entities',
        "```",
    ]
    if about.kind == "adapter":
        code += ["", f"It needs its base model, `{about.base.name}`; `genner merge` makes one model of the two."]
        return "\n".join(code)
    code += [
        "",
        "As a plain model, without genner's grammar and positions:",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"model = AutoModelForCausalLM.from_pretrained({name})",
        f"tokenizer = AutoTokenizer.from_pretrained({name})",
        "```",
        "",
        "A prompt is one user turn: what `genner.prompts.instruction(labels, format)` returns, then the text.",
    ]
    return "\n".join(code)


def _limits(about: ModelFacts) -> str:
    lines = []
    if about.training:
        lines.append("- It was trained on the labels and data above; how it does on others is not recorded.")
    if about.formats:
        if not about.calibration or about.kind == "gguf":
            lines.append("- An entity's score is the model's own probability. It is not calibrated.")
        lines.append("- Without the grammar an answer may break its format, or differ from the text.")
    if about.kind == "merged" and about.dtype:
        lines.append(
            f"- The merged weights are rounded to {about.dtype}. Answers equal those of the adapter where it runs in "
            f"{about.dtype} too; elsewhere a close choice may fall differently."
        )
    if FOUR_BITS & set(about.gguf.values()):
        lines.append("- Weights in 4 bits are coarse, and can lose what the adapter had learned. Measure before use.")
    lines.append(
        "- The licence in the header is the base model's. Passing the weights on, heed it and those of the data."
        if about.base.licence
        else "- The base model's licence is not known to genner. Find it out before passing the weights on."
    )
    return "\n".join(lines)
