"""A tokenizer's vocabulary as a trie over bytes, and its intersection with a grammar.

Constrained decoding is cheap here because the source text fixes nearly every byte: from a state only a few trie nodes
can be reached, and the legal tokens are found by walking those, whatever the size of the vocabulary.
"""

from bisect import bisect_left
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from genner.errors import ModelError
from genner.grammar import Grammar, Menu, State, Strings

KEPT = 1 << 16  # results of `_match` that are kept
_TOKENS = -1  # the key under which a trie node lists its tokens; bytes are 0..255


class _Matches(NamedTuple):
    """The tokens that begin some strings: for each, the number of a string and how many of its bytes it has; and for
    strings with which longer tokens begin, their number, their length and the trie node after them."""

    tokens: list[int]
    places: list[tuple[int, int]]
    beyond: list[tuple[int, int, dict[int, Any]]]


@dataclass(slots=True)
class NextTokens:
    """The legal next tokens at a state of a grammar, each once, in no order, and where they lead.

    The state after a token is computed only when it is asked for.
    """

    tokens: list[int]
    _grammar: Any
    _parts: list[tuple[int, Any, list[tuple[int, int]] | None]]  # first index, origin or state, places of `_Matches`

    def after(self, token: int) -> State:
        """The state after one of the tokens. Raises `ValueError` for any other token."""
        index = self.tokens.index(token)
        for part in self._parts:
            if part[0] > index:
                break
            first, origin, places = part
        state: State = origin if places is None else self._grammar.follow(origin, *places[index - first])
        return state


class Vocabulary:
    """The tokens of a fast tokenizer by their bytes. Special tokens have none, and are never legal.

    Args:
        tokenizer: a fast transformers tokenizer, byte-level or SentencePiece-style.
        end_id: the token that ends an answer.
        size: how many tokens the model has; tokens with a higher id are never legal.

    Raises `ModelError` for a tokenizer of another kind.
    """

    def __init__(self, tokenizer: Any, end_id: int, size: int) -> None:
        self.end_id = end_id
        table = token_bytes(tokenizer)[:size]
        self.bytes: list[bytes | None] = table + [None] * (size - len(table))
        written = sorted((text, token) for token, text in enumerate(self.bytes) if text and token != end_id)
        self._texts, self._tokens = [text for text, _ in written], [token for _, token in written]
        self._root = self._grown(0, len(written), 0)
        self._matched: dict[tuple[int, Strings], _Matches] = {}

    def _grown(self, first: int, last: int, depth: int) -> dict[int, Any]:
        """The trie node of the sorted tokens [first, last), whose first `depth` bytes are the same.

        A child that was never visited is only a range, a tuple of these three numbers. Most of a trie is never visited,
        and building all of it takes half a second for 49,000 tokens.
        """
        node: dict[int, Any] = {}
        texts, at = self._texts, first
        while at < last and len(texts[at]) == depth:
            at += 1
        if at > first:
            node[_TOKENS] = self._tokens[first:at]
        while at < last:
            byte = texts[at][depth]
            beyond = bisect_left(texts, texts[at][:depth] + bytes([byte + 1]), at, last) if byte < 255 else last
            node[byte] = (at, beyond, depth + 1)
            at = beyond
        return node

    def ends(self, tokens: Sequence[int], text: str) -> list[int] | None:
        """For each token, the code points of `text` written up to its end; None if the tokens do not spell the text."""
        pieces = [self.bytes[token] or b"" for token in tokens]
        if b"".join(pieces) != text.encode():
            return None
        ends, written = list[int](), 0
        for piece in pieces:
            written += sum(byte & 0xC0 != 0x80 for byte in piece)  # a code point is written when its first byte is
            ends.append(written)
        return ends

    def legal(self, grammar: Grammar, state: State) -> dict[int, State]:
        """The legal next tokens and the state that each leads to; includes the end token if the answer may end."""
        found: dict[int, State] = {}
        if grammar.final(state):
            found[self.end_id] = state
        edges = grammar.edges
        walk = [(self._root, state)]
        while walk:
            node, at = walk.pop()
            for byte, after in edges(at):
                child = node.get(byte)
                if child is None:
                    continue
                if type(child) is tuple:
                    child = node[byte] = self._grown(*child)
                tokens = child.get(_TOKENS)
                if tokens is not None:
                    for token in tokens:
                        found[token] = after
                    if len(child) == 1:  # no longer token begins with these bytes
                        continue
                walk.append((child, after))
        return found

    def next_tokens(self, grammar: Grammar, state: State) -> NextTokens:
        """As `legal`, faster if the grammar is a `genner.grammar.StringGrammar`."""
        menus = getattr(grammar, "menus", _no_menus)
        follow: Any = getattr(grammar, "follow", None)
        tokens: list[int] = []  # `list[int]()` takes ten times as long
        parts: list[tuple[int, Any, list[tuple[int, int]] | None]] = []
        if grammar.final(state):
            tokens.append(self.end_id)
            parts.append((0, state, None))
        walk = [(self._root, state)]
        while walk:
            node, at = walk.pop()
            known = menus(at, node)
            if known is None:
                self._step(node, grammar.edges(at), tokens, parts, walk)
                continue
            for strings, origin, ahead in known:
                found = self._matched.get((id(node), strings)) or self._match(node, strings)
                if found.tokens:
                    parts.append((len(tokens), origin, found.places))
                    tokens += found.tokens
                for number, count, child in found.beyond:
                    if ahead is None or _has_any(child, ahead[number]):
                        walk.append((child, follow(origin, number, count)))
        return NextTokens(tokens, grammar, parts)

    def _step(
        self,
        node: dict[int, Any],
        edges: list[tuple[int, State]],
        tokens: list[int],
        parts: list[tuple[int, Any, list[tuple[int, int]] | None]],
        walk: list[tuple[dict[int, Any], State]],
    ) -> None:
        """Follow single bytes from a trie node."""
        for byte, after in edges:
            child = self._child(node, byte)
            if child is not None:
                if some := child.get(_TOKENS):
                    parts.append((len(tokens), after, None))
                    tokens += some
                walk.append((child, after))

    def _match(self, node: dict[int, Any], strings: Strings) -> _Matches:
        """What `_Matches` says of some strings from a trie node; kept, since words and tags come again and again."""
        found = _Matches([], [], [])
        tokens, places, beyond = found
        seen: set[int] = set()  # nodes on the way of an earlier string
        for number, string in enumerate(strings):
            at = node
            for count, byte in enumerate(string, 1):
                child = at.get(byte)
                if child is None:
                    break
                if type(child) is tuple:
                    child = at[byte] = self._grown(*child)
                at = child
                some = at.get(_TOKENS)
                if some is not None and id(at) not in seen:
                    tokens += some
                    places += [(number, count)] * len(some)
                if len(strings) > 1:
                    seen.add(id(at))
            else:
                if len(at) > (_TOKENS in at):
                    beyond.append((number, len(string), at))
        if len(self._matched) >= KEPT:
            self._matched.clear()
        # A node that was visited stays in the trie, so its identity is a key.
        self._matched[id(node), strings] = found
        return found

    def _child(self, node: dict[int, Any], byte: int) -> dict[int, Any] | None:
        child = node.get(byte)
        if type(child) is tuple:
            child = node[byte] = self._grown(*child)
        return child

    def advance(self, grammar: Grammar, state: State, token: int) -> State | None:
        """The state after `token`, or None when it is not legal; for tokens that were not chosen from `legal`."""
        if token == self.end_id:
            return state if grammar.final(state) else None
        text = self.bytes[token]
        if not text:
            return None
        for byte in text:
            for edge, after in grammar.edges(state):
                if edge == byte:
                    state = after
                    break
            else:
                return None
        return state


