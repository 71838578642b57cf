"""The parts of a card about training: labels, data, settings."""

import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from genner.data.catalog import catalog
from genner.document import LabelSet
from genner.export.about import ModelFacts
from genner.labels import label_sets

_TABLED = ("name", "train", "dev", "labels", "weight")  # keys of a set that the data table shows or omits
_UNSET = {"fraction": 1, "max_empty": 1}  # defaults other than 0 or empty


def labels(about: ModelFacts) -> str:
    """A table for each label set that the model was trained on."""
    names = [item["labels"] for item in about.training.recipe["sets"]] if about.training else []
    recorded = about.training.data.get("labels", {}) if about.training else {}
    parts = []
    for name in dict.fromkeys(names) or [""]:
        heading = [f"`{name}`:", ""] if name else []
        if known := _label_set(name, recorded.get(name), about.labels, alone=len(set(names)) < 2):
            rows = (f"| `{label.tag}` | {_cell(label.name)} | {_cell(label.definition)} |" for label in known)
            parts.append("\n".join([*heading, "| label | name | definition |", "|---|---|---|", *rows]))
        else:
            parts.append(f"`{name}`: a file of the training data; its labels are not recorded.")
    return "\n\n".join(parts)


def _label_set(name: str, recorded: Any, own: Any, alone: bool) -> LabelSet | None:
    """The label set of this name: as the run recorded it, else as genner knows it, else the model's only one."""
    if recorded:
        return LabelSet.from_json(recorded, "data.json")
    if known := label_sets().get(name) or (catalog()[name].labels if name in catalog() else None):
        return known
    return LabelSet.from_json(own, "genner.json") if own and alone else None


def _cell(text: str) -> str:
    """Text for a table cell, with Markdown and HTML markup escaped."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


@cache
def sources() -> dict[str, tuple[str, str]]:
    """Title and licence of the corpora that genner knows by name."""
    raw = json.loads((files("genner") / "assets" / "sources.json").read_text(encoding="utf-8"))
    return {name: (c.title, c.licence) for name, c in catalog().items()} | {n: (t, li) for n, (t, li) in raw.items()}


def data(about: ModelFacts) -> str:
    assert about.training
    recipe, data = about.training.recipe, about.training.data
    counted, known, rows = data.get("sentences", {}), sources(), []
    for item in recipe["sets"]:
        title, licence = known.get(item["name"], ("not known to genner", "unknown"))
        count = f"{counted[item['name']]:,}" if item["name"] in counted else "not recorded"
        rows.append(f"| `{item['name']}` | {title} | `{item['labels']}` | {item['weight']:g} | {count} | {licence} |")
    lines = [
        "| set | corpus | labels | weight | sentences an epoch | licence |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "Sets are those of the recipe. Corpus and licence are of the corpus that genner knows by this name.",
    ]
    for item in recipe["sets"]:
        if more := _more(item, _TABLED):
            lines.append(f"Of `{item['name']}`: {more}.")
    for item in recipe.get("chat", ()):
        count = f"{data['conversations'][item['name']]:,}" if item["name"] in data.get("conversations", {}) else "some"
        lines.append(
            f"Mixed in were {count} general conversations an epoch, `{item['name']}` (weight {item['weight']:g}); "
            "genner does not know their licence."
        )
    # Adapters trained by an earlier version have `cannot_say`.
    unencodable = data.get("unencodable", data.get("cannot_say", {}))
    too_long, unsaid = (sum(counts.values()) for counts in (data.get("too_long", {}), unencodable))
    if data:
        what = "examples" if recipe.get("chat") else "sentences"
        lines.append(
            f"Left out in an epoch: {too_long:,} {what}, which were too long, and {unsaid:,} entities, which the "
            "format of their answer cannot say."
        )
    return "\n".join(lines)


def _more(table: dict[str, Any], known: Iterable[str]) -> str:
    """The other keys of a recipe's table that are not at their defaults, as `key` value."""
    said = {key: value for key, value in table.items() if value and key not in known and value != _UNSET.get(key)}
    return ", ".join(
        f"`{key}` {value:g}" if isinstance(value, float) else f"`{key}` {value}" for key, value in said.items()
    )


def training(about: ModelFacts) -> str:
    assert about.training
    run, recipe = about.training, about.training.recipe
    lora, optim, prompt = recipe["lora"], recipe["optim"], recipe["prompt"]
    total = sum(recipe["formats"].values())
    if recipe.get("method") == "full":
        method = "all weights"
    else:
        over = ", over a base in 4 bits" if recipe.get("method") == "qlora" else ""
        layers = lora.get("targets", "all-linear")
        where = "all linear layers" if layers == "all-linear" else ", ".join(layers)
        more = "".join(f", {name}" for name in ("rslora", "dora") if lora.get(name))
        method = f"LoRA on {where}: rank {lora['rank']}, alpha {lora['alpha']}, dropout {lora['dropout']:g}{more}{over}"
    if lora.get("tag_tokens"):
        method += "; the tags of the compact format are tokens of their own"
    shares = ", ".join(f"`{name}` {weight / total:.0%}" for name, weight in recipe["formats"].items())
    if run.steps is None or run.tokens is None or run.seconds is None:
        length = "how many steps these weights are from is not recorded with them"
    else:
        length = f"{run.steps:,} steps, {run.tokens:,} tokens, {run.seconds / 60:.0f} minutes in steps"
    return "\n".join(
        [
            f"- {length}",
            f"- {method}",
            f"- AdamW: learning rate {optim['learning_rate']:g}, warm-up over {optim['warmup']:.0%} of the run, then a "
            f"cosine to zero; weight decay {optim['weight_decay']:g}, gradients clipped at {optim['clip']:g}",
            f"- groups a step: {optim['groups_per_step']}, each of at most {optim['group_tokens']:,} tokens; examples "
            f"of more than {optim['max_tokens']:,} tokens left out; at most {optim['epochs']:g} epochs; "
            f"seed {recipe['seed']}",
            f"- answers: {shares}",
            f"- prompts: {prompt['full_prompt']:.0%} with the whole label set and its definitions; of the others "
            f"{prompt['subset']:.0%} with some of the labels, {prompt['no_definitions']:.0%} without definitions"
            + (f"; of all: {more}" if (more := _more(prompt, ("full_prompt", "subset", "no_definitions"))) else ""),
            "- the machine is not recorded",
        ]
    )
