"""The letter case of "Assessment of Generative NER in the Era of LLMs" in its inputs of CoNLL-2003.

A sentence all of whose words of letters are in capitals gets the case that the package `truecase` finds for them,
without what stands between; all else is left as it is: `FREESTYLE SKIING-WORLD CUP MOGUL RESULTS .` becomes `Freestyle
SKIING-WORLD cup MOGUL results .`. So are 6,701 of the 6,703 published inputs written; the other two are ties, which the
package leaves to chance. The package and its 76 MB of counts are no part of genner.
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
"""Words in capitals -> as many words in the case of running text, or other numbers of them where it cannot say."""

_TOKEN = re.compile(r"\S+")


def truecase_package(words: Sequence[str]) -> Sequence[str]:
    """The case that `truecase` gives words. Raises `UsageError` with the command that installs it.

    Its own entry splits words first, by NLTK's rules and with data that has to be fetched; a sentence that those rules
    split otherwise is one for which it gives another number of words. Of forms that are equally likely it takes the
    first of a set, which changes from process to process; here it is the first in the order of code points.
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
    """Rewrites sentences in capitals, given as tokens set apart by blanks; a character for a character."""

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
