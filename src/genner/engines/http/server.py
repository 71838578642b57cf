"""Finding out what is at an address: the kind of server, its models, and how many tokens it takes."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from genner.engines.http.failures import Failed
from genner.engines.http.options import OPENAI, Structured
from genner.engines.http.reply import unpaired
from genner.engines.http.structured import ServerKind
from genner.errors import GennerError, UsageError

_VERSION = re.compile(r"([-@:_](v?\d[\d.-]*|latest))?")
NAMED = 20  # models listed in a message


class Answer(NamedTuple):
    """The status of a GET request, and its JSON; None for what is no JSON."""

    status: int
    record: Any


Get = Callable[[str, bool], Awaitable[Answer]]
"""Asks for an address; `again`: repeatedly, while the server is starting or busy."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server is.

    Attributes:
        kind: which program or service it is, as far as it shows.
        base_url: its address up to `/v1`.
        models: the names of its models; empty if it does not list them.
        window: tokens that prompt and answer may take up together; None if it does not say.
        aliases: other names of the chosen model, which it may use in replies.
        identity: what else tells the model from another one of the same name; empty if it says nothing.
        slots: how many requests it answers at one time; None if it does not say.
    """

    kind: ServerKind
    base_url: str
    models: tuple[str, ...] = ()
    window: int | None = None
    aliases: frozenset[str] = frozenset()
    identity: str = ""
    slots: int | None = None

    @property
    def chat_url(self) -> str:
        return f"{self.base_url}/chat/completions"


@dataclass(frozen=True)
class KnownServer:
    """What was found out about a server and one of its models.

    Attributes:
        facts, model: the server, and the name of the model there.
        steps: the modes of structured output to try, the best first.
        logprobs: whether log-probabilities are asked for.
        left_out: fields that it refuses.
        most_tokens: the longest answer that it writes, where it has said so.
    """

    facts: ServerFacts
    model: str
    steps: tuple[Structured, ...]
    logprobs: bool
    left_out: frozenset[str] = frozenset()
    most_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What decides how it is asked, as JSON types."""
        about = self.facts
        facts = {"kind": about.kind, "base_url": about.base_url, "window": about.window, "identity": about.identity}
        mine = {"model": self.model, "steps": self.steps, "logprobs": self.logprobs, "most_tokens": self.most_tokens}
        return {"facts": facts, **mine, "left_out": sorted(self.left_out)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """From the result of `to_json`."""
        facts, left_out = ServerFacts(**record["facts"]), frozenset(record["left_out"])
        return cls(facts, record["model"], tuple(record["steps"]), record["logprobs"], left_out, record["most_tokens"])


async def find_out(get: Get, base_url: str, model: str, any_model: bool = False) -> tuple[ServerFacts, str]:
    """The facts about a server, and the name of the model there: the only one of the server if `model` is empty.

    `get` raises errors for servers that cannot be reached and keys that are refused. Raises `UsageError` for what is no
    such endpoint, and for a model that the server does not have.
    """
    listed = await get(f"{base_url}/models", True)
    entries = _entries(listed.record)
    if entries is None and not urlsplit(base_url).path.rstrip("/"):
        other = await get(f"{base_url}/v1/models", True)
        if (found := _entries(other.record)) is not None:
            base_url, listed, entries = f"{base_url}/v1", other, found
    if entries is None and (listed.status == 200 or 300 <= listed.status < 400):
        raise UsageError(
            f"{base_url} is no OpenAI-compatible endpoint: {base_url}/models does not list models; give the address "
            "up to /v1 as --base-url"
        )
    if entries is None and not model:
        raise UsageError(
            f"{base_url}/models lists no models (status {listed.status}): correct --base-url, which mostly ends in "
            "/v1, or name a model of the server with --model"
        )
    root = base_url.removesuffix("/v1")
    kind, more = await _kind(get, root, urlsplit(base_url).hostname or "", entries or [])
    names = tuple(str(entry["id"]) for entry in entries or [])
    name = chosen_model(model, names, kind, any_model)
    if unpaired(name) != name:
        raise UsageError(f"model {name!r} has characters that are none; name a model of the server with --model")
    entry: Mapping[str, Any] = next((e for e in entries or [] if e["id"] == name), {})
    others = {str(entry[key]) for key in ("root", "canonical_slug", "name") if entry.get(key)}
    aliases = entry.get("aliases")
    others |= {str(alias) for alias in aliases} if isinstance(aliases, list) else set()
    if kind == "llama.cpp":  # has one model, and answers with its name or with the one that was asked for
        others |= {*names, str(more.get("model_path") or ""), str(more.get("model_alias") or "")} - {""}
    parent: Mapping[str, Any] = next((e for e in entries or [] if e["id"] == entry.get("parent")), {})
    window = _window(entry, more) or _window(parent, more)  # vLLM says it of the base of an adapter alone
    identity, slots = _identity(entry, more), _count(more.get("total_slots"))
    return ServerFacts(kind, base_url, names, window, frozenset(others), identity, slots), name


def _entries(record: Any) -> list[Mapping[str, Any]] | None:
    """The models that a server lists; None if this is no such list."""
    data = record.get("data") if isinstance(record, Mapping) else record
    if not isinstance(data, list):
        return None
    entries = [each for each in data if isinstance(each, Mapping) and each.get("id")]
    return entries if entries or not data else None


def chosen_model(model: str, names: tuple[str, ...], kind: ServerKind, any_model: bool) -> str:
    """The name to ask for. Raises `UsageError` for one that is not among `names`, unless `any_model`."""
    if not model:
        if len(names) == 1:
            return names[0]
        raise UsageError(f"name a model of the server with --model; {_list(names, '')}")
    if not names or model in names or any_model or kind == "llama.cpp":
        return model
    if kind == "ollama" and f"{model}:latest" in names:
        return f"{model}:latest"
    raise UsageError(f"the server has no model {model!r}; {_list(names, model)} (any_model=true asks for it anyway)")


def _list(names: tuple[str, ...], model: str) -> str:
    if not names:
        return "it does not list those that it has"
    close = get_close_matches(model, names, 3, 0.5)
    shown = [*close, *(name for name in sorted(names) if name not in close)]
    more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
    return f"it has: {', '.join(shown[:NAMED])}{more}"


async def _kind(
    get: Get, root: str, host: str, entries: list[Mapping[str, Any]]
) -> tuple[ServerKind, Mapping[str, Any]]:
    """The kind of server, and what it says of itself at the address that told it apart."""
    if host == OPENAI:
        return "openai", {}
    if host == "openrouter.ai" or host.endswith(".openrouter.ai"):
        return "openrouter", {}
    owners = {str(entry.get("owned_by", "")).lower() for entry in entries}
    if "vllm" in owners:
        return "vllm", {}
    if "sglang" in owners:
        return "sglang", {}
    # llama.cpp's server lists its model while it loads it.
    props = await _object(get, f"{root}/props", again="llamacpp" in owners)
    if "default_generation_settings" in props or "llamacpp" in owners:
        return "llama.cpp", props
    if "version" in await _object(get, f"{root}/api/version"):
        return "ollama", {}
    if "data" in await _object(get, f"{root}/api/v0/models"):
        return "lmstudio", {}
    return "unknown", {}


async def _object(get: Get, address: str, again: bool = False) -> Mapping[str, Any]:
    try:
        answer = await get(address, again)
    except (GennerError, Failed):  # other servers may answer with whatever they like
        if again:
            raise
        return {}
    return answer.record if answer.status == 200 and isinstance(answer.record, Mapping) else {}


def _window(entry: Mapping[str, Any], more: Mapping[str, Any]) -> int | None:
    settings = more.get("default_generation_settings")
    context = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    said = map(_count, (entry.get("max_model_len"), entry.get("context_length"), context))
    return next(filter(None, said), None)


def _count(said: Any) -> int | None:
    return said if type(said) is int and said > 0 else None


def _identity(entry: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    meta = entry.get("meta")
    parts = [entry.get("root"), more.get("model_path"), meta.get("size") if isinstance(meta, Mapping) else None]
    return " ".join(str(part) for part in parts if part)


def related(asked: str, said: str, aliases: frozenset[str]) -> bool:
    """Whether the model that a reply names is the one asked for: its name, a dated version of it, or its path."""
    if not said or said in aliases:
        return True
    one, other = _bare(asked), _bare(said)
    return other.startswith(one) and _VERSION.fullmatch(other[len(one) :]) is not None


def _bare(name: str) -> str:
    """The last part of a name: without an owner, folders, the ending of a file and Ollama's tag `latest`."""
    bare = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    for end in (".gguf", ":latest", ":free"):
        bare = bare.removesuffix(end)
    return bare
