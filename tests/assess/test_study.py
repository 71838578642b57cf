"""Studies and their cells: what is legal, what is refused and how, and that a cell's hash is what it should be."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genner.assess.cells import cell_id, chosen, plan
from genner.assess.records import Cell
from genner.assess.study import DECODING_MEANINGS, Study, find_study, shipped_studies
from genner.errors import DataError, UnknownNameError, UsageError
from genner.recipe_keys import with_earlier_keys
from genner.training.recipe import Recipe

STUDY = """
name = "both"
seeds = [1, 2]
formats = ["inline_xml", "offset_json"]
decodings = ["grammar", "greedy", "sampled"]

[[model]]
name = "small"
model = "smollm2-135m-instruct"
recipes = ["short"]

[[model]]
name = "default"
formats = ["inline_xml"]

[[corpus]]
name = "genia"
labels = "genia"
train = ["genia/train.jsonl"]
dev = "genia/dev.jsonl"
test = "genia/test.jsonl"
sentences = 20
fraction = 0.1

[[corpus]]
name = "ewt"
labels = "core"
train = ["ewt/train.jsonl"]
test = "sample:uner_en_ewt"

[[recipe]]
name = "short"
eval_sentences = 5
lora = { rank = 4 }
optim = { epochs = 1, learning_rate = 0.001 }

[[probe]]
name = "permuted"
decodings = ["grammar"]
corpora = ["genia"]
sentences = 7

[[probe]]
name = "mentions_unseen"
corpora = ["genia"]
decodings = ["grammar"]
formats = ["inline_xml"]

[[probe]]
name = "paper_so"
probe = "symbols"
train = true
corpora = ["genia"]
formats = ["inline_xml"]
decodings = ["grammar"]