def _has_any(node: dict[int, Any], some: bytes) -> bool:
    for byte in some:  # noqa: SIM110  # a generator takes three times as long
        if byte in node:
            return True
    return False


def _no_menus(state: State, first: Container[int]) -> Sequence[Menu] | None:
    return None


def token_bytes(tokenizer: Any) -> list[bytes | None]:
    """For each token id, the bytes that it writes; None for special tokens and holes."""
    backend = tokenizer.backend_tokenizer
    kind = _state(backend.decoder) + _state(backend.pre_tokenizer)
    ids = tokenizer.get_vocab()
    table: list[bytes | None] = [None] * max(len(tokenizer), max(ids.values(), default=0) + 1)
    if "ByteLevel" in kind:
        to_byte = _byte_level()
        for text, token in ids.items():
            with suppress(UnicodeEncodeError):  # a character that stands for no byte
                table[token] = text.translate(to_byte).encode("latin-1")
    elif "ByteFallback" in kind or "Metaspace" in kind or "\u2581" in kind:
        for text, token in ids.items():
            if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
                table[token] = bytes([int(text[3:5], 16)])
            else:
                table[token] = text.replace("\u2581", " ").encode()
    else:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer is neither byte-level nor SentencePiece-style with byte "
            "fallback, so its tokens cannot be mapped to bytes"
        )
    for token, added in tokenizer.added_tokens_decoder.items():
        # An added token that is not special (Gemma's runs of blanks, say) is ordinary text.
        table[token] = None if added.special else added.content.replace("\u2581", " ").encode()
    return table


def _state(part: Any) -> str:
    """A part of a tokenizer as JSON; the whole tokenizer, with its vocabulary, takes much longer to write."""
    return part.__getstate__().decode() if part is not None else ""


class _Bytes(dict[int, int]):
    """A table for `str.translate`: characters that are not in it become one outside Latin-1."""

    def __missing__(self, character: int) -> int:
        return 0xFFFD


def _byte_level() -> _Bytes:
    """The bytes by the printable characters that stand for them in byte-level BPE (GPT-2): printable Latin-1 is itself,
    U+0100 and so on for the other bytes in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return _Bytes({b: b for b in printable} | {0x100 + i: b for i, b in enumerate(others)})
