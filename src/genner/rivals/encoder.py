"""Any Hugging Face encoder, read word by word.

Each word is tokenized on its own, with a space before it where the text has one, so that no tokenizer has to tell its
offsets. A word of which the tokenizer makes nothing (a control character, an unknown sign) becomes the unknown token:
every word has at least one piece, and the map from words to pieces cannot shift.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from genner.document import Span
from genner.errors import ModelError, UsageError
from genner.rivals.words import Window
from genner.transformer_encoder import check_tokenizer, identity, load_transformer

Pooling = Literal["first", "last", "max", "mean"]
"""How the states of a word's pieces become the word's vector."""

FOLDER = "encoder"
"""Where a saved rival keeps its encoder's configuration and tokenizer."""


@dataclass(frozen=True)
class Encoded:
    """States of a batch of windows. B windows, T pieces with special tokens, W words, H features."""

    states: Tensor  # [B, T, H], float32
    mask: Tensor  # [B, T], True on pieces, special tokens included
    words: Tensor  # [B, W], True on words
    first: Tensor  # [B, W], the place of each word's first piece; 0 on padding
    last: Tensor  # [B, W], the place of each word's last piece; 0 on padding

    @property
    def cls(self) -> Tensor:
        """The state of the first special token, [B, H]."""
        return self.states[:, 0]

    def pool(self, how: Pooling = "first") -> Tensor:
        """Vectors of words, [B, W, H]; zero on padding."""
        if how in ("first", "last"):
            place = self.first if how == "first" else self.last
            index = place.unsqueeze(-1).expand(-1, -1, self.states.shape[-1])
            return self.states.gather(1, index) * self.words.unsqueeze(-1)
        vectors = self.states.new_zeros(*self.words.shape, self.states.shape[-1])
        # Pieces outside words go to one more row, which is dropped.
        spare = torch.cat([vectors, vectors[:, :1]], 1)
        index = self.word_of_piece.unsqueeze(-1).expand_as(self.states)
        reduce = "amax" if how == "max" else "mean"
        return spare.scatter_reduce(1, index, self.states, reduce, include_self=False)[:, :-1]

    @cached_property
    def word_of_piece(self) -> Tensor:
        """The word of each piece, [B, T]; W for pieces of no word."""
        places = torch.arange(self.states.shape[1], device=self.first.device)
        within = (self.first.unsqueeze(-1) <= places) & (places <= self.last.unsqueeze(-1)) & self.words.unsqueeze(-1)
        found = within.int().argmax(1)  # [B, T]
        return torch.where(within.any(1), found, self.words.shape[1])


