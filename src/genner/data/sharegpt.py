"""Conversations for training chat models: a task with its text, and the answer in one of genner's answer formats.

    [{"conversations": [{"from": "human", "value": "Mark names.\\nText:\\nAda met Bob."},
      {"from": "gpt", "value": "<PER>Ada</PER> met Bob."}]}]

ShareGPT's names (`conversations`, `from`, `value`, `human`, `gpt`) and OpenAI's (`messages`, `role`, `content`, `user`,
`assistant`) are read. The text is what follows `Text:` in the user's turn, or the whole turn if the answer fits it;
else it is the inline answer with its tags removed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from genner.data.answers import Exchange, decoded
from genner.data.base import ReadLog
from genner.data.records import JsonRecord, RecordSyntax, lacks
from genner.document import Document
from genner.errors import DocumentError
from genner.prompts import text_in

TURNS = ("conversations", "messages", "conversation")
SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


@dataclass(frozen=True)
class ShareGpt(RecordSyntax):
    """Conversations of one question and one answer; one without an answer is left out.

    Options: `format` is the answers' format; `labels` are as on the command line (`PER,ORG`, `genia`), by default those
    that the task lists or that the file's answers use.
    """

    name: ClassVar[str] = "sharegpt"
    title: ClassVar[str] = "ShareGPT's conversations"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl")
    writes: ClassVar[bool] = False

    format: str = "inline_xml"
    labels: str = ""

    @classmethod
    def recognizes_record(cls, record: Any) -> bool:
        turns = next((record[key] for key in TURNS if key in record), ()) if isinstance(record, dict) else ()
        named = [t.keys() for t in turns if isinstance(t, dict)] if isinstance(turns, list) else []
        return any({"from", "value"} <= keys or {"role", "content"} <= keys for keys in named)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        return decoded(source, read_log, _exchange, self.format, self.labels, frozenset({*TURNS, "id", "system"}))


def _exchange(record: JsonRecord) -> Exchange | None:
    turns = next((turns for key in TURNS if isinstance(turns := record.get(key), list)), None)
    if turns is None:
        raise DocumentError(lacks(record, *TURNS, what="list "))
    said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
    for turn in turns:
        match turn:
            case {"from": str(role), "value": str(value)} | {"role": str(role), "content": str(value)}:
                if role not in SHAREGPT_ROLES:
                    raise DocumentError(f"a turn is by {role!r}; legal: {', '.join(SHAREGPT_ROLES)}")
                said[SHAREGPT_ROLES[role]].append(value)
            case _:
                raise DocumentError(f"a turn is {str(turn)[:80]!r}; legal: an object with 'from' and 'value', strings")
    if not said["assistant"]:
        return None
    if len(said["user"]) != 1 or len(said["assistant"]) != 1:
        raise DocumentError(
            f"has {len(said['user'])} questions and {len(said['assistant'])} answers; legal: one of each; split it"
        )
    system = record.get("system")
    task = "\n".join([*([system] if isinstance(system, str) else []), *said["system"], said["user"][0]])
    text = text_in(said["user"][0])
    answer = said["assistant"][0]
    return Exchange(task, said["user"][0] if text is None else text, answer, certain=text is not None)
