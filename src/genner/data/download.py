"""Download of one file: resumed after a break, retried, verified by hash, never left half written.

Proxies come from the environment (`https_proxy`, `no_proxy`, ...). `GENNER_DATA_MIRROR=https://mirror.example/files`
uses a mirror: `https://mirror.example/files/host/path` instead of `https://host/path`.
"""

import hashlib
import os
import time
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from genner.errors import DataError
from genner.model_store import locked

MIRROR = "GENNER_DATA_MIRROR"
ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte
MAX_DOWNLOAD_BYTES = 1 << 28  # bytes; the largest file of the corpora has 6 MB
_BLOCK = 1 << 16
_FINAL = (400, 401, 403, 404, 405, 410, 451)  # retrying does not help


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    git: str | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Download `url` to `target`, unless the complete file is already there.

    Args:
        sha256: its SHA-256.
        git: its git blob id, if nothing better is known.
        wait: called with the seconds to wait before another attempt.

    Raises `DataError` when it cannot be downloaded, or its hash differs.
    """
    if target.is_file() and _is(target, sha256, git):
        return
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock")):
            if target.is_file() and _is(target, sha256, git):  # another process was faster
                return
            _get(_from_mirror(url), partial, wait, url)
            if not _is(partial, sha256, git):
                partial.unlink()
                raise DataError(url, "is not the file that genner knows: its hash differs; look for a newer genner")
            partial.replace(target)
    except OSError as error:
        raise DataError(str(target), f"cannot be written: {error.strerror or error}") from None


def _get(actual: str, partial: Path, wait: Callable[[float], None], url: str) -> None:
    """Download into `partial`, resuming from its current content."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            wait(2.0**attempt)
        try:
            if _ask(actual, partial):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code == 416:  # the partial file is longer than the whole
                partial.unlink(missing_ok=True)
            elif error.code in _FINAL:
                break
        except (HTTPException, TimeoutError, ConnectionError, OSError) as error:
            if isinstance(error, OSError) and error.filename:  # a disk error, not a network error
                raise
            reason = str(getattr(error, "reason", error)) or type(error).__name__
    asked = url if actual == url else f"{actual} ({MIRROR} for {url})"
    raise DataError(
        asked,
        f"cannot be downloaded: {reason}; behind a proxy set https_proxy, for a mirror {MIRROR}; or bring the file here"
        f" yourself, as {partial.with_suffix('')}",
    )


def _ask(actual: str, partial: Path) -> bool:
    """Request the missing bytes once; returns whether all arrived."""
    begun = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "genner", "Accept-Encoding": "identity"}
    if begun:
        headers["Range"] = f"bytes={begun}-"
    with urlopen(Request(actual, headers=headers), timeout=TIMEOUT) as response:
        if response.status != 206:
            begun = 0
        expected = _expected(response.headers, begun)
        size = begun
        with partial.open("ab" if begun else "wb") as file:
            while block := response.read(_BLOCK):
                size += len(block)
                if size > MAX_DOWNLOAD_BYTES:
                    raise DataError(
                        actual, f"is larger than {MAX_DOWNLOAD_BYTES >> 20} MiB; that is none of the corpora"
                    )
                file.write(block)
    return expected is None or size == expected


def _expected(headers: Message, begun: int) -> int | None:
    """The size of the whole file, if the server gives it."""
    length = headers.get("Content-Length", "")
    return begun + int(length) if length.isdigit() else None


def _from_mirror(url: str) -> str:
    mirror, parts = os.environ.get(MIRROR, "").strip(), urlsplit(url)
    return f"{mirror.rstrip('/')}/{parts.netloc}{quote(parts.path, safe='/%')}" if mirror else url


def _is(path: Path, sha256: str | None, git: str | None) -> bool:
    """Whether a file has its known hash."""
    content = path.read_bytes()
    if sha256:
        return hashlib.sha256(content).hexdigest() == sha256
    if git:
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == git
    return True
