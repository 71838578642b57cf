"""Model cards: README.md with the front matter of the Hugging Face hub. What an `About` does not hold is left out, or
said to be unknown."""

import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from genner.data import write_atomic
from genner.data.catalog import catalog
from genner.document import LabelSet
from genner.errors import DataError, ModelError, UsageError
from genner.export.about import FOUR_BITS, KINDS, PARTS, TUNED, About
from genner.labels import label_sets

CARD = "README.md"
ORIGINAL = "ORIGINAL.md"
"""The card that a person wrote for what an exported folder was made from."""
MARK = "<!-- Written by genner, and written again by `genner card`; take this line out to keep your changes. -->"

_LIBRARIES = {"adapter": "peft", "merged": "transformers", "tuned": "transformers", "model": "transformers"}
_RATES = {
    "invalid": "broke the format",
    "hallucinated": "marked what is not in the text or was not asked for",
    "truncated": "ended too early",
}
_TABLED = ("name", "train", "dev", "labels", "weight")  # what of a set the table of data shows, or need not
_UNSET = {"fraction": 1, "empty": 1}  # where that is not 0 or nothing
_TASK = "that finds named entities by writing the text out again with its entities marked"
_PLAIN = re.compile(r"[A-Za-z][\w./-]*[A-Za-z0-9]")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}  # which YAML takes for something else


def write_cards(folder: Path, force: bool = False) -> list[Path]:
    """Write the card of an adapter's or an exported folder. In a training run's, the cards of its adapters, and in its
    own folder that of the adapter which is loaded from there. Returns the files, the folder's own last.

    Raises `UsageError` when there is no such thing in the folder, or a card that a person wrote (unless `force`),
    `ModelError` when a file is damaged or cannot be written.
    """
    folder = folder.resolve()
    title = folder.parent.name if folder.name in PARTS else folder.name
    if exported := About.read(folder):
        targets = [(folder, exported)]
    else:
        places = [p for p in (folder, *(folder / part for part in PARTS)) if _holds_weights(p)]
        if not places:
            raise UsageError(
                f"{folder} holds no model of genner: no genner.json of an export, and neither in it nor in best/, "
                f"adapter/ or model/ an adapter_config.json or {TUNED}; give the folder of a run, an adapter, an export"
            )
        targets = [(place, About.of(str(place))) for place in places]
        if folder not in places:
            targets.append((folder, targets[0][1]))
    kept = [place / CARD for place, _ in targets if _by_hand(place / CARD)]
    if kept and not force:
        raise UsageError(f"{kept[0]} was not written by genner; overwrite it with --force, or move it away")
    return [write_card(about, place, title) for place, about in targets]


def write_card(about: About, folder: Path, title: str) -> Path:
    """Write one card, whatever is there. Raises `ModelError`."""
    try:
        write_atomic(folder / CARD, render(about, title, original=(folder / ORIGINAL).is_file()))
    except DataError as error:
        raise ModelError(str(error)) from error
    return folder / CARD


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("adapter_config.json", TUNED))


def _by_hand(path: Path) -> bool:
    return path.is_file() and MARK not in path.read_text(encoding="utf-8", errors="replace")


def render(about: About, title: str, original: bool = False) -> str:
    """The card. `title` names the model, and the folder in the examples; `original`: a person's card is beside it."""
    where = f"\n\nWhat was written by hand about its original is in [{ORIGINAL}]({ORIGINAL})." if original else ""
    parts = [_front_matter(about), MARK, f"# {title}", _opening(about) + where]
    if about.training or about.labels:
        parts += ["## Labels", _labels(about)]
    if about.training:
        parts += ["## Data", _data(about), "## Training", _training(about)]
    elif about.formats:
        parts += ["## Training", "With which data and settings it was trained is not recorded with it."]
    parts += ["## Scores", _scores(about), "## Use", _use(about, title), "## Limits", _limits(about)]
    return "\n\n".join(parts) + "\n"


# -- the parts


def _front_matter(about: About) -> str:
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
    return "\n".join([*lines, "---"])


def _items(key: str, values: Iterable[str]) -> list[str]:
    return [f"{key}:", *(f"- {_scalar(value)}" for value in values)]