class WordEncoder(nn.Module):
    """A transformers encoder and its tokenizer.

    Args:
        model: an encoder of transformers: its output has `last_hidden_state`.
        tokenizer: its tokenizer, fast or slow.
        name: what identifies it in signatures (`genner.transformer_encoder.identity`).
        layers: a state is the mean of the last `layers` hidden layers; or, if this is a tuple, these hidden layers one
            beside the other (0: the embeddings).
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, layers: int | tuple[int, ...] = 1) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name, self.layers = model, tokenizer, name, layers
        if getattr(model.config, "hidden_size", None) is None or getattr(model.config, "vocab_size", None) is None:
            raise ModelError(
                f"encoder {name!r} is a {type(model).__name__}, which does not read tokens of text alone; give a text "
                "encoder, such as BERT, RoBERTa or DeBERTa"
            )
        self.width = int(model.config.hidden_size) * (len(layers) if isinstance(layers, tuple) else 1)
        self._before, self._after = _around(tokenizer)
        self._pieces: dict[str, list[int]] = {}
        unknown = tokenizer.unk_token_id
        self._unknown = unknown if unknown is not None else (tokenizer.eos_token_id or 0)
        if len(self._before) == 0:
            raise ModelError(
                f"encoder {name!r} puts no special token before a text, so a text as a whole has no state; give one "
                "whose tokenizer does, such as BERT, RoBERTa or DeBERTa"
            )
        if self.limit < 1:
            raise ModelError(
                f"encoder {name!r} has no room for a text: its tokenizer's model_max_length is "
                f"{tokenizer.model_max_length}, of which special tokens take {len(self._before) + len(self._after)}; "
                "set it in tokenizer_config.json to what the encoder reads, such as 512"
            )
        _check_sees_both_sides(model, self._before, self._after, name)

    @classmethod
    def load(cls, name: str, layers: int | tuple[int, ...] = 1) -> Self:
        """The encoder of this name on the Hugging Face hub, or in this folder. Raises `ModelError` if there is none."""
        model, tokenizer = load_transformer(name)
        return cls(model, tokenizer, identity(name, model), layers)

    @classmethod
    def of_folder(cls, folder: Path, name: str, layers: int | tuple[int, ...] = 1) -> Self:
        """The encoder that `save` wrote, with weights still to be loaded."""
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        if not (folder / FOLDER / "config.json").is_file():
            raise ModelError(f"it lacks its encoder, {FOLDER}/config.json; train the rival again")
        config = AutoConfig.from_pretrained(folder / FOLDER)
        tokenizer = AutoTokenizer.from_pretrained(folder / FOLDER)
        check_tokenizer(tokenizer, name)
        return cls(AutoModel.from_config(config), tokenizer, name, layers)

    def save(self, folder: Path) -> None:
        """Write configuration and tokenizer; the weights belong to the rival's own file."""
        self.model.config.save_pretrained(folder / FOLDER)
        self.tokenizer.save_pretrained(folder / FOLDER)

    def copy(self) -> "WordEncoder":
        """An encoder with the same weights, which are trained apart."""
        return WordEncoder(deepcopy(self.model), self.tokenizer, self.name, self.layers)

    @property
    def limit(self) -> int:
        """The maximum number of pieces of a text, without special tokens."""
        config = self.model.config
        positions = getattr(config, "max_position_embeddings", None) or 512
        if getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            positions -= 2  # positions are counted from the padding token's on
        told = self.tokenizer.model_max_length
        return int(min(positions, told)) - len(self._before) - len(self._after)

    def query_cost(self, query: str) -> int:
        """The number of pieces by which a query before the text shortens the room for it."""
        start, middle, _ = self._pair
        return len(self.text_pieces(query)) + len(start) + len(middle) - len(self._before)

    def pieces(self, text: str, words: Sequence[Span]) -> list[list[int]]:
        """The ids of the pieces of each word: one at least."""
        return [self._word(text[s:e], s > 0 and text[s - 1].isspace()) for s, e in words]

    def lengths(self, text: str, words: Sequence[Span]) -> list[int]:
        """The number of pieces of each word."""
        return [len(ids) for ids in self.pieces(text, words)]

    def forward(self, windows: Sequence[Window], queries: Sequence[str] | None = None) -> Encoded:
        """Encode windows; with `queries`, one text before each, as the first of two sequences.

        A window of more than `limit` pieces loses the last pieces of its longest words, never a word.
        """
        if queries is None:
            heads = [self._before] * len(windows)
            tail = self._after
        else:
            start, middle, tail = self._pair
            heads = [[*start, *self.text_pieces(query), *middle] for query in queries]
        rows = [
            _fitted(self.pieces(w.text, w.words), self.limit + len(self._before) - len(head))
            for w, head in zip(windows, heads, strict=True)
        ]
        width = max((len(row) for row in rows), default=0)
        first, last = torch.zeros(2, len(rows), max(1, width), dtype=torch.long)
        ids, types = [], []
        for i, (head, row) in enumerate(zip(heads, rows, strict=True)):
            ends = list(accumulate((len(piece) for piece in row), initial=len(head)))
            first[i, : len(row)] = torch.tensor(ends[:-1], dtype=torch.long)
            last[i, : len(row)] = torch.tensor(ends[1:], dtype=torch.long) - 1
            ids.append([*head, *(piece for word in row for piece in word), *tail])
            types.append([0] * len(head) + [1 if queries is not None else 0] * (len(ids[-1]) - len(head)))
        states, mask = self._run(ids, types)
        device = states.device
        present = torch.arange(first.shape[1]) < torch.tensor([len(row) for row in rows]).unsqueeze(1)
        return Encoded(states, mask, present.to(device), first.to(device), last.to(device))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """The state of the first special token of each text, [n, H]. Longer texts are cut at the encoder's limit."""
        ids = [[*self._before, *self.text_pieces(text)[: self.limit], *self._after] for text in texts]
        return self._run(ids, [[0] * len(row) for row in ids])[0][:, 0]

    def _run(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """States [B, T, H] in float32 and the mask of pieces [B, T]."""
        width = max(len(row) for row in ids)
        pad = self.tokenizer.pad_token_id or 0
        device = next(self.model.parameters()).device
        given = torch.tensor([[*row, *[pad] * (width - len(row))] for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
        more: dict[str, Any] = {}
        if getattr(self.model.config, "type_vocab_size", 0) > 1:
            padded = [[*row, *[0] * (width - len(row))] for row in types]
            more["token_type_ids"] = torch.tensor(padded, device=device)
        if self.layers != 1:
            hidden = self.model(given, attention_mask=mask, output_hidden_states=True, **more).hidden_states
            if isinstance(self.layers, tuple):
                states = torch.cat([hidden[i] for i in self.layers], -1)
            else:
                states = torch.stack(hidden[-self.layers :]).mean(0)
        else:
            states = self.model(given, attention_mask=mask, **more).last_hidden_state
        return states.float(), mask.bool()

    def _word(self, word: str, spaced: bool) -> list[int]:
        key = " " + word if spaced else word
        if key not in self._pieces:
            ids = list(self.tokenizer(key, add_special_tokens=False, verbose=False)["input_ids"])
            self._pieces[key] = self._known(ids) or [self._unknown]
        return self._pieces[key]

    def text_pieces(self, text: str) -> list[int]:
        """The ids of the pieces of a text, without special tokens."""
        return self._known(list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]))

    def _known(self, ids: list[int]) -> list[int]:
        """The ids. Raises `ModelError` if the encoder has no vector for one of them."""
        vocabulary = int(self.model.config.vocab_size)
        if max(ids, default=0) >= vocabulary:
            raise ModelError(
                f"encoder {self.name!r} has vectors for {vocabulary} tokens, and its tokenizer gives the token "
                f"{max(ids)}: they do not belong together; give the tokenizer that the encoder was trained with"
            )
        return ids

    @cached_property
    def _pair(self) -> tuple[list[int], list[int], list[int]]:
        """The special tokens before, between and after two texts."""
        return _around_pair(self.tokenizer)


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return list(whole[:start]), list(whole[start + len(plain) :])
    return list(whole), []


def _around_pair(tokenizer: Any) -> tuple[list[int], list[int], list[int]]:
    one, two = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
    whole = tokenizer("a", "b")["input_ids"]
    start = next(i for i in range(len(whole)) if whole[i : i + len(one)] == one)
    second = next(i for i in range(start + len(one), len(whole)) if whole[i : i + len(two)] == two)
    return list(whole[:start]), list(whole[start + len(one) : second]), list(whole[second + len(two) :])


def _fitted(row: list[list[int]], room: int) -> list[list[int]]:
    """The pieces of each word, those of the longest words cut until all fit; one piece a word at least.

    Raises `UsageError` if there are more words than room.
    """
    if sum(map(len, row)) <= room:
        return row
    if len(row) > room:
        raise UsageError(f"{len(row)} words do not fit the encoder's {room} pieces; give shorter windows")
    most = max(map(len, row))
    while sum(min(len(word), most) for word in row) > room:
        most -= 1
    return [word[:most] for word in row]


def _check_sees_both_sides(model: Any, before: list[int], after: list[int], name: str) -> None:
    """Raise `ModelError` if the state of a token does not depend on those after it: a decoder is no encoder."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"encoder {name!r} is an encoder with a decoder; give an encoder alone, such as BERT")
    ids = [5, 6, 7, 8]
    vocabulary = int(model.config.vocab_size)
    training = model.training
    model.eval()
    with torch.inference_mode():
        one, two = (
            model(torch.tensor([[*before, *(i % vocabulary for i in row), *after]])).last_hidden_state[0, 0]
            for row in (ids, [*ids[:-1], 9])
        )
    model.train(training)
    if torch.equal(one, two):
        raise ModelError(
            f"encoder {name!r} does not look at what follows a token: it is a decoder (a causal language model); give "
            "an encoder, such as BERT, RoBERTa or DeBERTa, or train the model with `genner train`"
        )
