"""Opening files: what is damaged, encrypted, endless or a bomb is refused by name, in one line."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Run

from genner.data import file_opening
from genner.data.base import ReadLog
from genner.data.corpus import read_corpus
from genner.data.file_opening import max_unpacked, open_binary, open_source
from genner.data.jsonl import read_jsonl
from genner.errors import DataError, UsageError

LINE = b'{"id": "%d", "text": "Ada met Bob.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n'
LINES = b"".join(LINE % i for i in range(200))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def zipped(name: str = "a.jsonl", data: bytes = LINES, method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def encrypted(data: bytes) -> bytes:
    """The archive with the bit set, in both headers of its entry, that says so."""
    central = data.rindex(b"PK\x01\x02")
    return data[:6] + b"\x01\x00" + data[8 : central + 8] + b"\x01\x00" + data[central + 10 :]


def renamed(data: bytes, name: bytes) -> bytes:
    """The archive whose central directory gives its entry another name, as long as before."""
    at = data.rindex(b"a.jsonl")
    return data[:at] + name + data[at + len(name) :]


DAMAGED = {
    "flipped.jsonl.gz": (flipped(gzip.compress(LINES), 60), "is a broken gzip file"),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-20], "is a broken gzip file: .*end-of-stream.*; fetch it again"),
    "short.jsonl.gz": (b"\x1f\x8b\x08", "is a broken gzip file"),
    "method.jsonl.gz": (b"\x1f\x8b\x07" + bytes(20), "is a broken gzip file: Unknown compression method"),
    "crc.zip": (flipped(zipped(), 100), "crc.zip/a.jsonl: is a broken zip archive: Bad CRC-32.*; fetch it again"),
    "cut.zip": (zipped()[:400], "is a broken zip archive"),
    "deflate.zip": (flipped(zipped(method=zipfile.ZIP_DEFLATED), 45), "is a broken"),
    "lzma.zip": (flipped(zipped(method=zipfile.ZIP_LZMA), 60), "is a broken"),
    "bzip2.zip": (flipped(zipped(method=zipfile.ZIP_BZIP2), 45), "is a broken"),
    "password.zip": (encrypted(zipped()), "is encrypted; unpack the archive with its password first"),
    # Python 3.11 cuts the name at the NUL, and an entry without a name was its own only child for ever.
    "hang.zip": (renamed(zipped(), b"\0.jsonl"), "holds an entry named '', which is no path"),
    "up.zip": (renamed(zipped(), b"../../x"), r"holds an entry named '\.\./\.\./x'"),
    "deep.zip": (zipped("a/" * 100 + "a.jsonl"), "folders within folders more than 64 deep"),
    "text.zip": (LINES, "is no zip archive, whatever its name says"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path: Path, run: Run, name: str) -> None:
    data, message = DAMAGED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(read_corpus(tmp_path / name))
    code, out, err = run("data", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped("x", data, zipfile.ZIP_DEFLATED)])
def test_a_bomb_is_refused_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(file_opening, "FLOOR", 1 << 16)
    (tmp_path / "x").write_bytes(pack(bytes(1 << 20)))
    message = "x.*: unpacks to over .* bytes from .*, as only a bomb does; .* environment variable GENNER_MAX_UNPACKED"
    with open_binary(open_source(tmp_path / "x")) as file:
        assert len(file.read(1 << 16)) == 1 << 16
        with pytest.raises(DataError, match=message):
            file.read()
        with pytest.raises(DataError, match=message):
            file.seek(1 << 19)
    monkeypatch.setenv("GENNER_MAX_UNPACKED", str(1 << 20))
    with open_binary(open_source(tmp_path / "x")) as file:
        assert len(file.read()) == 1 << 20


def test_a_bomb_within_a_bomb_is_measured_by_what_lies_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_opening, "FLOOR", 0)
    inner = gzip.compress(bytes(1 << 18))
    (tmp_path / "x.zip").write_bytes(zipped("x.gz", inner + bytes(1 << 16), zipfile.ZIP_DEFLATED))
    with open_binary(open_source(tmp_path / "x.zip")) as file, pytest.raises(DataError, match="as only a bomb does"):
        file.read()


def test_the_limit_on_unpacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENNER_MAX_UNPACKED", raising=False)
    assert max_unpacked(100) == file_opening.FLOOR
    assert max_unpacked(1 << 30) == file_opening.RATIO << 30
    monkeypatch.setenv("GENNER_MAX_UNPACKED", "2G")
    with pytest.raises(UsageError, match="GENNER_MAX_UNPACKED='2G' is not legal; legal: a number of bytes"):
        max_unpacked(1)


@pytest.mark.parametrize("reads", [lambda p: list(read_corpus(p)), lambda p: list(read_jsonl(p))])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, reads: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "x.jsonl")
    for path in (tmp_path / "x.jsonl", Path("/dev/zero")):
        with pytest.raises(DataError, match="is a device or a pipe, not a regular file; save its data in a file"):
            reads(path)


def test_paths_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 5000), tmp_path / "a\0b"):
        with pytest.raises(DataError):
            open_source(path)
    (tmp_path / "x.zip").write_bytes(zipped("in/a.jsonl"))
    with pytest.raises(DataError, match="there is no such file in the archive; it holds: in"):
        open_source(tmp_path / "x.zip" / "out")


def test_a_text_that_ends_as_an_archive_does_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.jsonl", "w"):
        pass
    end = (tmp_path / "x.jsonl").read_bytes()
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "\n' + end)
    assert open_source(tmp_path / "x.jsonl") == tmp_path / "x.jsonl"


def test_gzip_is_read_where_jsonl_is(tmp_path: Path, run: Run) -> None:
    (tmp_path / "gold.jsonl").write_bytes(LINE.replace(b'"id": "%d", ', b"") * 2)
    (tmp_path / "gold.jsonl.gz").write_bytes(gzip.compress((tmp_path / "gold.jsonl").read_bytes()))
    packed = list(read_jsonl(tmp_path / "gold.jsonl.gz"))
    assert packed == list(read_jsonl(tmp_path / "gold.jsonl"))
    assert [d.id for d in packed] == ["gold-1", "gold-2"]
    code, out, _ = run("evaluate", str(tmp_path / "gold.jsonl.gz"), str(tmp_path / "gold.jsonl"), "--json")
    assert code == 0
    assert '"f1": 1.0' in out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Ada B-PER\n".encode("utf-16"), "is UTF-16; convert it with: iconv -f UTF-16"),
        ("Ada B-PER\n".encode("utf-16-le"), "is UTF-16LE; convert it with: iconv -f UTF-16LE"),
        ("Ada B-PER\n".encode("utf-16-be"), "is UTF-16BE; convert it with: iconv -f UTF-16BE"),
        ("Ada B-PER\n".encode("utf-32"), "is UTF-32; convert it with: iconv -f UTF-32"),
        (bz2.compress(b"Ada B-PER\n"), "is packed with bzip2; convert it with: bunzip2"),
        (lzma.compress(b"Ada B-PER\n"), "is packed with xz; convert it with: unxz"),
        (tarfile.TarInfo("x.conll").tobuf() + b"Ada B-PER\n" * 99, "is a tar archive; unpack it with: tar xf"),
    ],
)
def test_what_is_packed_or_encoded_otherwise_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    for name, packed in (("x.conll", data), ("x.conll.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(DataError, match=rf"{name}: {message}"):
            read_corpus(tmp_path / name)


# XML

LAUGHS = "<!DOCTYPE set [{}]>\n".format(
    "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + '<!ENTITY a "ha">'
)
GENIA = (
    "<set><article><articleinfo><bibliomisc>MEDLINE:0</bibliomisc></articleinfo><title><sentence>"
    "{}</sentence></title></article></set>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_that_declares_entities_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "g.xml").write_bytes((LAUGHS + GENIA.format("&i;")).encode(encoding))
    (tmp_path / "x.apf.xml").write_bytes((LAUGHS + "<source_file>&i;</source_file>").encode(encoding))
    (tmp_path / "x.sgm").write_text("ha")
    for path, reader in ((tmp_path / "g.xml", "genia"), (tmp_path / "x.apf.xml", "ace2005")):
        with pytest.raises(DataError, match="declares the entity 'b'; expand entities with: xmllint --noent"):
            list(read_corpus(path, reader))


def test_elements_in_elements_without_end(tmp_path: Path) -> None:
    deep = GENIA.format("<cons>" * 5000 + "</cons>" * 5000)
    (tmp_path / "g.xml").write_text(deep.replace("</title>", "<sentence>b</sentence></title>"))
    with pytest.raises(DataError, match=r"g\.xml: sentence MEDLINE:0-0: elements in elements without end"):
        list(read_corpus(tmp_path / "g.xml", "genia"))
    assert [d.text for d in read_corpus(tmp_path / "g.xml", "genia", ReadLog(lenient=True))] == ["b"]


def test_a_file_with_holes_in_a_tar(tmp_path: Path) -> None:
    head = tarfile.TarInfo("g.xml")
    head.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(head.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410], block[483:495] = b"00000000000\0", b"00000000000\0", b"77777777777\0"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "g.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(DataError, match=r"holds 'g\.xml' with holes, as only a bomb has"):
        list(read_corpus(tmp_path / "g.tar", "genia"))


def test_marks_that_begin_no_tag_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "x.sgm").write_text("<" * 300_000)  # each was searched for to the end of the file
    (tmp_path / "x.apf.xml").write_text("<source_file></source_file>")
    assert len(next(read_corpus(tmp_path / "x.apf.xml")).text) == 300_000


def test_json_lines_that_end_in_carriage_returns_alone(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(LINES.replace(b"\n", b"\r"))
    with pytest.raises(DataError, match=r"x\.jsonl:1: lines end in carriage returns alone; .* tr '\\r' '\\n'"):
        list(read_jsonl(tmp_path / "x.jsonl"))


def test_a_docbin_that_bursts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spacy")
    from genner.data import spacy_bin

    monkeypatch.setattr(spacy_bin, "RATIO", 10)
    (tmp_path / "x.spacy").write_bytes(zlib.compress(bytes(1 << 20)))
    with pytest.raises(DataError, match=r"unpacks to over 10,\d\d\d bytes; if it is sound, set GENNER_MAX_UNPACKED"):
        next(spacy_bin.docs(str(tmp_path / "x.spacy"), "en", "sc", 0))
