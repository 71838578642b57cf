"""The file syntaxes by name, their command line options, and guessing the syntax of a file."""

import types
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources.abc import Traversable
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from genner.data.ace import Ace2005
from genner.data.alpaca import Alpaca
from genner.data.base import Syntax, open_binary
from genner.data.brat import Brat
from genner.data.conll import Conll
from genner.data.conll2012 import Conll2012
from genner.data.doccano import Doccano
from genner.data.file_opening import refuse_encoded, visible
from genner.data.genia import Genia
from genner.data.gliner import GlinerJson
from genner.data.gliner2 import Gliner2
from genner.data.hf import HuggingFace
from genner.data.hf_json import HuggingFaceJson
from genner.data.json_head import breaks_off, broken_json
from genner.data.jsonl import Jsonl
from genner.data.label_studio import LabelStudio
from genner.data.label_studio_min import LabelStudioMin
from genner.data.langextract_jsonl import Langextract
from genner.data.ontonotes import OntoNotesName
from genner.data.prodigy import Prodigy
from genner.data.records import RecordSyntax
from genner.data.sharegpt import ShareGpt
from genner.data.spacy_bin import SpacyDocBin
from genner.data.spacy_json import SpacyJson
from genner.data.token_csv import TokenCsv
from genner.data.unread import unread, unread_beginning, unread_record
from genner.errors import DataError, UnknownNameError, UsageError

# Guessing tries them in this order, the most specific first.
SYNTAXES: dict[str, type[Syntax]] = {
    "spacy": SpacyDocBin,
    "hf": HuggingFace,
    "ace2005": Ace2005,
    "brat": Brat,
    "genia": Genia,
    "conll2012": Conll2012,
    "ontonotes": OntoNotesName,
    "gliner": GlinerJson,
    "gliner2": Gliner2,
    "label_studio": LabelStudio,
    "label_studio_min": LabelStudioMin,
    "langextract": Langextract,
    "spacy_json": SpacyJson,
    "hf_json": HuggingFaceJson,
    "sharegpt": ShareGpt,
    "alpaca": Alpaca,
    "prodigy": Prodigy,
    "doccano": Doccano,
    "jsonl": Jsonl,
    "token_csv": TokenCsv,
    "conll": Conll,
}

HEAD = 1 << 16  # bytes of a file that guessing looks at


def syntax(text: str) -> Syntax:
    """The syntax that `name` or `name:option=value,...` describes.

    A part without `=` continues the previous value: `alpaca:labels=PER,ORG,format=inline_xml` has two options.
    Raises `UnknownNameError` on the name, `UsageError` naming the legal options or values.
    """
    name, _, rest = text.partition(":")
    if name not in SYNTAXES:
        raise UnknownNameError("syntax", name, SYNTAXES)
    kind = SYNTAXES[name]
    given: dict[str, str] = {}
    last = ""
    for part in rest.split(",") if rest else []:
        key, equals, value = part.partition("=")
        if equals:
            last = key.strip()
            given[last] = value
        elif last:
            given[last] += f",{part}"
        else:
            raise UsageError(f"{text!r}: {part!r} is no option=value; options of {name}: {describe_options(kind)}")
    hints = get_type_hints(kind)
    legal = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in legal:
            raise UsageError(f"{text!r}: {name} has no option {key!r}; it has: {describe_options(kind)}")
    return kind(**{key: _typed(value, hints[key], f"{name}:{key}") for key, value in given.items()})


def describe_options(kind: type[Syntax]) -> str:
    """The options of a syntax with their legal values: `column=number, scheme=iob1|iob2`."""
    hints = get_type_hints(kind)
    return ", ".join(f"{f.name}={_legal(hints[f.name])}" for f in fields(kind)) or "none"  # type: ignore[arg-type]


