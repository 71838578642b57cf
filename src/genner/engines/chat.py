"""From an instruction, a text and an answer to token ids, by the model's own chat template.

Training and inference both use `Chat`, so their token ids are equal by construction. A conversation is one user turn,
instruction then text, and one assistant turn, the answer. It has three parts, each tokenized by itself:

    prefix    everything up to the text: the same for all texts of a task, so it is run once and its cache shared
    body      the text, and what the template puts between it and the answer
    answer    the answer, and the token that ends the turn

Text and answer are tokenized as plain text: control tokens in them, such as `<|im_end|>`, are ordinary characters.

`conversation` does the same for conversations of any number of turns, which training mixes in.
"""

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from genner.errors import ModelError

# Some templates tell the model today's date (Llama 3.2's, Granite's). With the real date, prompts would differ from
# those of training, and answers from day to day; so the date is always the one that Llama's templates fall back to. A
# macro in front of a template hides the function of its name; the empty expression behind it keeps a line end from
# being trimmed.
_DAY = """{% macro strftime_now(form) -%}
{{ {"%d %b %Y": "26 Jul 2024", "%B %d, %Y": "July 26, 2024"}.get(form, "2024-07-26") }}
{%- endmacro %}{{ "" }}"""
REMEMBERED = 2048  # strings whose number of tokens is cached
_TEXT, _ANSWER = "\ue000text\ue000", "\ue000answer\ue000"  # private-use characters: in no template


class Chat:
    """The three parts of a conversation as token ids.

    Args:
        tokenizer: a fast transformers tokenizer with a chat template.

    Raises `ModelError` when it has no chat template, or one that changes the text of a turn.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise ModelError(f"{tokenizer.name_or_path}: the tokenizer has no chat template; use an instruct model")
        self._renderer = tokenizer
        if "strftime_now" in tokenizer.chat_template:
            self._renderer = copy.copy(tokenizer)
            self._renderer.chat_template = _DAY + tokenizer.chat_template
        asked = self._render([{"role": "user", "content": _TEXT}], add_generation_prompt=True)
        told = self._render([{"role": "user", "content": _TEXT}, {"role": "assistant", "content": _ANSWER}])
        if asked.count(_TEXT) != 1 or told.count(_ANSWER) != 1:
            raise ModelError(f"{tokenizer.name_or_path}: the chat template does not keep the words of a turn")
        self._head, self._tail = asked.split(_TEXT)
        self._tail_ids = self._encode(self._tail, special=True)
        self._length = lru_cache(REMEMBERED)(lambda text: len(self._encode(text, special=False)))
        closing = self._encode(told.split(_ANSWER)[1], special=True)
        if not closing:
            raise ModelError(f"{tokenizer.name_or_path}: the chat template does not end the assistant's turn")
        self.end_id: int = closing[0]
        self._layouts: dict[tuple[str, ...], list[list[int]] | None] = {}

    def prefix_ids(self, instruction: str) -> list[int]:
        """Token ids of the conversation up to the text."""
        # The instruction is ours, so special tokens in it are the template's alone.
        return self._encode(self._head, special=True) + self._encode(instruction, special=False)

    def body_ids(self, text: str) -> list[int]:
        """Token ids of the text and of what the template puts between it and the answer."""
        return self._encode(text, special=False) + self._tail_ids

    def text_of(self, body: list[int]) -> list[int]:
        """The part of `body_ids` that is the text."""
        return body[: len(body) - len(self._tail_ids)]

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of the answer, ended by the token that ends the turn."""
        return [*self._encode(answer, special=False), self.end_id]

    def conversation(self, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[bool]]:
        """A conversation of (role, text), the last turn the assistant's: its token ids, and which of them the assistant
        writes.

        The assistant writes the texts of its turns, and after each the token that ends the turn; the ids end with that
        of the last turn. The last answer follows the template's generation prompt, earlier answers stand where the
        template puts them. If the template has no system turn, the text of one goes before that of the first user turn,
        with a blank line between. Raises `ModelError` when the template does not take the conversation as it is.
        """
        layout = self._layout(tuple(role for role, _ in turns))
        if layout is None and turns[0][0] == "system":
            (_, system), (role, text), *rest = turns
            turns = [(role, f"{system}\n\n{text}"), *rest]
            layout = self._layout(tuple(role for role, _ in turns))
        if layout is None:
            roles = ", ".join(role for role, _ in turns)
            raise ModelError(
                f"{self.tokenizer.name_or_path}: the chat template does not take a conversation of the turns {roles}, "
                "or changes its words; leave such conversations out, or use another base"
            )
        ids, said = list(layout[0]), [False] * len(layout[0])
        for (role, text), behind in zip(turns, layout[1:], strict=True):
            words, answer = self._encode(text, special=False), role == "assistant"
            ids += words + behind
            said += [answer] * len(words) + [answer and i == 0 for i in range(len(behind))]
        return ids, said

    def _layout(self, roles: tuple[str, ...]) -> list[list[int]] | None:
        """What the template puts before, between and after the texts of turns of these roles; None if it cannot."""
        if roles not in self._layouts:
            self._layouts[roles] = self._lay_out(roles)
        return self._layouts[roles]

    def _lay_out(self, roles: tuple[str, ...]) -> list[list[int]] | None:
        from jinja2 import TemplateError  # templates refuse roles by raising it

        marks = [f"\ue000{i}\ue000" for i in range(len(roles))]
        turns = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            asked, told = self._render(turns[:-1], add_generation_prompt=True), self._render(turns)
        except TemplateError:
            return None
        if any(asked.count(mark) != 1 for mark in marks[:-1]) or any(told.count(mark) != 1 for mark in marks):
            return None
        pieces = []
        for mark in marks[:-1]:
            before, _, asked = asked.partition(mark)
            pieces.append(self._encode(before, special=True))
        closing = self._encode(told.partition(marks[-1])[2], special=True)
        return [*pieces, self._encode(asked, special=True), closing[:1]]

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return self._encode(text, special=False)

    def length(self, text: str) -> int:
        """The number of tokens of plain text. It is cached, since the same tags are measured again and again."""
        return self._length(text)

    def _render(self, messages: list[dict[str, str]], **options: Any) -> str:
        rendered: str = self._renderer.apply_chat_template(
            messages,
            tokenize=False,
            enable_thinking=False,  # read by templates that can think first (Qwen3), ignored by all others
            **options,
        )
        return rendered

    def _encode(self, text: str, special: bool) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        return ids
