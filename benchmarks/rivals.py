"""The rivals on whole corpora, each trained within the same budget, and what each cannot express.

    python benchmarks/rivals.py run --data DATA --encoder ENCODER --out RUNS --minutes genia=12 uner_en_ewt=6
    python benchmarks/rivals.py table --out RUNS --data DATA --best genia=PREDICTIONS uner_en_ewt=PREDICTIONS
    python benchmarks/rivals.py expressible --data DATA --encoder ENCODER

`run` trains each rival on the training split, chooses the state on the dev split, and scores it on the test split with
genner's own evaluation. The budget is the time of training steps on `--threads` threads; evaluations on the dev split
come on top. Each run has a folder of its own with predictions and `result.json`; a run that is there is not repeated,
one that was stopped goes on. `--seeds 0,1,2` takes all rivals with seed 0 first, so that the table is complete early.

The rival `generative` is genner's own: an adapter of rank 64 for inline XML, trained from the untrained base model on
the same documents for the same time.

`table` prints what has been run, with the mean of the seeds. With `--best`, predictions of the generative model at its
best (written by benchmarks/score.py), each first seed is compared with these, document by document.

`expressible` cuts every split of every corpus into training windows, checks that a network's targets read back as the
gold that they encode, and counts what is lost.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from genner.data import read_corpus
from genner.document import Document, LabelSet
from genner.evaluation import compare, evaluate
from genner.labels import label_set, label_sets
from genner.loading import load
from genner.rivals import RIVALS, base, load_rival, rival
from genner.rivals.fitting import FitOptions

FIT = FitOptions(encoder_rate=2e-4, head_rate=1e-3, batch_size=16, epochs=20, bf16=True)
"""The same for all rivals, chosen beforehand: a small encoder wants higher rates than the published ones."""
SETTINGS: dict[str, dict[str, Any]] = {
    "bert_mrc": {"negatives": 0.2},  # of each label, a fifth of the sentences without it is read
    "bert_mrc_dsc": {"negatives": 0.2},
    "ace_style": {"episodes": 6},
}
"""Hyperparameters that are not the published ones, for want of time."""
GENERATIVE = "generative"
RECIPE = """
base = "smollm2-135m-instruct"
seed = {seed}
[formats]
inline_xml = 1.0
[lora]
rank = 64
alpha = 128
[optim]
learning_rate = 2e-3
warmup = 0.05
epochs = 4.0
group_tokens = 1536
groups_per_step = 1
[prompt]
full_prompt = 1.0
[drafter]
sentences = 0
[[set]]
name = "{corpus}"
train = ["{corpus}/train.jsonl"]
dev = "{corpus}/dev.jsonl"
labels = "{labels}"
"""
"""Rank and rate are those of the best short training on one corpus so far."""
BASE_PARAMETERS = 134_515_008
TIMED, BATCHES = 300, (8, 32, 128)


def labels_name(corpus: str) -> str:
    return corpus if corpus in label_sets() else "core"


def labels_of(corpus: str) -> LabelSet:
    return label_set(labels_name(corpus))


def split(data: Path, corpus: str, name: str) -> list[Document]:
    return list(read_corpus(data / corpus / f"{name}.jsonl"))


def fit(job: dict[str, Any], data: Path, folder: Path) -> None:
    """Train a rival; `fit.json` and `training.json` in `folder` say how it went."""
    torch.set_num_threads(job["threads"])
    made = rival(job["rival"], job["encoder"], **job["settings"])
    train, dev = (split(data, job["corpus"], name) for name in ("train", "dev"))
    begun = time.monotonic()
    made.fit(train, dev, labels_of(job["corpus"]), folder=folder, options=FitOptions(**job["fit"]))
    used = {"seconds": time.monotonic() - begun, "peak_bytes": _peak()}
    (folder / "training.json").write_text(json.dumps(used))


def score(job: dict[str, Any], data: Path, folder: Path) -> None:
    """Score a trained rival on the test split, and time it."""
    torch.set_num_threads(job["threads"])
    made = load_rival(folder)
    gold = split(data, job["corpus"], "test")
    found = list(made.predict(tqdm(gold, desc="test")))
    (folder / "test.jsonl").write_text("".join(json.dumps(p.to_dict(), ensure_ascii=False) + "\n" for p in found))
    report = evaluate(gold, found, settings=made.signature)
    peak, some = _peak(), gold[:: max(1, len(gold) // TIMED)]
    speed = {}
    for batch in (1, *BATCHES):
        base.DECODED_AT_ONCE = batch
        begun = time.process_time()
        list(made.predict(some))
        speed[batch] = len(some) / (time.process_time() - begun)
    lost: Counter[str] = Counter()
    for document in gold:
        lost += made.unencodable(document)
    result = {
        "job": job,
        "report": report.to_dict(),
        "fit": json.loads((folder / "fit.json").read_text()),
        "training": json.loads((folder / "training.json").read_text()),
        "peak_bytes": peak,
        "sentences_per_second": speed,
        "unencodable": lost,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))


def fit_generative(job: dict[str, Any], data: Path, folder: Path) -> None:
    """Train an adapter from the base, as `fit` does with a rival."""
    corpus, seed, minutes = job["corpus"], job["fit"]["seed"], job["fit"]["max_minutes"]
    recipe, run = folder / "recipe.toml", folder / "run"
    recipe.write_text(RECIPE.format(seed=seed, corpus=corpus, labels=labels_name(corpus)))
    command = [sys.executable, "-m", "genner", "train", str(recipe), "--data", str(data), "--out", str(run)]
    command += ["--max-minutes", str(minutes), "--eval-minutes", "60", "--calibration-sentences", "0"]
    command += ["--resume"] if run.exists() else []
    environment = os.environ | {"OMP_NUM_THREADS": str(job["threads"])}
    begun = time.monotonic()
    code = subprocess.run(command, env=environment).returncode
    if code not in (0, 3):  # 3: done, but it has not learned to find anything
        raise SystemExit(code)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    (folder / "training.json").write_text(json.dumps({"seconds": time.monotonic() - begun, "peak_bytes": peak}))


def score_generative(job: dict[str, Any], data: Path, folder: Path) -> None:
    """Score a trained adapter on the test split, and time it."""
    torch.set_num_threads(job["threads"])
    weights = load_file(folder / "run" / "adapter" / "adapter_model.safetensors")
    adapter = sum(tensor.numel() for tensor in weights.values())
    ner = load(str(folder / "run" / "adapter"), min_score=0.0).replace(split=False)
    labels, gold = labels_of(job["corpus"]), split(data, job["corpus"], "test")
    found = list(tqdm(ner.pipe(gold, labels, 16), total=len(gold), desc="test"))
    (folder / "test.jsonl").write_text("".join(json.dumps(p.to_dict(), ensure_ascii=False) + "\n" for p in found))
    peak, some = _peak(), gold[:: max(1, len(gold) // TIMED)]
    speed = {}
    for batch in (1, *BATCHES[:2]):
        begun = time.process_time()
        list(ner.pipe(some, labels, batch))
        speed[batch] = len(some) / (time.process_time() - begun)
    result = {
        "job": job,
        "report": evaluate(gold, found, settings=ner.signature).to_dict(),
        "fit": json.loads((folder / "run" / "summary.json").read_text()) | {"parameters": BASE_PARAMETERS + adapter},
        "training": json.loads((folder / "training.json").read_text()),
        "peak_bytes": peak,
        "sentences_per_second": speed,
        "unencodable": {},
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(args: argparse.Namespace) -> None:
    corpora = {corpus: float(minutes) for corpus, minutes in (given.split("=") for given in args.minutes)}
    jobs = [(seed, corpus, name) for seed in args.seeds for corpus in corpora for name in args.rivals]
    for seed, corpus, name in tqdm(jobs, desc="runs"):
        folder = args.out / f"{corpus}-{name}-{corpora[corpus]:g}-minutes-seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "result.json").exists():
            continue
        options = asdict(FIT) | {"max_minutes": corpora[corpus], "seed": seed}
        job = {"rival": name, "corpus": corpus, "encoder": args.encoder, "threads": args.threads}
        job |= {"settings": SETTINGS.get(name, {}), "fit": options}
        parts = (fit_generative, score_generative) if name == GENERATIVE else (fit, score)
        steps = parts if not (folder / "training.json").exists() else parts[1:]
        for step in steps:  # each in a process of its own, so that its peak memory is its own
            process = get_context("spawn").Process(target=step, args=(job, args.data, folder))
            process.start()
            process.join()
            if process.exitcode:
                print(f"{folder.name}: {step.__name__} ended with exit code {process.exitcode}", flush=True)
                break


def table(args: argparse.Namespace) -> None:
    rows: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for file in sorted(args.out.glob("*/result.json")):
        result = json.loads(file.read_text())
        job = result["job"]
        job["folder"] = str(file.parent)
        rows.setdefault((job["corpus"], job["fit"]["max_minutes"], job["rival"]), []).append(result)
    best = dict(given.split("=", 1) for given in args.best)
    print("| corpus | rival | F1 | interval | seeds | less than at its best | steps | dev F1 |", end=" ")
    print("cannot be expressed | parameters | minutes | sentences/s, one by one | at best |", end=" ")
    print("peak memory, training | prediction |\n|" + "---|" * 15)
    for (corpus, minutes, name), results in rows.items():
        f1s = [100 * r["report"]["micro"]["f1"] for r in results]
        interval = results[0]["report"]["interval"]
        seeds = ", ".join(f"{f1:.1f}" for f1 in f1s)
        bounds = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "none"
        fits, speeds = [r["fit"] for r in results], [r["sentences_per_second"] for r in results]
        cells = [
            corpus,
            f"`{name}`",
            f"{statistics.mean(f1s):.1f}",
            bounds,
            seeds,
            against_best(args, corpus, best[corpus], results[0]["job"]) if corpus in best else "",
            f"{statistics.mean(f['steps'] for f in fits):.0f}",
            f"{100 * statistics.mean(f['dev_f1'] for f in fits):.1f}",
            f"{sum(results[0]['unencodable'].values())}",
            f"{fits[0]['parameters'] / 1e6:.1f} M",
            f"{minutes:g}",
            f"{statistics.mean(s['1'] for s in speeds):.0f}",
            f"{statistics.mean(max(s.values()) for s in speeds):.0f}",
            f"{max(r['training']['peak_bytes'] for r in results) / 2**30:.1f} GiB",
            f"{max(r['peak_bytes'] for r in results) / 2**30:.1f} GiB",
        ]
        print("| " + " | ".join(cells) + " |")


def against_best(args: argparse.Namespace, corpus: str, best: str, job: dict[str, Any]) -> str:
    """The difference of F1 to that of the generative model at its best, in points, with its interval."""
    found = list(read_corpus(Path(job["folder"]) / "test.jsonl"))
    difference = compare(split(args.data, corpus, "test"), found, list(read_corpus(Path(best)))).differences["strict"]
    if not difference.known:
        return f"{100 * difference.value:+.1f}"
    return f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def with_legal_tags(document: Document) -> Document:
    """The document with labels that a label set can hold: what a rival can express does not hang on their letters."""
    legal = (replace(e, label=re.sub(r"[^A-Za-z0-9]+", "-", e.label)) for e in document.entities)
    return replace(document, entities=tuple(legal))


def expressible(args: argparse.Namespace) -> None:
    lost: dict[tuple[str, str], Counter[str]] = {}
    wrong = 0
    files = sorted(args.data.glob("*/*.jsonl"))
    for file in tqdm(files, desc="corpora"):
        documents = [with_legal_tags(document) for document in read_corpus(file)]
        tags = sorted({e.label for d in documents for e in d.entities})
        if not tags:
            continue
        for name in set(args.rivals) & set(RIVALS):
            made = rival(name, args.encoder)
            made.begin(LabelSet.of(*tags), FitOptions())
            windows, gone = made.windows(documents, FitOptions())
            for window in windows:
                wrong += sorted(made.network.read(made.network.targets(window))) != sorted(window.entities)
            key = (file.parent.name, name)
            lost[key] = lost.get(key, Counter()) + gone + Counter({"": sum(len(d.entities) for d in documents)})
    print("| corpus | rival | entities | cannot be expressed | reasons |\n" + "|" + "---|" * 5)
    for (corpus, name), counts in sorted(lost.items()):
        total = counts.pop("")
        reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.most_common())
        print(f"| {corpus} | `{name}` | {total} | {sum(counts.values())} | {reasons} |")
    print(f"windows whose targets do not read back: {wrong}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "table", "expressible"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoder")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", nargs="+", default=[], metavar="CORPUS=MINUTES")
    parser.add_argument("--best", nargs="+", default=[], metavar="CORPUS=FILE")
    parser.add_argument("--rivals", type=lambda text: text.split(","), default=[*RIVALS, GENERATIVE])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    {"run": run, "table": table, "expressible": expressible}[args.command](args)


if __name__ == "__main__":
    main()
