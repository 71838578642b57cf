"""genner's NER tasks inside lm-evaluation-harness: a model of scripted answers, and a tiny one."""

import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.conftest import Run

from genner.ability import lm_eval_path, ner_tasks
from genner.data.catalog import named_label_set
from genner.document import Document, Entity, LabelSet
from genner.errors import DataError, UsageError
from genner.evaluation import evaluate
from genner.formats import Format, get_format
from genner.generations.readings import read_answers
from genner.prompts import instruction

GENIA = [
    Document("IL-2 gene expression requires NF-kappa B.", (Entity(0, 4, "protein"), Entity(0, 9, "DNA")), "a:1"),
    Document("Nothing is here.", (), "a:2"),
    Document("T cells bind T cells <b>.", (Entity(0, 7, "cell_type"), Entity(13, 20, "cell_type")), "b:1"),
]
NEWS = [
    Document("Ada met Bob in Oslo.", (Entity(0, 3, "PER"), Entity(8, 11, "PER"), Entity(15, 19, "LOC")), "1"),
    Document("IBM paid.", (Entity(0, 3, "ORG"),), "2"),
]
CORPORA = {"genia": (GENIA, "genia"), "conll2003": (NEWS, "conll2003"), "uner": (NEWS, "core")}
FORMATS = {"xml": "inline_xml", "json": "occurrence_json"}
TASKS = [f"genner_{corpus}_{kind}" for corpus in CORPORA for kind in FORMATS]
Answer = Callable[[str], str]

needs_harness = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed; pip install -e '.[ability]'"
)


def write(path: Path, documents: list[Document]) -> Path:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in documents), "utf-8")
    return path


def run_tasks(lm: Any, tasks: list[str], metadata: dict[str, Any], shots: int = 0, chat: bool = False) -> Any:
    """The harness's results; without the survey of the machine that its command line makes."""
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False, include_path=str(lm_eval_path()), metadata=metadata)
    loaded = manager.load(tasks)
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=shots)
        task.set_fewshot_seed(seed=0)
        task.set_config(key="generation_kwargs", value={"max_gen_toks": 8}, update=True)  # of the tiny model
    return evaluator.evaluate(lm=lm, task_dict=loaded, apply_chat_template=chat, fewshot_as_multiturn=chat)


def measure(answer: Answer, tasks: list[str], metadata: dict[str, Any], **more: Any) -> tuple[Any, list[str]]:
    """The harness's scores, by task, of a model that answers prompts by a function; and the prompts."""
    from lm_eval.api.model import LM

    prompts: list[str] = []

    class Scripted(LM):  # type: ignore[misc]
        tokenizer_name = "scripted"

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            prompts.extend(request.args[0] for request in requests)
            return [answer(request.args[0]) for request in requests]

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return json.dumps(chat_history)

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise AssertionError

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise AssertionError

    found = run_tasks(Scripted(), tasks, metadata, **more)["results"]
    scores = {task: {k.split(",")[0]: v for k, v in row.items() if k.endswith(",none")} for task, row in found.items()}
    return scores, prompts


def parts(task: str) -> tuple[list[Document], LabelSet, Format]:
    """The corpus, the labels and the format of a task."""
    _, corpus, kind = task.split("_")
    documents, labels = CORPORA[corpus]
    return documents, named_label_set(labels, Path()), get_format(FORMATS[kind])


def by_prompt(predictions: dict[str, list[Document]]) -> Answer:
    """A model that writes these predictions, by task, and answers each task in its format."""
    answers: dict[str, str] = {}
    for task, documents in predictions.items():
        _, labels, form = parts(task)
        answers |= {instruction(labels, form) + d.text: form.encode(d, labels) for d in documents}
    return answers.__getitem__


@pytest.fixture
def metadata(tmp_path: Path) -> dict[str, Any]:
    return {name: str(write(tmp_path / f"{name}.jsonl", documents)) for name, (documents, _) in CORPORA.items()}


@needs_harness
def test_gold_answers_score_1(metadata: dict[str, Any]) -> None:
    gold = {task: parts(task)[0] for task in TASKS}
    results, prompts = measure(by_prompt(gold), TASKS, metadata)
    for task in TASKS:
        scores = results[task]
        assert {scores[name] for name in ("f1", "precision", "recall", "f1_repaired", "legal", "f1_high")} == {1.0}
        assert 0 < scores["f1_low"] < 1
    assert len(prompts) == sum(map(len, gold.values()))


@needs_harness
def test_wrong_answers_score_as_evaluate_says(metadata: dict[str, Any]) -> None:
    wrong: dict[str, list[Document]] = {}
    for task in TASKS:
        documents, labels, _ = parts(task)
        # In each document an entity is left out; in the first, another label is given instead.
        wrong[task] = [Document(d.text, d.entities[1:], d.id) for d in documents]
        first = documents[0].entities[0]
        other = next(tag for tag in labels.tags if tag != first.label)
        changed = (Entity(first.start, first.end, other), *documents[0].entities[1:])
        wrong[task][0] = Document(documents[0].text, changed, documents[0].id)
    results, _ = measure(by_prompt(wrong), TASKS, metadata)
    for task in TASKS:
        report, scores = evaluate(parts(task)[0], wrong[task]), results[task]
        assert 0 < report.micro.f1 < 1
        assert report.interval is not None
        for name, value in (
            ("f1", report.micro.f1),
            ("precision", report.micro.precision),
            ("recall", report.micro.recall),
            ("f1_low", report.interval[0]),
            ("f1_high", report.interval[1]),
            ("f1_repaired", report.micro.f1),
            ("legal", 1.0),
        ):
            assert scores[name] == pytest.approx(value), (task, name)


