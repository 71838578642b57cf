"""Opening files: plain, gzipped, or in a zip archive. Damaged and endless files and decompression bombs are refused.

Compressed data may expand to `RATIO` times its size, or to `FLOOR` bytes if that is more; a bomb expands further. The
environment variable `GENNER_MAX_UNPACKED` sets another limit, in bytes.
"""

import glob
import gzip
import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from genner.errors import DataError, UnreadableError, UsageError

RATIO = 200
FLOOR = 1 << 28
LIMIT = "GENNER_MAX_UNPACKED"
DEEPEST = 64  # depth of folders in an archive; `zipfile` takes quadratic time in it

# First bytes of unsupported files, what they are, and the command that makes them readable.
ENCODED = {
    b"\xff\xfe\0\0": ("UTF-32", "iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    b"\xff\xfe": ("UTF-16", "iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    b"\xfe\xff": ("UTF-16", "iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    b"BZh": ("packed with bzip2", "bunzip2 FILE"),
    b"\xfd7zXZ\0": ("packed with xz", "unxz FILE"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unzstd FILE"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z x FILE"),
    b"Rar!\x1a\x07": ("a RAR archive", "unrar x FILE"),
}

_UNMARKED = 8  # bytes of ASCII in UTF-16 at the beginning by which it is told
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# Errors that `gzip` and `zipfile` raise on damaged data.
_DAMAGE = (
    zlib.error,
    zipfile.BadZipFile,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
    OSError,
)


@contextmanager
def open_binary(source: Traversable) -> Iterator[io.BufferedReader]:
    """Open a file for reading, unpack gzip, and skip a byte order mark.

    Raises `UnreadableError` when it cannot be read: it does not exist, is a folder, a device or a pipe, is damaged or
    encrypted, or unpacks to more than the limit. Damage is found when the read reaches it.
    """
    try:
        with _open(source) as file:
            if file.read(3) != _BOM:
                file.seek(0)
            yield file
    except OSError as error:
        raise UnreadableError(str(source), f"cannot be read: {error.strerror or error}") from None


@contextmanager
def _open(source: Traversable) -> Iterator[io.BufferedReader]:
    refuse_endless(source)
    try:
        raw = cast(io.BufferedReader, source.open("rb"))
    except (FileNotFoundError, KeyError):
        raise UnreadableError(str(source), "there is no such file; check the path") from None
    except IsADirectoryError:
        raise UnreadableError(str(source), f"is a folder; name a file in it{_within(source)}") from None
    except PermissionError:
        raise UnreadableError(str(source), "may not be read by this user; change its permissions") from None
    except RuntimeError as error:
        _encrypted(source, error)
    except _DAMAGE as error:
        raise UnreadableError(str(source), _damaged(error)) from None
    with raw:
        zipped = isinstance(raw, zipfile.ZipExtFile)
        size = _size(source)
        file = cast(io.BufferedReader, io.BufferedReader(_Unpacked(raw, source, size))) if zipped else raw
        packed = file.read(2) == _GZIP
        file.seek(0)
        if packed:
            file = io.BufferedReader(_Unpacked(cast(BinaryIO, gzip.GzipFile(fileobj=file)), source, size))
        yield file


class _Unpacked(io.RawIOBase):
    """A file that is unpacked while it is read; damage and data beyond the limit raise `UnreadableError`."""

    def __init__(self, file: BinaryIO, source: Traversable, size: int) -> None:
        self._file = file
        self._source = source
        self._limit = max_unpacked(size)
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        try:
            data = self._file.read(len(view))
        except _DAMAGE as error:
            raise UnreadableError(str(self._source), _damaged(error)) from None
        view[: len(data)] = data
        if self._file.tell() > self._limit:
            raise UnreadableError(str(self._source), self._bomb())
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:  # the end is known only once reached; a bomb never gets there
            while self.readinto(bytearray(1 << 16)):
                pass
        at = offset + (0 if whence == os.SEEK_SET else self._file.tell())
        if at > self._limit:
            raise UnreadableError(str(self._source), self._bomb())
        try:
            return self._file.seek(at)
        except _DAMAGE as error:
            raise UnreadableError(str(self._source), _damaged(error)) from None

    def tell(self) -> int:
        return self._file.tell()

    def _bomb(self) -> str:
        return (
            f"unpacks to over {self._limit:,} bytes from {self._size:,}, as only a bomb does; if it is sound, set the "
            f"environment variable {LIMIT} to the bytes that it may have"
        )


def max_unpacked(size: int) -> int:
    """How many bytes `size` packed bytes may expand to. Raises `UsageError` on a limit that is not a number."""
    given = os.environ.get(LIMIT, "").strip()
    if not given:
        return max(FLOOR, RATIO * size)
    if not (given.isascii() and given.isdigit()):
        raise UsageError(f"{LIMIT}={given!r} is not legal; legal: a number of bytes, as 20000000000")
    return int(given)


def refuse_endless(source: Traversable) -> None:
    """Raise `UnreadableError` for a device, a pipe or a socket, whose data may have no end."""
    if not isinstance(source, Path):
        return
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError):
        return  # opening the file reports it
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UnreadableError(str(source), "is a device or a pipe, not a regular file; save its data in a file first")


def refuse_encoded(source: Traversable, head: bytes) -> None:
    """Raise `DataError` for a file that begins with `head` and is packed or encoded in an unsupported way."""
    for beginning, (title, command) in ENCODED.items():
        if head.startswith(beginning):
            raise DataError(str(source), f"is {title}; convert it with: {command}")
    for order, first in (("UTF-16LE", 0), ("UTF-16BE", 1)):  # without a byte order mark
        letters, nuls = head[first:_UNMARKED:2], head[1 - first : _UNMARKED : 2]
        if len(nuls) > 1 and not nuls.strip(b"\0") and b"\0" not in letters:
            raise DataError(str(source), f"is {order}; convert it with: iconv -f {order} -t UTF-8 OLD > NEW")


def recode(data: bytes) -> str:
    """The command that converts bytes that are not UTF-8."""
    encoding = "UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "ISO-8859-1"
    return f"convert it from the encoding it is in, as with: iconv -f {encoding} -t UTF-8 OLD > NEW"


def open_source(path: Path) -> Traversable:
    """The file or folder at `path`, which may be a zip archive or continue into one (`corpus.zip/train.jsonl`).

    An archive that holds one file, or one folder, stands for it. Raises `UnreadableError` when `path` does not exist,
    or the archive is damaged.
    """
    try:
        for archive in (path, *path.parents):
            if archive.is_file() and _is_archive(archive):
                return _in_archive(archive, path)
        there = path.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise UnreadableError(str(path), f"is no path: {error}") from None
    if not there:
        raise UnreadableError(str(path), "there is no such file or folder; check the path")
    refuse_endless(path)
    return path


def open_sources(path: Path) -> list[Traversable]:
    """What `open_source` returns, or if `path` does not exist and is a pattern (`corpus/*.conll`), all matches.

    A pattern may also stand for files in an archive (`corpus.zip/*.conll`). Raises `UnreadableError` when none matches.
    """
    with suppress(OSError, ValueError):
        if glob.has_magic(str(path)) and not path.exists():
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - a pattern has no folder to start from
            found = [open_source(Path(name)) for name in sorted(names)]
            if not found and not glob.has_magic(str(path.parent)):
                found = [f for f in visible(open_source(path.parent)) if fnmatch(f.name, path.name)]
            if not found:
                raise UnreadableError(str(path), "no file matches this pattern; check the path")
            return found
    return [open_source(path)]


def _is_archive(path: Path) -> bool:
    # `zipfile.is_zipfile` checks only the end, which may hold anything in a text file.
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    if path.suffix.lower() == ".zip" and head not in _ZIP:
        raise UnreadableError(str(path), "is no zip archive, whatever its name says; fetch it again")
    return head in _ZIP


def _in_archive(archive: Path, path: Path) -> Traversable:
    inside = path.relative_to(archive).as_posix()
    try:
        opened = zipfile.ZipFile(archive)
    except RuntimeError as error:
        _encrypted(archive, error)
    except _DAMAGE as error:
        raise UnreadableError(str(archive), _damaged(error)) from None
    for name in opened.namelist():
        parts = name.removesuffix("/").split("/")
        if not all(parts) or {".", ".."} & set(parts):
            raise UnreadableError(str(archive), f"holds an entry named {name!r}, which is no path; pack it again")
        if len(parts) > DEEPEST:
            raise UnreadableError(str(archive), f"holds folders within folders more than {DEEPEST} deep; pack it again")
    found = zipfile.Path(opened, "" if inside == "." else inside)
    if found.at and not found.exists():
        found = zipfile.Path(opened, inside + "/")  # archives mark folders so
    while found.is_dir() and len(children := visible(cast(Traversable, found))) == 1:
        found = cast(zipfile.Path, children[0])
    if not found.exists() and found.at:  # the archive's root has no entry of its own
        raise UnreadableError(
            str(path), f"there is no such file in the archive{_within(cast(Traversable, zipfile.Path(opened)))}"
        )
    return cast(Traversable, found)


def visible(folder: Traversable) -> list[Traversable]:
    """The contents of a folder, sorted by name, without hidden files and those that macOS adds to archives."""
    shown = (child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX")))
    return sorted(shown, key=lambda child: child.name)


def _within(folder: Traversable) -> str:
    """The names in a folder, for a message."""
    try:
        names = [child.name for child in visible(folder)]
    except OSError:
        return ""
    return f"; it holds: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "; it is empty"


def _size(source: Traversable) -> int:
    """The size of a file on disk in bytes; in an archive, of its entry."""
    if isinstance(source, zipfile.Path):
        return source.root.getinfo(source.at).compress_size
    return source.stat().st_size if isinstance(source, Path) else 0


def _damaged(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {error.strerror}"
    kind = "zip archive" if isinstance(error, zipfile.BadZipFile) else "packed file"
    kind = "gzip file" if isinstance(error, gzip.BadGzipFile | zlib.error | EOFError) else kind
    return f"is a broken {kind}: {error or type(error).__name__}; fetch it again"


def _encrypted(source: object, error: RuntimeError) -> NoReturn:
    if "encrypted" in str(error) or "password" in str(error):
        raise UnreadableError(str(source), "is encrypted; unpack the archive with its password first") from None
    raise UnreadableError(str(source), f"is a broken zip archive: {error}; fetch it again") from None