def _scalar(value: str) -> str:
    """A string in YAML; quoted as in JSON, which YAML reads, where it could be taken for something else."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)


def _opening(about: About) -> str:
    base = about.base
    licence = base.licence or "unknown to genner; see its publisher"
    lines = [
        f"{KINDS[about.kind]} {_TASK}." if about.formats else f"{KINDS[about.kind]}.",
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


def _labels(about: About) -> str:
    """A table for each label set: what the model was asked for in training."""
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
    """The label set of this name: as the run recorded it, as genner knows it, or the model's only one."""
    if recorded:
        return LabelSet.from_json(recorded, "data.json")
    if known := label_sets().get(name) or (catalog()[name].labels if name in catalog() else None):
        return known
    return LabelSet.from_json(own, "genner.json") if own and alone else None


def _cell(text: str) -> str:
    """Text in a cell of a table, as it is: no markup of Markdown or HTML in it counts."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;")


@cache
def sources() -> dict[str, tuple[str, str]]:
    """Title and licence of the corpora that genner knows by name."""
    raw = json.loads((files("genner") / "assets" / "sources.json").read_text(encoding="utf-8"))
    return {name: (c.title, c.licence) for name, c in catalog().items()} | {n: (t, li) for n, (t, li) in raw.items()}


def _data(about: About) -> str:
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
    too_long, unsaid = (sum(data.get(key, {}).values()) for key in ("too_long", "cannot_say"))
    if data:
        what = "examples" if recipe.get("chat") else "sentences"
        lines.append(
            f"Left out in an epoch: {too_long:,} {what}, which were too long, and {unsaid:,} entities, which the "
            "format of their answer cannot say."
        )
    return "\n".join(lines)


def _more(table: dict[str, Any], known: Iterable[str]) -> str:
    """The further keys of a recipe's table that are set, as `key` value."""
    said = {key: value for key, value in table.items() if value and key not in known and value != _UNSET.get(key)}
    return ", ".join(
        f"`{key}` {value:g}" if isinstance(value, float) else f"`{key}` {value}" for key, value in said.items()
    )


def _training(about: About) -> str:
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
            f"- prompts: {prompt['plain']:.0%} with the whole label set and its definitions; of the others "
            f"{prompt['subset']:.0%} with some of the labels, {prompt['no_definitions']:.0%} without definitions"
            + (f"; of all: {more}" if (more := _more(prompt, ("plain", "subset", "no_definitions"))) else ""),
            "- the machine is not recorded",
        ]
    )


def _scores(about: About) -> str:
    lines = [_dev_scores(about)]
    for form, (before, after) in about.calibration.items() if about.kind != "gguf" else ():
        lines.append(
            f"The scores of entities are calibrated on dev data: expected calibration error {before:.3f} before, "
            f"{after:.3f} after, by cross-validation (`{form}`)."
        )
    return "\n".join(lines)


def _dev_scores(about: About) -> str:
    if not about.scores:
        return "None are recorded with these weights; `genner extract` and `genner evaluate` make them."
    form = f"`{about.formats[0]}`" if about.formats else "the preferred format"
    rows = {key.removeprefix("f1_"): value for key, value in about.scores.items() if key.startswith("f1_")}
    lines = ["| dev split | micro-F1 |", "|---|---|", *(f"| `{n}` | {100 * value:.1f} |" for n, value in rows.items())]
    if "f1" in about.scores:
        lines.append(f"| mean | {100 * about.scores['f1']:.1f} |")
    lines += [
        "",
        f"Strict spans and labels; greedy decoding under the grammar, {form}; each set asked for by its own labels; "
        "measured in training on a fixed sample of each dev split, whose size is not recorded.",
    ]
    if rates := {key: value for key, value in about.scores.items() if key in _RATES}:
        said = ", ".join(f"{value:.1%} {_RATES[key]}" for key, value in rates.items())
        lines.append(f"Written without the grammar, of the answers {said}.")
    return "\n".join(lines)


def _use(about: About, title: str) -> str:
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


def _limits(about: About) -> str:
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
