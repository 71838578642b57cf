"""A fast tokenizer straight from its files, without transformers, as `Chat` and `Vocabulary` need it.

transformers wraps the same Rust tokenizer in modules that take a second to import. It adds the chat template and a
choice of special tokens. Where it would change the tokenizer itself, this one is not used. The tests compare the two.
"""

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

# Settings that have no effect, or are handled here; with any other in the config, transformers is used.
_KNOWN = {"tokenizer_class", "model_max_length", "clean_up_tokenization_spaces", "chat_template", "backend", "is_local"}
_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}  # others rebuild the tokenizer by their own rules
_SPECIAL = {f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
_OTHER_FILES = ("added_tokens.json", "special_tokens_map.json", "chat_templates", "additional_chat_templates")


def read_tokenizer(folder: Path) -> "FastTokenizer | None":
    """The tokenizer in this folder; None if transformers has to load it."""
    template = folder / "chat_template.jinja"
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        special = {name: config[name] for name in _SPECIAL & config.keys() if config[name] is not None}
        source = template.read_text(encoding="utf-8") if template.is_file() else config.get("chat_template")
        if (
            config.get("tokenizer_class") not in _CLASSES
            or config.keys() - _KNOWN - _SPECIAL
            or not isinstance(source, str)
            or any((folder / name).exists() for name in _OTHER_FILES)
        ):
            return None
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        _compiled(source)
    except Exception:  # of any kind (tokenizers raises Exception itself): transformers says what is wrong
        return None
    known = {added.content for added in backend.get_added_tokens_decoder().values() if added.special}
    # transformers would add special tokens that the tokenizer does not know as such.
    return FastTokenizer(backend, source, special, str(folder)) if {*special.values()} <= known else None


class FastTokenizer:
    """The part of a transformers tokenizer that genner uses.

    Args:
        backend: the tokenizer; its truncation and padding are switched off.
        chat_template: in Jinja.
        special: special tokens by transformers' names, which templates may use.
        name_or_path: its name in messages.
    """

    def __init__(self, backend: Tokenizer, chat_template: str, special: dict[str, str], name_or_path: str) -> None:
        backend.no_truncation()
        backend.no_padding()
        self.backend_tokenizer, self.name_or_path = backend, name_or_path
        self.chat_template = chat_template
        self._special = special

    def __call__(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> dict[str, list[int]]:
        self.backend_tokenizer.encode_special_tokens = split_special_tokens
        return {"input_ids": self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def get_vocab(self) -> dict[str, int]:
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        return self.backend_tokenizer.get_added_tokens_decoder()

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return self.backend_tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False, **options: Any
    ) -> Any:
        """The conversation as the template writes it. Templates see the same names as in transformers."""
        assert not tokenize
        return _compiled(self.chat_template).render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **self._special,
            **options,
        )


@cache
def _compiled(template: str) -> Any:
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)