[[ability]]
task = "squad"
shots = [0, 2]
limit = 10
data = "bench"
corpora = ["genia"]
formats = ["inline_xml"]
"""


def study(text: str = STUDY) -> Study:
    import tomllib

    return Study.from_dict(tomllib.loads(text))


def by_kind(cells: list[Cell], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell.kind == kind]


def test_the_grid_is_the_product_of_its_sides() -> None:
    cells = plan(study())
    # 1 model trained x 2 corpora x 2 formats x 2 seeds, and for the probe that trains 1 x 1 x 2.
    assert len(by_kind(cells, "train")) == 8 + 2
    # Trained: 8 x 3 decodings. As it is: 2 corpora x (grammar, greedy, and sampled with 2 seeds).
    assert len(by_kind(cells, "score")) == 24 + 8
    # permuted: trained 2 formats x 2 seeds, default 2 seeds; mentions_unseen: 2 and 2; symbols: 2 trained.
    assert len(by_kind(cells, "probe")) == 6 + 4 + 2
    # Base and default's base are one model; default; trained: 2 seeds each, 2 numbers of shots.
    assert len(by_kind(cells, "ability")) == 3 * 2 * 2
    assert len({cell.id for cell in cells}) == len(cells)


def test_needs_come_first_and_are_what_a_cell_is_made_of() -> None:
    seen: dict[str, Cell] = {}
    for cell in plan(study()):
        for need in cell.needs:
            assert seen[need].kind == "train"
            assert seen[need].description["model"] == cell.description["model"]
        if cell.kind != "train":
            assert cell.needs == ((cell.description["trained"],) if cell.description["trained"] else ())
        seen[cell.id] = cell


def test_descriptions_hold_what_the_cell_is() -> None:
    cells = plan(study())
    train = by_kind(cells, "train")[0].description
    recipe = Recipe.from_dict(train["recipe"])
    assert (recipe.base, recipe.seed, recipe.formats) == ("smollm2-135m-instruct", 1, {"inline_xml": 1.0})
    assert (recipe.sets[0].name, recipe.sets[0].fraction, recipe.sets[0].dev) == ("genia", 0.1, "genia/dev.jsonl")
    assert (recipe.lora.rank, recipe.optim.epochs) == (4, 1.0)
    assert train["limits"] == {"max_minutes": None, "eval_steps": None, "eval_sentences": 5}
    score = next(c.description for c in by_kind(cells, "score") if c.description["trained"] is None)
    assert score == {
        "model": "default",
        "trained": None,
        "format": "inline_xml",
        "corpus": "genia",
        "file": "genia/test.jsonl",
        "split": "test",
        "sentences": 20,
        "labels": "genia",
        "decoding": "grammar",
        "seed": 0,
    }
    probes = {c.description["probe"]: c.description for c in by_kind(cells, "probe")}
    assert probes["permuted"]["sentences"] == 7
    assert (probes["mentions_unseen"]["train"], probes["mentions_unseen"]["lexicon"]) == (
        ["genia/train.jsonl"],
        "genia/dev.jsonl",
    )
    probed = next(c for c in cells if c.id == probes["symbols"]["trained"])
    assert (probed.kind, probed.description["probe"]) == ("train", "symbols")
    ability = by_kind(cells, "ability")[0].description
    assert (ability["task"], ability["shots"], ability["limit"], ability["data"]) == ("squad", 0, 10, "bench")


def test_a_key_with_a_new_name_leaves_results_where_they_are() -> None:
    train = by_kind(plan(study()), "train")[0]
    assert "full_prompt" in train.description["recipe"]["prompt"]
    before = with_earlier_keys(train.description["recipe"])
    assert {"plain", "symbols"} <= before["prompt"].keys()
    assert train.id == cell_id("train", train.description | {"recipe": before})


def test_an_id_is_the_hash_of_canonical_json() -> None:
    # By hand: printf '["score",{"a":1.5,"b":"\\u00e4"}]' | sha256sum
    assert cell_id("score", {"b": "ä", "a": 1.5}) == "score-b5f71cbb6ddb"


def test_ids_are_the_same_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    code = (
        "from pathlib import Path; from genner.assess.cells import plan; from genner.assess.study import Study; "
        f"print(*(c.id for c in plan(Study.from_file(Path({str(path)!r})))))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert other.stdout.split() == [cell.id for cell in plan(Study.from_file(path))]


def test_only_what_changes_the_result_changes_the_id() -> None:
    one = plan(study())
    renamed = plan(study(STUDY.replace('name = "small"', 'name = "other"').replace('"both"', '"x"')), lambda id: "cmd")
    assert [c.id for c in renamed] == [c.id for c in one]
    for change in (
        ("sentences = 20", "sentences = 21"),
        ("rank = 4", "rank = 5"),
        ("fraction = 0.1", "fraction = 0.2"),
        ("seeds = [1, 2]", "seeds = [3, 4]"),
    ):
        assert {c.id for c in plan(study(STUDY.replace(*change)))} != {c.id for c in one}
    # More of the grid leaves what was there.
    more = plan(study(STUDY.replace("seeds = [1, 2]", "seeds = [1, 2, 3]")))
    assert {c.id for c in one} < {c.id for c in more}


def test_a_mixture_is_trained_once_for_all_formats() -> None:
    mixed = STUDY.replace("eval_sentences = 5", "eval_sentences = 5\nmix = { inline_xml = 1, offset_json = 2 }")
    cells = plan(study(mixed))
    assert len(by_kind(cells, "train")) == 4 + 2
    assert by_kind(cells, "train")[0].description["format"] == "inline_xml+offset_json"
    assert len(by_kind(cells, "score")) == len(by_kind(plan(study()), "score"))


def test_only_brings_what_is_needed_along() -> None:
    cells = plan(study())
    some = chosen(cells, ["offset_json ewt greedy"])
    assert [c.kind for c in some] == ["train", "train", "score", "score"]
    assert {need for c in some for need in c.needs} == {c.id for c in by_kind(some, "train")}
    assert chosen(cells, [some[-1].id]) == [next(c for c in cells if c.id == some[-1].needs[0]), some[-1]]
    assert chosen(cells, ["default *grammar*"]) == [
        c for c in cells if c.name.startswith("default ") and "grammar" in c.name
    ]
    both = chosen(cells, ["default *grammar*", "offset_json ewt greedy"])
    assert {c.id for c in both} == {c.id for c in [*some, *chosen(cells, ["default *grammar*"])]}
    assert chosen(cells, ()) == cells
    with pytest.raises(UsageError, match=r"matches no cell.*names are those of --dry-run"):
        chosen(cells, ["default", "nothing"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seeds = [1, 2]", "seeds = []"), "seeds = .*legal: one or more, each once"),
        (("seeds = [1, 2]", "seeds = [1, 1]"), "seeds = .*each once"),
        (("seeds = [1, 2]", 'seeds = "1"'), "seeds = '1' is not of type"),
        (("seeds = [1, 2]", "seed = 1"), "no key 'seed'; known: .*seeds.*\\[\\[corpus\\]\\]"),
        (('name = "both"', ""), "lacks 'name'"),
        (('"sampled"]', '"beam"]'), "unknown decoding 'beam'; known: grammar, greedy, sampled"),
        (('"offset_json"]', '"yaml"]'), "unknown format 'yaml'"),
        (('recipes = ["short"]', 'recipes = ["long"]'), "unknown recipe 'long'; known: short"),
        (
            ('corpora = ["genia"]\nsentences', 'corpora = ["gene"]\nsentences'),
            "unknown corpus 'gene'.*; known: ewt, genia",
        ),
        (('name = "ewt"', 'name = "genia"'), "\\[\\[corpus\\]\\] 'genia' is there twice"),
        (("sentences = 20", "sentences = -1"), "sentences = -1; legal: 0 or more"),
        (("sentences = 20", "sentence = 20"), "no key 'sentence'"),
        (("fraction = 0.1", "fraction = 2.0"), "fraction = 2.0; legal"),
        (("rank = 4", "rank = 0"), "rank = 0; legal: 1 or more"),
        (("eval_sentences = 5", "eval_sentences = -5"), "eval_sentences = -5; legal: 0 or more"),
        (("eval_sentences = 5", "max_minutes = 0"), "max_minutes = 0.0; legal"),
        (('train = ["ewt/train.jsonl"]\n', ""), "trained on corpus 'ewt', which has no 'train'"),
        (('dev = "genia/dev.jsonl"\n', ""), "'mentions_unseen' needs more of .*'genia'.*lexicon"),
        (('probe = "symbols"', 'probe = "none"'), "unknown probe 'none'; known:"),
        (("shots = [0, 2]", "shots = [-1]"), "shots = \\[-1\\]; legal"),
        (("limit = 10", "limit = -1"), "limit = -1; legal: 0 or more"),
        (('recipes = ["short"]', ""), "'paper_so' trains, and no model has 'recipes'"),
        (('[[probe]]\nname = "permuted"', '[[probe]]\noptions = 3\nname = "permuted"'), "options = 3 is not a table"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_legal(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = tmp_path / "study.toml"
    assert change[0] in STUDY
    path.write_text(STUDY.replace(change[0], change[1], 1))
    with pytest.raises((DataError, UsageError), match=said):
        plan(Study.from_file(path))


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    for text, said in (("name = ", "is not TOML"), ('name = "x"\n[model]\nname = "y"\n', "write \\[\\[model\\]\\]")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            Study.from_file(path)
    path.write_text('name = "x"')
    with pytest.raises(DataError, match="at least one"):
        Study.from_file(path)
    with pytest.raises(UnknownNameError, match="quick"):
        find_study("nowhere")


@pytest.mark.parametrize("name", ["quick", "default", "small", "paper"])
def test_shipped_studies_are_whole(name: str) -> None:
    cells = plan(Study.from_file(shipped_studies()[name]))
    assert find_study(name) == shipped_studies()[name]
    assert {c.description["decoding"] for c in by_kind(cells, "score")} <= set(DECODING_MEANINGS)
    made: Any = json.loads(json.dumps([c.description for c in cells]))
    assert made == [c.description for c in cells]
    assert [replace(c, command="") for c in plan(Study.from_file(shipped_studies()[name]))] == cells


def test_general_ability_is_asked_of_base_adapter_and_adapter_with_conversations() -> None:
    cells = plan(Study.from_file(shipped_studies()["small"]))
    trained = {c.id: c for c in by_kind(cells, "train")}
    sides: dict[tuple[str, int], list[str]] = {}
    for c in by_kind(cells, "ability"):
        training = trained[c.description["trained"]].description["recipe"] if c.description["trained"] else None
        side = "base" if training is None else "conversations" if training.get("chat") else "adapter"
        sides.setdefault((c.description["task"], c.description["shots"]), []).append(side)
    assert {task: sorted(found) for task, found in sides.items()} == {
        task: ["adapter", "base", "conversations"] for task in sides
    }
    assert {shots for task, shots in sides if task.startswith("drop")} == {0, 3}


def test_a_models_name_is_kept_and_no_part_of_what_is_done() -> None:
    corpus = {"name": "c", "labels": "core", "test": "sample:uner_en_ewt"}
    raw = {"name": "s", "corpus": [corpus], "model": [{"name": "mine", "model": "default"}]}
    (named,) = plan(Study.from_dict(raw))
    (plain,) = plan(Study.from_dict(raw | {"model": [{"name": "default"}]}))
    assert (named.model, plain.model) == ("mine", "default")
    assert named.id == plain.id
