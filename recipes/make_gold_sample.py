"""Draw the bundled gold sample, `src/genner/assets/gold/`, from the test splits of openly licensed sets.

    python recipes/make_gold_sample.py --data ../shared/data

A plain random sample with a fixed seed, so sentences without entities keep their natural share; only sentences with
obscenities, e-mail addresses or phone numbers are left out of the draw. The lines are copied unchanged, in the order
of the test split. The same data gives the same files, byte for byte.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

SEED = 20240501
GOLD = Path(__file__).resolve().parents[1] / "src" / "genner" / "assets" / "gold"
# What should not travel with a package: obscenities, e-mail addresses, phone numbers.
UNFIT = re.compile(
    r"\b(?:naked|nudes?|sexy|porn\w*|\w*fuck\w*|\w*shit\w*|cunts?|bitch\w*|nigg\w+|fag\w*|\w*whore\w*|\w*slut\w*)\b"
    r"|[\w.+-]+@[\w-]+\.\w+|\d{3}\)?[ -]{1,2}\d{3}[ -]\d{4}",
    re.IGNORECASE,
)


class Source(NamedTuple):
    """A set to sample from: how many sentences, and what its licence asks us to say."""

    sentences: int
    label_set: str
    license: str
    attribution: str


UNER = "Mayhew et al. (2024), Universal NER: A Gold-Standard Multilingual Named Entity Recognition Benchmark, NAACL"
MTL = "in the IOB version of Crichton et al. (2017), MTL-Bioinformatics-2016, Cambridge LTL"
CROSSNER = (
    "Liu et al. (2021), CrossNER: Evaluating Cross-Domain Named Entity Recognition, AAAI; copyright 2020 Zihan Liu; "
    "texts from Wikipedia, by its contributors"
)
CROSSNER_LICENSE = "MIT (annotations); CC BY-SA (Wikipedia texts)"
SOURCES = {
    "uner_en_ewt": Source(
        120, "core", "CC BY-SA 4.0", f"{UNER}; on the UD English Web Treebank (Silveira et al. 2014)"
    ),
    "uner_en_pud": Source(
        40,
        "core",
        "CC BY-SA 3.0",
        f"{UNER}; on Parallel UD English (Zeman et al. 2017); texts from news and from Wikipedia, by its contributors",
    ),
    "litbank": Source(
        36,
        "litbank",
        "CC BY 4.0",
        "Bamman, Popat and Shen (2019), An Annotated Dataset of Literary Entities, NAACL; public-domain novels from "
        "Project Gutenberg",
    ),
    "wnut17": Source(
        40,
        "wnut17",
        "CC BY 4.0",
        "Derczynski et al. (2017), Results of the WNUT2017 Shared Task on Novel and Emerging Entity Recognition, W-NUT",
    ),
    "ncbi_disease": Source(
        32,
        "ncbi_disease",
        "CC BY 4.0 (distribution); CC0 1.0 (corpus, as the BigBIO card states)",
        f"Doğan, Leaman and Lu (2014), NCBI Disease Corpus, Journal of Biomedical Informatics 47; {MTL}",
    ),
    "bc5cdr": Source(
        26,
        "bc5cdr",
        "CC BY 4.0 (distribution); Public Domain Mark (corpus, as the BigBIO card states)",
        f"Li et al. (2016), BioCreative V CDR Task Corpus, Database; {MTL}",
    ),
    "crossner_ai": Source(5, "crossner_ai", CROSSNER_LICENSE, CROSSNER),
    "crossner_literature": Source(5, "crossner_literature", CROSSNER_LICENSE, CROSSNER),
    "crossner_politics": Source(5, "crossner_politics", CROSSNER_LICENSE, CROSSNER),
}


def sample(lines: list[str], count: int, name: str) -> list[str]:
    """`count` of the fit lines, in their order; the draw depends on the seed, the set's name and its lines only."""
    lines = [line for line in lines if not UNFIT.search(json.loads(line)["text"].replace("_", " "))]
    chosen = random.Random(f"{SEED}:{name}").sample(range(len(lines)), count)
    return [lines[i] for i in sorted(chosen)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the bundled gold sample.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with one folder a data set")
    parser.add_argument("--out", type=Path, default=GOLD, help="folder to write to")
    args = parser.parse_args()

    manifest = json.loads((args.data / "MANIFEST.json").read_text(encoding="utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    rows, credits = [], []
    totals: Counter[str] = Counter()
    for name, source in SOURCES.items():
        if not manifest[name]["redistribution"].startswith("yes"):
            raise SystemExit(f"{name}: the manifest does not allow redistribution; take it out of SOURCES")
        lines = (args.data / name / "test.jsonl").read_text(encoding="utf-8").splitlines()
        chosen = sample(lines, source.sentences, name)
        (args.out / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in chosen), encoding="utf-8")
        entities = [json.loads(line)["entities"] for line in chosen]
        counts = {
            "sentences": len(chosen),
            "without": sum(not e for e in entities),
            "entities": sum(map(len, entities)),
        }
        totals.update(counts)
        rows.append(f"| `{name}.jsonl` | `{source.label_set}` | " + " | ".join(map(str, counts.values())) + " |")
        credits.append(
            f"- **{name}**: {source.attribution}. Licence: {source.license}. "
            f"Taken from {', '.join(f'`{s}`' for s in manifest[name]['sources'])}."
        )
    rows.append("| total | | " + " | ".join(str(totals[key]) for key in ("sentences", "without", "entities")) + " |")
    text = "\n".join(
        [
            "# Sources of the gold sample",
            "",
            "Written by `recipes/make_gold_sample.py`; do not edit by hand. Each file is a plain random sample "
            f"(seed {SEED}) of the set's test split, leaving out sentences with obscenities, e-mail addresses or phone "
            "numbers. The sentences are copied unchanged: texts that their corpus published tokenized stay so. "
            "These files keep the licences below and are not under the licence of genner's code.",
            "",
            "| file | labels | sentences | of them without entities | entities |",
            "|---|---|---:|---:|---:|",
            *rows,
            "",
            *credits,
            "",
            "Licence texts: [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), "
            "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/), "
            "[CC BY-SA 3.0](https://creativecommons.org/licenses/by-sa/3.0/), "
            "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/), "
            "[MIT](https://opensource.org/license/mit).",
            "",
        ]
    )
    (args.out / "SOURCES.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