@needs_harness
def test_the_literal_answer_counts_and_the_repaired_one_stands_beside_it(metadata: dict[str, Any]) -> None:
    labels, form = named_label_set("core", Path()), get_format("occurrence_json")
    items = [("Oslo", "LOC", 3), ("Ada", "PER", 1)]
    answers = [
        json.dumps([{"text": text, "label": label, "occurrence": place} for text, label, place in items]),
        "Sorry, I cannot.",
    ]
    readings = [read_answers(form, labels, d, [a]) for d, a in zip(NEWS, answers, strict=True)]
    strict = readings[0].strict + readings[1].strict
    repaired = readings[0].repaired + readings[1].repaired
    assert strict != repaired
    given = dict(zip((d.text for d in NEWS), answers, strict=True))
    results, _ = measure(lambda prompt: given[prompt.splitlines()[-1]], ["genner_uner_json"], metadata)
    scores = results["genner_uner_json"]
    assert scores["f1"] == pytest.approx(strict.f1)
    assert scores["precision"] == pytest.approx(strict.precision)
    assert scores["f1_repaired"] == pytest.approx(repaired.f1)
    assert scores["legal"] == 0.0


@needs_harness
def test_shots_cue_and_labels_of_ones_own(tmp_path: Path) -> None:
    form, labels = get_format("inline_xml"), LabelSet.of("PER", "LOC", "ORG")
    metadata = {
        "corpus": str(write(tmp_path / "gold.jsonl", NEWS[:1])),
        "corpus_shots": str(write(tmp_path / "shots.jsonl", NEWS[1:])),
        "labels": ("PER", "LOC", "ORG"),
        "cue": True,
    }
    answer = form.encode(NEWS[0], labels)
    results, (prompt,) = measure(lambda _: answer, ["genner_corpus_xml"], metadata, shots=1)
    assert results["genner_corpus_xml"]["f1"] == 1.0
    assert math.isnan(results["genner_corpus_xml"]["f1_low"])  # one document has no interval
    asked = instruction(named_label_set("core", Path()), form)
    shot = f"{asked}{NEWS[1].text}\nAnswer:\n{form.encode(NEWS[1], labels)}\n\n"
    assert prompt == f"{shot}{asked}{NEWS[0].text}\nAnswer:\n"


@needs_harness
def test_a_chat_template_gets_one_user_turn(metadata: dict[str, Any]) -> None:
    form, labels = get_format("inline_xml"), named_label_set("core", Path())
    _, prompts = measure(lambda _: "", ["genner_uner_xml"], metadata, chat=True)
    turns = [[{"role": "user", "content": instruction(labels, form) + d.text}] for d in NEWS]
    assert [json.loads(prompt) for prompt in prompts] == turns


@needs_harness
def test_a_tiny_model_runs(metadata: dict[str, Any]) -> None:
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=tiny.model("llama"), tokenizer=tiny.tokenizer("bytes"), batch_size=3)
    found = run_tasks(lm, ["genner_genia"], metadata, chat=True)  # both formats, by their tag
    assert set(found["samples"]) == {"genner_genia_xml", "genner_genia_json"}
    for task, samples in found["samples"].items():
        gold, labels, form = parts(task)
        for sample in samples:
            counts = read_answers(form, labels, gold[sample["doc_id"]], sample["filtered_resps"]).strict
            assert sample["f1"][:3] == [counts.tp, counts.fp, counts.fn]


class TestBadInput:
    def load(self, labels: str | None = "core", **metadata: Any) -> Any:
        return ner_tasks.load("uner", labels, "inline_xml", **metadata)

    def test_a_corpus_that_is_not_named(self) -> None:
        with pytest.raises(UsageError, match=r"give lm_eval --metadata uner=FILE, a file"):
            self.load(pretrained="x")
        with pytest.raises(UsageError, match="labels are not named"):
            self.load(None, uner="x")

    def test_labels_that_the_prompt_lacks(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"'protein' \(1\).*legal: PER, LOC, ORG.*genner_corpus_xml"):
            self.load(uner=write(tmp_path / "gold.jsonl", GENIA))

    def test_an_empty_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no document"):
            self.load(uner=write(tmp_path / "gold.jsonl", []), uner_from="jsonl")

    @needs_harness
    def test_shots_from_nowhere(self, metadata: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"0 documents to draw shots from.*CORPUS_shots=FILE"):
            measure(lambda _: "", ["genner_uner_xml"], metadata, shots=2)

    def test_what_is_lost_is_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        crossing = Document("Ada Bob\n\nEve", (Entity(0, 7, "PER"), Entity(4, 12, "LOC")), "1")
        rows = self.load(uner=write(tmp_path / "gold.jsonl", [crossing]))["test"]
        assert "1 gold entities cannot be written in inline_xml; they count as missed" in caplog.text
        assert "1 texts have a blank line" in caplog.text
        assert ner_tasks.score(rows[0], [rows[0]["answer"]])["f1"] == [1, 0, 1, 0]


def test_the_command_prints_the_folder(run: Run) -> None:
    code, out, _ = run("ability", "--lm-eval-path")
    assert code == 0
    assert sorted(path.stem for path in Path(out.strip()).glob("*.yaml")) == sorted(
        f"genner_{corpus}_{kind}" for corpus in (*CORPORA, "corpus") for kind in FORMATS
    )
