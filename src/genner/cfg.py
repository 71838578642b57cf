"""A sentence's grammar as context-free rules, for engines with a constrained decoder of their own.

genner's automaton (`genner.grammar`) is exact, but other engines cannot run it. `ContextFreeGrammar` expresses as much
of it as possible in the grammar languages of other engines: GBNF (llama.cpp), EBNF (xgrammar, so vLLM and SGLang; the
same text), and Lark (llguidance). Each format's `rules` documents how much that is.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

INLINE_CHARS = 3  # maximum characters of a string that is written out each time


class Symbol(NamedTuple):
    """Some text, then the rule of this name, if any."""

    text: str
    rule: str = ""


@dataclass(frozen=True)
class ContextFreeGrammar:
    """Rules by name; each is a choice of sequences of parts. The first rule is the start rule.

    Names consist of lower-case letters, digits and `_`, and begin with a letter.
    """

    rules: Mapping[str, tuple[tuple[Symbol, ...], ...]]

    def pruned(self) -> "ContextFreeGrammar":
        """The grammar without choices that never terminate and without unreachable rules."""
        ends: set[str] = set()
        users: dict[str, list[str]] = {}  # rule -> the rules that refer to it
        for name, choices in self.rules.items():
            for target in {part.rule for parts in choices for part in parts if part.rule}:
                users.setdefault(target, []).append(name)
        todo = [*self.rules]
        while todo:
            name = todo.pop()
            if name not in ends and any(_all_in(parts, ends) for parts in self.rules[name]):
                ends.add(name)
                todo += users.get(name, ())
        kept = {
            name: tuple(parts for parts in choices if _all_in(parts, ends))
            for name, choices in self.rules.items()
            if name in ends
        }
        root = next(iter(self.rules))
        reached, todo = {root}, [root]
        while todo:
            for parts in kept.get(todo.pop(), ()):
                for part in parts:
                    if part.rule and part.rule not in reached:
                        reached.add(part.rule)
                        todo.append(part.rule)
        return ContextFreeGrammar({name: kept[name] for name in kept if name in reached})

    def gbnf(self) -> str:
        """As GBNF, which is also the EBNF that xgrammar reads; the root rule is called `root`."""
        names = {name: "root" if i == 0 else name.replace("_", "-") for i, name in enumerate(self.rules)}
        return self._written(names, " ::= ", quoted)

    def lark(self) -> str:
        """As Lark, in the dialect of llguidance; the root rule is called `start`.

        Strings are written character by character, because the lexer takes the longest match and does not backtrack
        when ` | PER]` turns out to be a space and a bar of the text. A frequent string has a rule of its own, because
        llguidance allows at most 65,535 symbols per grammar.
        """
        often = Counter(part.text for choices in self.rules.values() for parts in choices for part in parts)
        shared = {text: f"text_{i}" for i, (text, n) in enumerate(often.items()) if n > 1 and len(text) > INLINE_CHARS}
        names = {name: "start" if i == 0 else name for i, name in enumerate(self.rules)}
        written = self._written(names, ": ", lambda text: shared.get(text) or _spelled(text))
        return written + "".join(f"{name}: {_spelled(text)}\n" for text, name in shared.items())

    def longest(self) -> int | None:
        """Length of the longest answer in characters; None if it is unbounded."""
        length: dict[str, int] = {}
        entered: set[str] = set()
        todo = [(next(iter(self.rules)), False)]
        while todo:
            name, left = todo.pop()
            if left:
                length[name] = max(
                    sum(len(p.text) + (length[p.rule] if p.rule else 0) for p in parts) for parts in self.rules[name]
                )
            elif name not in length:
                if name in entered:
                    return None  # the rule is recursive
                entered.add(name)
                todo.append((name, True))
                targets = {p.rule for parts in self.rules[name] for p in parts if p.rule}
                todo += [(target, False) for target in targets if target not in length]
        return length[next(iter(self.rules))]

    def _written(self, names: Mapping[str, str], defined: str, literal: Callable[[str], str]) -> str:
        def sequence(parts: tuple[Symbol, ...]) -> str:
            words = [word for p in parts for word in (p.text and literal(p.text), p.rule and names[p.rule]) if word]
            return " ".join(words) or '""'

        lines = (f"{names[name]}{defined}{' | '.join(map(sequence, choices))}" for name, choices in self.rules.items())
        return "\n".join(lines) + "\n"


def _all_in(parts: Iterable[Symbol], ends: Collection[str]) -> bool:
    return all(not part.rule or part.rule in ends for part in parts)


def _spelled(text: str) -> str:
    return " ".join(map(quoted, text))


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """A string literal that all of these languages read: controls as hexadecimal escapes, all else unchanged."""
    return '"' + "".join(_ESCAPES.get(c) or (f"\\x{ord(c):02x}" if ord(c) < 0x20 else c) for c in text) + '"'
