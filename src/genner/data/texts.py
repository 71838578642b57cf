"""The texts to extract from."""

import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from genner.data.jsonl import read_records, recode
from genner.document import Document
from genner.errors import DataError, UsageError


def read_texts(path_or_dash: str) -> Iterator[Document]:
    """The texts to extract from, as documents without entities.

    `x.txt` is one document with id `x`; `x.jsonl` has an object with a `text` a line, whose `entities` play no part and
    whose other fields are kept (`Document.extra`); `-` is standard input, one document with id `stdin`. A byte order
    mark at the start is not part of the text; all else is, NUL characters and carriage returns too. Raises at once:
    `UsageError` on any other suffix, `DataError` when the file cannot be opened or is not UTF-8; on a bad line when it
    is reached.
    """
    if path_or_dash == "-":
        return iter([Document(_decode(sys.stdin.buffer.read(), "standard input"), id="stdin")])
    path = Path(path_or_dash)
    match path.suffix.lower():
        case ".txt":
            with _open(path) as file:
                return iter([Document(_decode(file.read(), str(path)), id=path.stem)])
        case ".jsonl":
            _open(path).close()  # a wrong path is better known now than after a model was loaded
            return read_records(path, lambda record: Document.from_dict({**record, "entities": ()}))
        case suffix:
            raise UsageError(
                f"{path_or_dash!r} ends in {suffix!r}; legal: .txt (one document a file), .jsonl (one object with "
                "a 'text' a line), or - (standard input); convert or rename it"
            )


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(str(path), "there is no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(str(path), "is a folder; name a file in it") from None
    except PermissionError:
        raise DataError(str(path), "may not be read by this user; change its permissions") from None
    except OSError as error:
        raise DataError(str(path), f"cannot be read: {error.strerror}") from None


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(where, f"invalid UTF-8 at byte {error.start}; {recode(data)}") from None
