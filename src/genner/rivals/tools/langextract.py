"""langextract: an LLM behind an endpoint, prompted with examples; its mentions are aligned with the text.

Package: `langextract[openai]`, with its own client for endpoints that speak as OpenAI's. A mention that langextract
aligned inexactly is kept where it put it (`realigned`); one without a place is searched for, or left out. If a part of
a text gets no answer (`failed`) or one that cannot be read (`invalid`), the entities of that text are unknown.
There are no scores.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Any, ClassVar

from genner.document import Problem
from genner.errors import UsageError
from genner.rivals.tools.base import Tool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.rivals.words import WordEntity
from genner.toml_config import check


@dataclass(frozen=True)
class LangExtractOptions:
    """Options of the package.

    Attributes:
        model: the model's name at the endpoint.
        base_url: the endpoint's address, as `http://localhost:8000/v1`.
        key_env: the environment variable with the key; empty: none is sent but a placeholder.
        examples: annotated documents, in any file syntax, of which the first `shots` with entities are shown.
        shots: how many of them.
        max_char_buffer: characters of a text that are asked about at once.
        passes: how often each text is asked about.
        max_output_tokens: the maximum length of an answer; 0: the endpoint's own. Small models may never end.
        max_workers: questions at once.
        constrained: let the endpoint enforce a JSON schema.
    """

    model: str = ""
    base_url: str = ""
    key_env: str = ""
    examples: str = ""
    shots: int = 3
    max_char_buffer: int = 1000
    passes: int = 1
    max_output_tokens: int = 0
    max_workers: int = 10
    constrained: bool = False

    def __post_init__(self) -> None:
        where = "options of langextract"
        check(self, where, shots=(1, 1000), max_char_buffer=(1, inf), passes=(1, 100), max_workers=(1, 1000))
        check(self, where, max_output_tokens=(0, inf))


class LangExtractTool(Tool):
    """An LLM behind an endpoint, prompted with examples (Google 2025)."""

    name = package = "langextract"
    options_type = LangExtractOptions
    training: ClassVar[str] = "an LLM is prompted with the documents of the option examples"
    files = ("examples",)
    unsigned = ("base_url", "key_env", "max_workers")

    def clashes(self, entities: Sequence[WordEntity]) -> list[tuple[WordEntity, str]]:
        """See `Tool.clashes`. It may find any mention beside any other."""
        return []

    def load_model(self) -> Any:
        """What a call needs besides the text. Raises `UsageError` for an option that is missing."""
        from langextract import factory

        o = self.options
        for name in ("model", "base_url", "examples"):
            if not getattr(o, name):
                raise UsageError(f"langextract needs the option {name}; give --set {name}=...")
        if o.key_env and not os.environ.get(o.key_env):
            raise UsageError(f"langextract: the environment variable {o.key_env} is not set; put the key there")
        length = {"max_output_tokens": o.max_output_tokens} if o.max_output_tokens else {}
        config = factory.ModelConfig(
            model_id=o.model,
            provider="OpenAILanguageModel",
            provider_kwargs={
                "api_key": os.environ[o.key_env] if o.key_env else "none",
                "base_url": o.base_url,
                "temperature": 0.0,
                "max_workers": o.max_workers,
                **length,
            },
        )
        return {"config": config, "examples": self._examples(), "prompt_description": self._prompt()}

    def find(self, model: Any, texts: Sequence[str]) -> list[ToolAnswer]:
        """See `Tool.find`."""
        return [self._asked(model, text) for text in texts]

    def _asked(self, model: dict[str, Any], text: str) -> ToolAnswer:
        import langextract
        from langextract.core.exceptions import LangExtractError
        from langextract.prompt_validation import PromptValidationLevel
        from langextract.resolver import ResolverParsingError

        o = self.options
        try:
            found = langextract.extract(
                text,
                **model,
                max_char_buffer=o.max_char_buffer,
                extraction_passes=o.passes,
                max_workers=o.max_workers,
                batch_length=o.max_workers,
                use_schema_constraints=o.constrained,
                resolver_params={"suppress_parse_errors": False},
                prompt_validation_level=PromptValidationLevel.OFF,
                show_progress=False,
            )
        except ResolverParsingError as error:
            return ToolAnswer((), (Problem("invalid", _first(error)),))
        except LangExtractError as error:
            return ToolAnswer((), (Problem("failed", _first(error)),))
        entities, problems = [], list[Problem]()
        for said in found.extractions or ():
            place = said.char_interval
            start, end = (place.start_pos, place.end_pos) if place else (None, None)
            mention = said.extraction_text
            inexact = start is not None and end is not None and text[start:end] != mention
            if inexact:
                problems.append(Problem("realigned", f"{mention!r} was aligned with {text[start:end]!r}"))
            entities.append(Found(start, end, said.extraction_class, None if inexact else mention))
        return ToolAnswer(entities, tuple(problems))

    def _examples(self) -> list[Any]:
        from langextract import data

        from genner.data import read_corpus

        name_of = {tag: name for name, tag in self.tags.items()}
        with_entities = (
            (d.text, [(name_of[e.label], e.text) for e in d.entities if e.label in name_of])
            for d in read_corpus(self.options.examples)
        )
        shown = list(islice((pair for pair in with_entities if pair[1]), self.options.shots))
        if not shown:
            raise UsageError(
                f"langextract: {self.options.examples!r} has no entity of {', '.join(self.labels.tags)}; name "
                "annotated documents with --set examples=FILE"
            )
        return [
            data.ExampleData(text, [data.Extraction(name, mention) for name, mention in entities])
            for text, entities in shown
        ]

    def _prompt(self) -> str:
        lines = "\n".join(
            f"- {name}: {label.definition}" if label.definition else f"- {name}"
            for name, label in zip(self.tags, self.labels, strict=True)
        )
        return f"Extract all entities of these classes, in order of appearance, with their exact text:\n{lines}"


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
