"""Give sentences in capitals (`SOCCER - JAPAN GET LUCKY WIN`) the case that their words have elsewhere in the corpus.

CoNLL-2003 prints its headlines in capitals. The forms of each word are counted in the corpus' other sentences, without
their first words, which are capitalized by position; a word of a headline then gets its most frequent form. A word
that does not occur elsewhere in the corpus is capitalized (`Japan`): most such words are names. Nothing is learned from
other text, so scores stay comparable; to exclude the test split from the counts, learn from the training split alone.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genner.data.rewrite import OffsetMap, Rewrite, same
from genner.document import Document

_WORD = re.compile(r"[^\W\d_]+(?:[.'’][^\W\d_]+)*")


@dataclass(frozen=True)
class Truecase(Rewrite):
    """Rewrite sentences in capitals; all others stay as they are.

    `forms` maps a lowercased word to its form. Characters change one for one: a form of another length (the capital of
    `ß` is `SS`) is not used.
    """

    forms: Mapping[str, str]

    @classmethod
    def learn(cls, documents: Iterable[Document]) -> "Truecase":
        """Count the words of the documents that are not in capitals. Ties go to the first form in code point order."""
        counts: dict[str, Counter[str]] = {}
        for document in documents:
            if in_capitals(document.text):
                continue
            for word in _WORD.findall(document.text)[1:]:
                counts.setdefault(word.lower(), Counter())[word] += 1
        return cls({low: min(forms, key=lambda f: (-forms[f], f)) for low, forms in counts.items()})

    def edit(self, document: Document) -> OffsetMap:
        if not in_capitals(document.text):
            return same(document.text)
        first = True

        def write(match: re.Match[str]) -> str:
            nonlocal first
            word = match.group()
            form = self.forms.get(word.lower(), word[:1] + word[1:].lower())
            if first and form.islower():
                form = form[:1].upper() + form[1:]
            first = False
            return form if len(form) == len(word) else word

        text = document.text
        return OffsetMap(text, _WORD.sub(write, text), tuple(range(len(text))))


def in_capitals(text: str) -> bool:
    """Whether a text has at least two alphabetic words, and no lowercase letter.

    A single word may be an abbreviation, as in a table of results.
    """
    words = _WORD.findall(text)
    return len(words) > 1 and all(word == word.upper() and word != word.lower() for word in words)
