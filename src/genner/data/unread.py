"""Kinds of files that genner recognizes but does not read: what they are, and what to export instead."""

from collections.abc import Callable
from importlib.resources.abc import Traversable
from typing import Any

from genner.data.json_head import first_values
from genner.data.json_stream import JsonRecord

# By title: what to do instead, and a test whether a record is of this kind.
UNREAD_RECORDS: dict[str, tuple[str, Callable[[JsonRecord], bool]]] = {
    "LightTag's export": (
        "write its examples as doccano's: content as text, annotations as label [[start, end, tag]]",
        lambda r: _has(r, "examples", "content") or ({"content", "annotations"} <= r.keys() and "example_id" in r),
    ),
    "UBIAI's export": (
        "export it as IOB_POS or spaCy instead",
        lambda r: {"document", "tokens"} <= r.keys() and ("documentName" in r or _has(r, "tokens", "entityLabel")),
    ),
    "tagtog's ann.json": (
        "its text is in another file; convert both to brat's standoff files",
        lambda r: {"annotatable", "anncomplete"} <= r.keys() or _has(r, "entities", "classId"),
    ),
    "Datasaur's schema": (
        "export it as CoNLL 2003 instead",
        lambda r: {"cells", "labelSets"} <= r.keys() or {"rows", "labelSets"} <= r.keys(),
    ),
    "Argilla's records": (
        "export them with to_datasets, and give the spans as entities [{start, end, label}]",
        lambda r: {"fields", "responses"} <= r.keys() or ({"text", "tokens"} <= r.keys() and "annotation" in r),
    ),
    "INCEpTION's UIMA CAS JSON": ("export it as CoNLL 2002 instead", lambda r: "%FEATURE_STRUCTURES" in r),
    "SQuAD's questions": ("it marks answers, not entities", lambda r: _has(r, "data", "paragraphs")),
    "labels of whole texts": (
        "for entities each label needs a start and an end",
        lambda r: "text" in r and any(_is_words(r.get(key)) for key in ("label", "labels", "cats")),
    ),
    "texts without annotations": (
        'find entities in them with genner extract, or write "entities": [] where there are none',
        lambda r: isinstance(r.get("text", r.get("content")), str) and r.get("entities") is None,
    ),
}
BEGINNINGS = {
    b"#FORMAT=WebAnno TSV": ("INCEpTION's WebAnno TSV", "export it as CoNLL 2002 instead"),
    b"# global.columns": ("CoNLL-U Plus", "read it with --from conll:column=N, the tags' column counted from 0"),
    b"<?xml": ("XML", "genner reads GENIA's and ACE 2005's; convert others to JSON lines"),
    b"%PDF": ("a PDF file", "annotated texts are text files"),
    b"PK\x03\x04": ("a zip archive, or a file of an office program", "name a file in it, as in x.zip/train.jsonl"),
}


def unread(source: Traversable, head: bytes) -> str:
    """What a file that no syntax recognizes seems to be, and what to do; empty if unknown."""
    if told := unread_beginning(head):
        return told
    if source.is_file() and not head.strip():
        return "it is empty"
    found = first_values(head)
    first = next((value for value in found if isinstance(value, dict)), None)
    if first is not None:
        return f"{unread_record(first) or 'no syntax has such records'}; its first record has: {_keys(first)}"
    if found:
        return f"holds JSON values of type {type(found[0]).__name__}, none of which is a record"
    return "an empty list" if head.split() in ([b"[]"], [b"[", b"]"]) else ""


def unread_beginning(head: bytes) -> str:
    """As `unread`, from the first bytes alone."""
    for beginning, (title, advice) in BEGINNINGS.items():
        if head.lstrip().startswith(beginning):
            return f"looks like {title}; {advice}"
    return ""


def unread_record(record: Any) -> str:
    """As `unread`, for one record."""
    held = next((k for k, v in record.items() if _is_records(v)), None) if isinstance(record, dict) else None
    if held is not None and not any(matches(record) for _, matches in UNREAD_RECORDS.values()):
        return f"seems to hold its records under {held!r}; take them out with: jq -c '.[\"{held}\"][]' OLD > NEW.jsonl"
    for title, (advice, matches) in UNREAD_RECORDS.items():
        if isinstance(record, dict) and matches(record):
            return f"looks like {title}; {advice}"
    return ""


def _keys(record: JsonRecord) -> str:
    named = [key if key.isprintable() else repr(key) for key in record] or ["nothing"]
    return ", ".join(named[:12]) + (f" and {len(named) - 12} more" if len(named) > 12 else "")


def _has(record: JsonRecord, key: str, inner: str) -> bool:
    """Whether the first object of the list under `key` has the key `inner`."""
    items = record.get(key)
    return isinstance(items, list) and any(isinstance(i, dict) and inner in i for i in items[:1])


def _is_records(value: Any) -> bool:
    """Whether a value is a list of objects that contain lists, like sentences with tokens and tags."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, dict) for v in value[:3])
        and any(isinstance(v, list) for v in value[0].values())
    )


def _is_words(value: Any) -> bool:
    return isinstance(value, str | dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )
