"""The examples at the end of each command's help: calls to copy. A test parses them all."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        'genner extract --text "Ada Lovelace was born in London."',
        "genner extract notes.txt --labels PER,ORG --out found.jsonl",
        "genner evaluate gold.jsonl found.jsonl",
    ),
    "extract": (
        'genner extract --text "Ada Lovelace was born in London."',
        "genner extract notes.txt articles.jsonl --labels litbank --out found.jsonl --html page.html",
        "genner extract articles.jsonl --labels-file labels.json --out found.jsonl --resume",
        "genner extract abstracts.jsonl --model bio --min-score 0",
        "cat notes.txt | genner extract -",
        "genner extract notes.txt --model smollm2-135m-instruct --demonstrations train.jsonl --shots 4 --verify",
    ),
    "evaluate": (
        "genner evaluate gold.jsonl found.jsonl --html errors.html",
        "genner evaluate gold.jsonl found.jsonl other.jsonl",
        "genner evaluate gold.jsonl found.jsonl --train train.jsonl --pr-curve curve.png",
        "genner evaluate gold.conll found.jsonl --from conll:column=3",
    ),
    "score-generations": (
        "genner score-generations generated_predictions.jsonl --format inline_bracketed",
        "genner score-generations generated_predictions.jsonl gold.jsonl --format inline_bracketed --rule paper",
    ),
    "train": (
        "genner train recipes/default.toml --data DATA --out runs/mine --max-minutes 60",
        "genner train recipes/default.toml --data DATA --out runs/mine --resume",
    ),
    "drafter": ("genner drafter recipes/mine.toml runs/mine/best --data DATA",),
    "calibrate": (
        "genner calibrate runs/mine recipes/mine.toml --data DATA",
        "genner calibrate default recipes/default.toml --data DATA --sentences 200",
        "genner calibrate default recipes/default.toml --data DATA --sentences 200 --format inline_xml",
    ),
    "merge": ("genner merge runs/mine --out mine",),
    "export": (
        "genner export runs/mine --to transformers --out mine",
        "genner export runs/mine --to gguf --type q8_0 --out gguf",
    ),
    "card": ("genner card runs/mine", "genner card mine --force"),
    "convert": (
        "genner convert corpus.conll corpus.jsonl",
        "genner convert brat-folder corpus.jsonl --from brat --lenient",
        "genner convert corpus.jsonl train.json --to alpaca:format=inline_xml",
    ),
    "data": (
        "genner data",
        "genner data train.jsonl dev.jsonl test.jsonl",
        "genner data test.jsonl --corpus genia",
        "genner data fetch genia uner_en_ewt --out DATA",
    ),
    "demo": ("genner demo", "genner demo --examples examples --page demo.html"),
    "engines": ("genner engines", "genner engines local"),
    "formats": ("genner formats",),
    "grammar": (
        'genner grammar --text "Ada left." --to gbnf',
        'genner grammar --text "Ada left." --format offset_json --to json-schema',
    ),
    "models": ("genner models list", "genner models fetch", "genner models where default"),
    "models list": ("genner models list",),
    "models fetch": ("genner models fetch", "genner models fetch bio --force"),
    "models where": ("genner models where", "genner models where bio"),
    "probe": (
        "genner probe list",
        "genner probe mentions_nonsense",
        "genner probe mentions_nonsense test.jsonl probed.jsonl --labels genia",
        "genner probe mentions_nonsense test.jsonl probed.jsonl --score found.jsonl",
    ),
    "contamination": (
        "genner contamination list",
        "genner contamination runs/mine genia/test.jsonl --data DATA --out seen",
        "genner contamination default genia/test.jsonl --recipe recipes/default.toml --data DATA --limit 60",
        "genner contamination default test.conll --train train.conll --signals exact,ngrams,mentions",
    ),
    "assess": (
        "genner assess quick --out runs/quick",
        "genner assess small --out runs/small --data DATA --dry-run",
        "genner assess status runs/small",
    ),
    "assess run": (
        "genner assess quick --out runs/quick",
        "genner assess small --out runs/small --data DATA --dry-run",
        "genner assess my-study.toml --out runs/mine --data DATA --only genia --devices cuda:0,cuda:1",
    ),
    "assess rivals": (
        "genner assess rivals --train train.jsonl --dev dev.jsonl --test test.jsonl --labels core --encoder ENCODER "
        "--max-minutes 30 --out runs/rivals",
    ),
    "assess status": ("genner assess status runs/small",),
    "report": (
        "genner report runs/small --out report.html",
        "genner report runs/small runs/tuning --markdown tables --csv tables",
    ),
    "rival": (
        "genner rival list",
        "genner rival fit biaffine_cnn train.jsonl --dev dev.jsonl --encoder ENCODER --out runs/biaffine",
        "genner rival predict runs/biaffine test.jsonl --out found.jsonl",
    ),
    "rival list": ("genner rival list", "genner rival list bert_tagger"),
    "rival fit": (
        "genner rival fit bert_tagger train.conll --dev dev.conll --encoder bert-base-cased --out runs/tagger",
        "genner rival fit bert_tagger train.jsonl --encoder ENCODER --set crf=true --max-minutes 20 --out runs/crf",
    ),
    "rival predict": ("genner rival predict runs/tagger test.jsonl --out found.jsonl",),
    "ability": (
        "genner ability default --tasks hellaswag,drop_cued --data BENCH --out ability",
        "genner ability runs/mine --tasks squad:100 --also mixed=runs/mixed --out ability",
    ),
}


def epilog(name: str) -> str | None:
    """The examples of a command, by its name after `genner`, formatted so that click keeps line breaks."""
    lines = EXAMPLES.get(name)
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)]) if lines else None