def _alternatives(hint: Any) -> list[Any]:
    """The types that an option may have, except None."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for kind in get_args(hint) if kind is not type(None)]
    return [hint]


def _legal(hint: Any) -> str:
    names = {str: "text", int: "number", float: "number", bool: "true|false", Path: "path"}
    return "|".join(
        "|".join(map(str, get_args(kind)))
        if get_origin(kind) is Literal
        else "a,b,..."
        if get_origin(kind) is tuple
        else names.get(kind, str(kind))
        for kind in _alternatives(hint)
    )


def _typed(value: str, hint: Any, where: str) -> Any:
    for kind in _alternatives(hint):
        if get_origin(kind) is Literal:
            if match := [legal for legal in get_args(kind) if str(legal) == value]:
                return match[0]
        elif get_origin(kind) is tuple:
            return tuple(part.strip() for part in value.split(",") if part.strip())
        elif kind is bool:
            if value.lower() in ("true", "false", "yes", "no", "1", "0"):
                return value.lower() in ("true", "yes", "1")
        elif kind in (int, float, Path, str):
            try:
                return kind(value)
            except ValueError:
                continue
    raise UsageError(f"{where}={value!r} is not legal; legal: {_legal(hint)}")


def guess(source: Traversable) -> Syntax:
    """The syntax of a file or folder, by its content, then by its suffix. Raises `UsageError` if none recognizes it."""
    head = beginning(source)
    refuse_encoded(source, head)
    if head[257:262] == b"ustar" and not Genia.recognizes(source, head):
        raise DataError(str(source), "is a tar archive; unpack it with: tar xf FILE, and name a file or folder of it")
    found = recognized(source, head)
    if found is not None:
        return found
    by_suffix = list(_with_suffix(source.name))
    if len(by_suffix) == 1 and not unread_beginning(head):
        return by_suffix[0]()
    if source.is_file() and not head.strip() and Jsonl in by_suffix:
        return Jsonl()  # no records in any syntax
    if source.is_dir():
        raise UsageError(_folder(source))
    if error := broken_json(head):
        raise DataError(str(source), *error)
    raise UsageError(
        f"cannot tell what {str(source)!r} is: {unread(source, head) or 'nothing in it says'}; if you know its syntax, "
        "say so with --from NAME (reader=NAME in Python); docs/data.md lists them"
    )


def looks_like(record: object) -> str:
    """The kind of a JSON record that is not genner's own, and the syntax that reads it; empty if unknown."""
    for kind in SYNTAXES.values():
        if issubclass(kind, RecordSyntax) and kind.recognizes_record(record):
            if kind is Jsonl:
                return ""
            return f"it looks like {kind.title}; read it with --from {kind.name} (reader={kind.name!r} in Python)"
    return unread_record(record)


def beginning(source: Traversable) -> bytes:
    """The first unpacked bytes of a file, enough to recognize it. Empty for a folder."""
    if not source.is_file():
        return b""
    with open_binary(source) as file:
        head = file.read(HEAD)
        # A longer record is easier to recognize when complete.
        return head + file.read(16 * HEAD) if breaks_off(head) else head


def recognized(source: Traversable, head: bytes | None = None) -> Syntax | None:
    """The syntax that recognizes a file or folder by its content, which begins with `head`."""
    head = beginning(source) if head is None else head
    for kind in SYNTAXES.values():
        if kind.recognizes(source, head):
            return kind()
    return None


def _folder(source: Traversable) -> str:
    """Why a folder, or an archive, cannot be read as a whole, and what in it can be read."""
    names = [child.name for child in visible(source)]
    if not names:
        return f"{str(source)!r} is empty; name a file or a folder that holds some"
    shown = f"{', '.join(names[:8])}{f' and {len(names) - 8} others' if len(names) > 8 else ''}"
    one, all_ = (str(source.joinpath(name)) for name in (names[0], "*" + PurePath(names[0]).suffix))
    return (
        f"{str(source)!r} holds {shown}; name one, as {one!r}, or a pattern in quotes, as {all_!r} (a folder of brat, "
        "hf, ace2005, conll2012 or ontonotes is read as a whole with --from)"
    )


def guess_target(path: Path) -> Syntax:
    """The syntax for writing a file of this name. Raises `UsageError` when its suffix does not decide it."""
    writers = [kind for kind in _with_suffix(path.name) if kind.writes]
    if path.suffix == ".jsonl":
        writers = [SYNTAXES["jsonl"]]
    if len(writers) != 1:
        some = ", ".join(kind.name for kind in writers) or ", ".join(n for n, k in SYNTAXES.items() if k.writes)
        raise UsageError(f"the name {path.name!r} does not say which syntax to write; name it with --to: {some}")
    return writers[0]()


def _with_suffix(name: str) -> Iterator[type[Syntax]]:
    names = name.lower(), name.lower().removesuffix(".gz")
    return (kind for kind in SYNTAXES.values() if any(n.endswith(kind.suffixes) for n in names))
