"""The letter case of the CoNLL-2003 inputs of "Assessment of Generative NER in the Era of LLMs".

If all purely alphabetic words of a sentence are in capitals, they get the case that the package `truecase` finds for
them, without the other tokens; everything else is unchanged: `FREESTYLE SKIING-WORLD CUP MOGUL RESULTS .` becomes
`Freestyle SKIING-WORLD cup MOGUL results .`. This reproduces 6,701 of the 6,703 published inputs; the other two are
ties, which the package breaks at random. The package and its 76 MB of counts are not part of genner.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from genner.data.rewrite import OffsetMap, Rewrite, same
from genner.document import Document
from genner.errors import UsageError
from genner.extras import install_command

Caser = Callable[[Sequence[str]], Sequence[str]]
"""Words in capitals -> the same words in the case of running text, or a different number of words if undecided."""

_TOKEN = re.compile(r"\S+")


def truecase_package(words: Sequence[str]) -> Sequence[str]:
    """The case that `truecase` gives words. Raises `UsageError` with the command that installs it.

    The package's own function first splits words, by NLTK's rules and with data that must be fetched; if those rules
    split a sentence differently, it returns a different number of words. Of equally likely forms it takes the first of
    a set, which varies between processes; here it is the first in code point order.
    """
    try:
        caser, nltk = import_module("truecase").get_truecaser(), import_module("nltk.tokenize")
    except ModuleNotFoundError as error:
        if error.name != "truecase":
            raise
        install = install_command(package="truecase==0.0.14")
        raise UsageError(f"truecase is not installed; install it with: {install}") from None
    tokens = nltk.NLTKWordTokenizer().tokenize(" ".join(words))
    for token in map(str.lower, tokens):
        if token in caser.word_casing_lookup:
            caser.word_casing_lookup[token] = sorted(caser.word_casing_lookup[token])
    found: str = caser.detknzr.detokenize(caser.get_true_case_from_tokens(tokens))
    return found.split()


@dataclass(frozen=True)
class PaperCase(Rewrite):
    """Rewrites sentences in capitals, given as tokens separated by blanks, one character for one character."""

    caser: Caser = truecase_package

    def edit(self, document: Document) -> OffsetMap:
        text = document.text
        words = [token for token in _TOKEN.finditer(text) if token.group().isalpha()]
        if not words or not all(re.fullmatch("[A-Z]+", word.group()) for word in words):
            return same(text)
        cased = self.caser([word.group() for word in words])
        if [len(word) for word in cased] != [len(word.group()) for word in words]:
            return same(text)
        new, at = [], 0
        for word, form in zip(words, cased, strict=True):
            new += [text[at : word.start()], form]
            at = word.end()
        return OffsetMap(text, "".join([*new, text[at:]]), tuple(range(len(text))))
