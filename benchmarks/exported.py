"""Size of the grammars exported for other engines, and which engines accept them.

    python benchmarks/exported.py DATA/genia/test.jsonl --labels genia --sentences 12

One row per format, depth and language: medians (and maxima) over the first sentences of the characters of the grammar,
its rules, and the tokens of the longest answer that it allows; and the seconds that an engine takes to compile it for
the tokenizer of the default model, or how many it refuses, with the first reason.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from genner.cli.formats import size_of
from genner.data import read_corpus
from genner.formats import FORMATS
from genner.grammar import Constraints
from genner.labels import label_set
from genner.model_store import ready


def engines(folder: Path) -> dict[str, Callable[[str], str]]:
    """By language, a function that compiles a grammar and returns the reason of a refusal, or None."""
    import llguidance
    import llguidance.hf
    import xgrammar
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    compiler = xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo.from_huggingface(tokenizer), max_threads=1, cache_enabled=False
    )
    theirs = llguidance.hf.from_tokenizer(tokenizer)

    def by_xgrammar(grammar: str) -> str:
        try:
            compiler.compile_grammar(xgrammar.Grammar.from_ebnf(grammar))
        except RuntimeError as error:
            return str(error)
        return ""

    def by_llguidance(grammar: str) -> str:
        matcher = llguidance.LLMatcher(theirs, llguidance.grammar_from("lark", grammar))
        return matcher.get_error() if matcher.is_error() else ""

    return {"gbnf": by_xgrammar, "lark": by_llguidance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", default="genia")
    parser.add_argument("--sentences", type=int, default=12)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    args = parser.parse_args()
    texts = [d.text for d, _ in zip(read_corpus(args.data), range(args.sentences), strict=False)]
    labels = label_set(args.labels)
    compilers = engines(ready("smollm2-135m-instruct"))
    print("| format | depth | language | characters | rules | longest answer | seconds to compile | refused |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.formats:
        for depth in args.depths:
            for language, compiled in compilers.items():
                rows, refused = [], []
                constraints = Constraints("strict", depth, allow_trailing_repeat=True)  # as `genner grammar`
                for text in texts:
                    rules = FORMATS[name].rules(text, labels, constraints)
                    written = FORMATS[name].lark(text, labels, constraints) if language == "lark" else rules.gbnf()
                    begun = time.perf_counter()
                    if reason := compiled(written):
                        refused.append(reason.replace("\n", " ")[:60])
                    seconds = time.perf_counter() - begun
                    rows.append((len(written), size_of(written), rules.longest() or 0, seconds))
                sizes, counts, longest, seconds_each = zip(*rows, strict=True)
                cells = [
                    _both(sizes),
                    _both(counts),
                    _both(longest),
                    f"{median(seconds_each):.2f} ({max(seconds_each):.2f})",
                ]
                reason = f"{len(refused)} of {len(texts)}" + (f": {refused[0]}" if refused else "")
                print(f"| `{name}` | {depth} | {language} | {' | '.join(cells)} | {reason} |", flush=True)


def _both(numbers: tuple[int, ...]) -> str:
    return f"{median(numbers):,.0f} ({max(numbers):,})"


if __name__ == "__main__":
    main()
