"""Scores in cards and manifests: with set, split, number of sentences, interval and signature, or not at all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from tests.conftest import Run

from genner.document import Document, Entity
from genner.errors import ModelError, UsageError
from genner.evaluation import evaluate
from genner.export.about import Base, ModelFacts
from genner.export.card import CARD, render, write_cards
from genner.export.scores import BEGIN, END, MAX_SHOWN_SCORES, ModelScore, read_scores, replaced
from genner.model_source import shipped

GOLD = [Document("Ann left.", (Entity(0, 3, "PER"),), "a"), Document("Rome.", (Entity(0, 4, "LOC"),), "b")]
FOUND = [GOLD[0], Document("Rome.", (Entity(0, 4, "PER"),), "b")]


def report(**settings: str) -> dict[str, Any]:
    return evaluate(GOLD, FOUND, settings=settings).to_dict()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    about = {"base": "smollm2-135m-instruct", "formats": ["inline_xml"], "scores": {"f1": 0.4, "f1_genia": 0.9333}}
    (folder / "genner.json").write_text(json.dumps(about))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def written(path: Path, raw: object) -> str:
    path.write_text(json.dumps(raw))
    return str(path)


def test_bare_numbers_of_earlier_manifests_are_no_results(adapter: Path) -> None:
    card = write_cards(adapter)[-1].read_text()
    assert "scores from training without the number of sentences, which are no results: not shown" in card
    assert "93.3" not in card
    assert "model-index" not in card


def test_the_scores_of_a_report_are_shown_with_what_makes_them_results(adapter: Path, tmp_path: Path, run: Run) -> None:
    file = written(tmp_path / "report.json", report(format="inline_xml"))
    assert run("card", str(adapter), "--scores", f"genia/test={file}")[0] == 0
    card = (adapter / CARD).read_text()
    (result,) = ModelFacts.of(str(adapter)).results
    assert "| `genia` | test | 2 of 1,732 | `inline_xml` | 50.0 | 50.0 | 50.0 | " in card
    assert f"- `genia`, test: `{result.signature}`" in card
    assert "docs:2" in result.signature
    assert "scores" not in json.loads((adapter / "genner.json").read_text())  # the bare numbers have gone
    again = replace(result, tp=2, fp=0, fn=0)
    more = {"micro": {"tp": 2, "fp": 0, "fn": 0}, "interval": [1, 1], "documents": 2, "signature": result.signature}
    both = written(tmp_path / "both.json", {"genia/test/inline_xml/grammar": more, "core/dev/inline_xml/grammar": more})
    write_cards(adapter, scores=[both])
    first, second = ModelFacts.of(str(adapter)).results  # by set, split and format, the newer one stays
    assert (first, second.set, second.split) == (replace(again, low=1, high=1), "core", "dev")


def test_the_model_index_is_what_the_hub_wants(adapter: Path, tmp_path: Path) -> None:
    write_cards(adapter, scores=[f"genia/test={written(tmp_path / 'r.json', report(format='inline_xml'))}"])
    text = (adapter / CARD).read_text()
    index = yaml.safe_load(text.split("---\n")[1])["model-index"]
    name, results = model_index_to_eval_results(index)  # raises where something is missing
    data = ModelCard(text).data
    assert name == data.model_name == "mine"
    assert [(r.metric_type, r.metric_value) for r in results] == [("f1", 0.5), ("precision", 0.5), ("recall", 0.5)]
    for found in (*results, *data.eval_results):
        assert (found.task_type, found.dataset_type, found.dataset_split) == ("token-classification", "genia", "test")
        assert found.metric_args["sentences"] == 2
        assert found.metric_args["signature"].startswith("match:strict|docs:2|")
    # Weights that were rounded were not scored: their card says whose the scores are, and the hub is told nothing.
    about = replace(ModelFacts.of(str(adapter)), kind="merged", dtype="bfloat16")
    assert "Of the adapter over its base, before its weights were merged and rounded" in render(about, "t")
    assert "model-index" not in render(about, "t")


def test_exported_folders_keep_results(adapter: Path, tmp_path: Path) -> None:
    write_cards(adapter, scores=[f"genia/test={written(tmp_path / 'r.json', report())}"])
    about = replace(ModelFacts.of(str(adapter)), kind="merged")
    (tmp_path / "out").mkdir()
    about.write(tmp_path / "out", "out")
    assert ModelFacts.read(tmp_path / "out") == about


BAD: list[tuple[dict[str, Any], str]] = [
    ({"signature": None}, "signature None does not say match, docs and gold"),
    ({"signature": "match:strict|gold:ab"}, "does not say match, docs and gold"),
    ({"documents": 3}, "the signature is of 2 documents"),
    ({"documents": None}, "'sentences' is None, no count"),
    ({"interval": None}, "it has no interval: too little was sampled"),
    ({"interval": [float("nan"), 1.0]}, "the interval's 'low' is nan"),
    ({"interval": [0.1, 0.2]}, "the interval 0.1000 to 0.2000 does not hold the F1 0.5000"),
    ({"micro": {"f1": 0.5}}, "'tp' is missing"),
    ({"micro": None}, "'micro' is None, no counts"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_reports_that_are_no_results_are_refused(
    adapter: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    file = written(tmp_path / "r.json", report() | change)
    with pytest.raises(UsageError) as error:
        write_cards(adapter, scores=[f"genia/test={file}"])
    assert says in str(error.value)
    assert "`genner evaluate GOLD PRED --json` writes them" in str(error.value)
    assert not (adapter / CARD).exists()


@pytest.mark.parametrize("given", ["x=rep.json", "/test=rep.json", "x/=rep.json"])
def test_half_a_name_of_a_split_is_explained(adapter: Path, given: str) -> None:
    with pytest.raises(UsageError, match=r"legal: FILE, or SET/SPLIT=FILE as in genia/test=scores\.json"):
        read_scores(given, None)


def test_reports_of_unknown_splits_other_models_and_other_files_are_refused(adapter: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "r.json", report())
    with pytest.raises(UsageError, match=f"say it: --scores SET/SPLIT={file}"):
        write_cards(adapter, scores=[file])
    other = written(tmp_path / "o.json", report(adapter="0123456789ab"))
    with pytest.raises(UsageError, match="of adapter 0123456789ab, and this model's is"):
        write_cards(adapter, scores=[f"genia/test={other}"])
    none = written(tmp_path / "n.json", report(adapter="none"))  # of the base alone
    with pytest.raises(UsageError, match="of adapter none"):
        write_cards(adapter, scores=[f"genia/test={none}"])
    for raw in ([], {}, {"f1": 0.5}):
        with pytest.raises(UsageError, match="holds no scores"):
            write_cards(adapter, scores=[written(tmp_path / "x.json", raw)])
    with pytest.raises(UsageError, match="--scores nowhere"):
        read_scores("nowhere.json", None)


def test_a_cell_of_an_assessment_is_a_report(tmp_path: Path) -> None:
    strict = {"f1": 0.5, "low": 0.1, "high": 0.9, "correct": 1, "predicted": 2, "gold": 2}
    cell = {
        "kind": "score",
        "description": {"corpus": "genia", "split": "test"},
        "signature": report(format="compact")["signature"],
        "metrics": {"strict": strict, "documents": 2},
    }
    (found,) = read_scores(written(tmp_path / "result.json", cell), None)
    assert (found.set, found.split, found.sentences, found.of, found.tp, found.fp, found.fn) == (
        "genia",
        "test",
        2,
        1732,
        1,
        1,
        1,
    )
    cell["metrics"] = {"strict": None, "documents": 2}
    with pytest.raises(UsageError, match="'tp' is missing"):
        read_scores(written(tmp_path / "result.json", cell), None)


def test_dev_samples_are_shown_as_such_or_not_at_all() -> None:
    signature = report()["signature"]
    one = {"set": "a", "split": "dev", "tp": 3, "fp": 1, "fn": 1, "low": 0.5, "high": 0.9, "of": 900}
    few = one | {
        "sentences": MAX_SHOWN_SCORES - 1,
        "signature": signature.replace("docs:2", f"docs:{MAX_SHOWN_SCORES - 1}"),
    }
    many = one | {
        "set": "b",
        "sentences": MAX_SHOWN_SCORES,
        "signature": signature.replace("docs:2", f"docs:{MAX_SHOWN_SCORES}"),
    }
    card = render(ModelFacts("adapter", Base("b"), "ab", dev={"f1": 0.75, "results": [few]}), "t")
    assert "99 sentences a set at most. Those are too few to be results" in card
    assert "75.0" not in card
    card = render(ModelFacts("adapter", Base("b"), "ab", dev={"f1": 0.75, "results": [few, many]}), "t")
    assert "on which the checkpoint was chosen, so that they flatter it; 1 with fewer than 100 sentences" in card
    assert "| `b` | dev | 100 of 900 | not said | 75.0 | 75.0 | 75.0 | 50.0 to 90.0 | 2 documents |" in card
    assert "| `a` |" not in card
    assert "model-index" not in card


def test_damaged_scores_in_a_manifest_are_named(adapter: Path) -> None:
    (adapter / "genner.json").write_text(json.dumps({"base": "b", "results": [{"set": "a"}]}))
    with pytest.raises(ModelError, match="its scores are damaged"):
        ModelFacts.of(str(adapter))


def test_a_card_by_hand_gets_its_scores_alone(adapter: Path, tmp_path: Path) -> None:
    given = [f"genia/test={written(tmp_path / 'r.json', report())}"]
    (adapter / CARD).write_text("# Mine\n")
    manifest = (adapter / "genner.json").read_text()
    with pytest.raises(UsageError, match="give it two lines"):
        write_cards(adapter, scores=given)
    assert (adapter / "genner.json").read_text() == manifest
    (adapter / CARD).write_text(f"# Mine\n{BEGIN}\nbefore\n{END}\nMore.\n")
    with pytest.raises(UsageError, match="--force"):
        write_cards(adapter)  # without reports there is nothing to write into it
    write_cards(adapter, scores=given)
    card = (adapter / CARD).read_text()
    assert card.startswith(f"# Mine\n{BEGIN}\n| set |")
    assert card.endswith(f"\n{END}\nMore.\n")
    assert "before" not in card


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_adapters_carry_results_of_whole_test_splits(name: str) -> None:
    folder = shipped()[name]
    about, card = ModelFacts.of(name), (folder / CARD).read_text(encoding="utf-8")
    assert about.results
    assert not about.bare
    assert replaced(card, about.results) == card  # card and manifest say the same
    for result in about.results:
        assert (result.split, result.adapter) == ("test", (about.adapter or "")[:12])
        assert result.of in (None, result.sentences)
        assert result.low <= result.f1 <= result.high
    assert isinstance(about.results[0], ModelScore)
