"""The NER tasks for lm-evaluation-harness: the functions that the task files in `assets/lm_eval_tasks` name.

genner's own code writes the prompts, reads the answers and scores them, so a model of anyone gets genner's strict F1
where the harness shows its other scores. The user names the corpus, in `--metadata`:

    lm_eval --include_path "$(genner ability --lm-eval-path)" --tasks genner_genia_xml --model hf \
        --model_args pretrained=MODEL --apply_chat_template --metadata genia=corpora/genia/test.jsonl

Keys of the metadata, for a task `genner_CORPUS_FORMAT`:

    CORPUS           the gold documents: whatever `genner.data.read_corpus` reads, `hub:OWNER/NAME` included
    CORPUS_shots     documents that shots are drawn from; needed with `--num_fewshot`
    CORPUS_from      the file syntax with its options, as `conll:column=3`; else it is guessed
    labels           of `genner_corpus_FORMAT`: a shipped label set, a corpus of the catalog, a JSON file, or `PER,LOC`
    cue              True: a line `Answer:` ends each prompt. For models without a chat template.

The harness scores a sample by `score` and a task by the sums over its samples, so each sample's value is its counts.
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from genner.data import read_corpus
from genner.data.catalog import catalog, named_label_set
from genner.document import Document, LabelSet
from genner.errors import DataError, UsageError
from genner.evaluation import Counts, intervals
from genner.evaluation.units import units_of
from genner.few_shot.wording import task_prompt
from genner.formats import Format, get_format
from genner.generations.readings import repaired_counts, strict_counts
from genner.labels import label_sets, parse_labels

log = logging.getLogger(__name__)

NerSample = Sequence[float]
"""Of one document: true positives, false positives, false negatives, and the number of its unit."""

CUE = "\nAnswer:\n"
_STOP = "\n\n"  # `until` of the task files


def lm_eval_path() -> Path:
    """The folder of the task files, for `lm_eval --include_path`."""
    return Path(str(files("genner") / "assets" / "lm_eval_tasks"))


def load(genner_corpus: str, genner_labels: str | None, genner_format: str, **metadata: Any) -> dict[str, Any]:
    """The splits `test` and `shots` of a task, each a `datasets.Dataset`; the harness calls this.

    Args:
        genner_corpus: the key of `metadata` that names the corpus.
        genner_labels: its label set by name; None: as `metadata` says.
        genner_format: the format of the answers.
        metadata: see the module. Other keys, which the harness adds, are ignored.

    Raises `UsageError` where the corpus or its labels are not named, `DataError` for a corpus that has no document or
    has a label that the prompt does not name, and what `read_corpus` raises.
    """
    from datasets import Dataset

    labels, form = _labels(genner_labels, metadata), get_format(genner_format)
    source = metadata.get(genner_corpus)
    if not source:
        more = " and labels=NAME" if genner_labels is None and not metadata.get("labels") else ""
        raise UsageError(
            f"the corpus {genner_corpus!r} is not named; give lm_eval --metadata {genner_corpus}=FILE{more}, a file of "
            "any syntax that genner reads (genner data), or hub:OWNER/NAME"
        )
    cue = CUE if metadata.get("cue") else ""
    syntax = metadata.get(f"{genner_corpus}_from")
    shots = metadata.get(f"{genner_corpus}_shots")
    return {
        "test": Dataset.from_list(_rows(str(source), syntax, labels, form, cue)),
        "shots": Dataset.from_list(_rows(str(shots), syntax, labels, form, cue)) if shots else [],
    }


def _labels(name: str | None, metadata: Mapping[str, Any]) -> LabelSet:
    wanted = name or metadata.get("labels")
    if not wanted:
        raise UsageError("the labels are not named; give lm_eval --metadata labels=NAME, as labels=litbank or PER,LOC")
    if isinstance(wanted, list | tuple):  # how the harness reads a value with commas
        return parse_labels(",".join(str(tag) for tag in wanted) + ",")
    if wanted in label_sets() or wanted in catalog() or Path(str(wanted)).is_file():
        return named_label_set(str(wanted), Path())
    return parse_labels(str(wanted))


def _rows(source: str, syntax: Any, labels: LabelSet, form: Format, cue: str) -> list[dict[str, Any]]:
    """A row for each document: the prompt, the right answer, and what `score` needs."""
    documents = list(read_corpus(source, str(syntax) if syntax else None))
    if not documents:
        raise DataError(source, "has no document: there is nothing to ask")
    unknown = Counter(e.label for d in documents for e in d.entities if e.label not in labels)
    if unknown:
        some = ", ".join(f"{tag!r} ({number})" for tag, number in unknown.most_common(5))
        raise DataError(
            source,
            f"has labels that the prompt does not name: {some}; legal: {', '.join(labels.tags)}; take the task "
            "genner_corpus_xml or genner_corpus_json, which asks for --metadata labels=...",
        )
    if cut := sum(_STOP in d.text.strip() for d in documents):
        log.warning("%s: %d texts have a blank line, at which an answer ends; give --gen_kwargs until=[]", source, cut)
    told = json.dumps(labels.to_json())
    instruction = task_prompt(labels, form).instruction()
    lost = 0
    rows = []
    for document, unit in zip(documents, units_of(documents).of, strict=True):
        target, left_out = form.encodable_part(document)
        lost += len(left_out)
        rows.append(
            {
                "id": document.id,
                "text": document.text,
                "entities": json.dumps([(e.start, e.end, e.label) for e in document.entities]),
                "unit": unit,
                "prompt": f"{instruction}{document.text}{cue}",
                "answer": form.encode(target, labels),
                "labels": told,
                "format": form.name,
            }
        )
    if lost:
        log.warning("%s: %d gold entities cannot be written in %s; they count as missed", source, lost, form.name)
    return rows


def score(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """The metrics of one answer.

    `f1`, `f1_low`, `f1_high`, `precision` and `recall` are of the literal answer, `f1_repaired` of what genner's reader
    makes of it (`genner.generations.readings`); `legal` is 1 for an answer that needed no repair.
    """
    labels, form = _label_set(doc["labels"]), get_format(doc["format"])
    gold = Document.from_dict(
        {
            "id": doc["id"],
            "text": doc["text"],
            "entities": [dict(zip(("start", "end", "label"), e, strict=True)) for e in json.loads(doc["entities"])],
        }
    )
    answer, whole = results[0], [(0, len(gold.text))]
    strict = _sample(strict_counts(form, labels, gold, [answer], whole), doc["unit"])
    repaired = _sample(repaired_counts(form, labels, gold, [answer], whole), doc["unit"])
    of_strict = dict.fromkeys(("f1", "f1_low", "f1_high", "precision", "recall"), strict)
    legal = not form.decode(gold.text, answer, labels).problems
    return {**of_strict, "f1_repaired": repaired, "legal": float(legal)}


@lru_cache(maxsize=8)
def _label_set(told: str) -> LabelSet:
    return LabelSet.from_json(json.loads(told), "labels")


def _sample(counts: Counts, unit: int) -> list[float]:
    return [counts.tp, counts.fp, counts.fn, unit]


def f1(samples: Iterable[NerSample]) -> float:
    """Micro-F1 of all samples, in [0, 1]."""
    return _total(samples).f1


def precision(samples: Iterable[NerSample]) -> float:
    """Precision of all samples."""
    return _total(samples).precision


def recall(samples: Iterable[NerSample]) -> float:
    """Recall of all samples."""
    return _total(samples).recall


def f1_low(samples: Iterable[NerSample]) -> float:
    """Lower end of F1's 95 % interval, over groups of documents where the corpus tells them; NaN if it has none."""
    return _interval(samples)[0]


def f1_high(samples: Iterable[NerSample]) -> float:
    """Upper end, see `f1_low`."""
    return _interval(samples)[1]


def _total(samples: Iterable[NerSample]) -> Counts:
    return sum((Counts(*sample[:3]) for sample in samples), Counts())


def _interval(samples: Iterable[NerSample]) -> tuple[float, float]:
    rows = list(samples)
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(row[3] for row in rows))}
    tp, fp, fn = ([row[i] for row in rows] for i in range(3))
    return intervals.interval(tp, fp, fn, [numbers[row[3]] for row in rows]) or (math.nan, math.nan)
