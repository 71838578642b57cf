"""The texts to extract from, as people have them."""

import gzip
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.data.base import ReadLog
from genner.data.html_text import html_text
from genner.data.texts import places, read_texts
from genner.document import Document
from genner.errors import DataError, UsageError


def file(folder: Path, data: bytes | str, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path | str, *options: str) -> list[Document]:
    return list(read_texts(str(path), *options))


# -- one text a file


@pytest.mark.parametrize("name", ["note.TXT", "note.md", "note.txt.gz", "note.rst"])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("Zoë\r\nwas\n".encode(), "Zoë\r\nwas\n"),
        (b"\xef\xbb\xbfa", "a"),
        (b"a\0b", "a\0b"),
        (b"# Title\n\n- *Ann*", "# Title\n\n- *Ann*"),
    ],
    ids=["empty", "line ends stay", "byte order mark", "NUL stays", "Markdown stays"],
)
def test_a_text_file_is_one_document(tmp_path: Path, data: bytes, text: str, name: str) -> None:
    packed = gzip.compress(data) if name.endswith(".gz") else data
    assert read(file(tmp_path, packed, name)) == [Document(text, (), "note")]


@pytest.mark.parametrize(("name", "suffix"), [("x.pdf", ".pdf"), ("x", ""), (".txt", ""), ("x.gz", "")])
def test_another_suffix(name: str, suffix: str) -> None:
    with pytest.raises(UsageError, match=rf"ends in '{suffix}'; legal: .*\.txt .*\.csv .*\.jsonl .* - \(standard"):
        read_texts(name)


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.csv", "x.html", "x.json"])
def test_what_is_not_there_is_said_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="there is no"):
        read_texts(str(tmp_path / name))


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.csv"])
def test_devices_and_pipes_are_no_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="device or a pipe"):
        read_texts(str(tmp_path / name))
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="device or a pipe"):
        read_texts(str(tmp_path / name))


@pytest.mark.parametrize(
    ("data", "message"), [(b"caf\xe9", "byte 3; .*iconv -f ISO-8859-1"), (b"\xff\xfea\0", "byte 0; .*iconv -f UTF-16")]
)
@pytest.mark.parametrize("name", ["x.txt", "x.html", "x.txt.gz"])
def test_a_text_in_another_encoding(tmp_path: Path, data: bytes, message: str, name: str) -> None:
    packed = gzip.compress(data) if name.endswith(".gz") else data
    with pytest.raises(DataError, match=message):
        read(file(tmp_path, packed, name))


@pytest.mark.parametrize("place", ["x.txt", "-"])
def test_a_text_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr("genner.data.texts.MAX_TEXT_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a" * 40)))
    path = str(file(tmp_path, "a" * 40, "x.txt")) if place != "-" else place
    with pytest.raises(DataError, match="more than 10 bytes; divide it"):
        read(path)


PAGES = {
    "<p>Ada met <b>Bob</b>.</p><p>They left</p>": "Ada met Bob.\n\nThey left",
    "<html><head><title>t</title><style>p{}</style></head><body>\n <h1>A &amp; B</h1>\n x\n  y </body>": "A & B\n\nx y",
    "a<script>if (a < b) alert('</p>')</script> b<!-- <p> -->c": "a bc",
    "one<br>two<br/><br>three": "one\ntwo\n\nthree",
    "<ul><li>x</li><li>y</ul>z": "x\ny\n\nz",
    "<table><tr><th>A</th><th>B</th></tr><tr><td>1<td>2</table>": "A\tB\n1\t2",
    "<pre>a\n  b</pre> c": "a\n  b\n\nc",
    "&nbsp;&eacute;&#x1F642; <3 & co": "\u00a0é🙂 <3 & co",
    "<template><p>no</p></template><noscript>no</noscript>yes": "yes",
    "": "",
    "plain": "plain",
}


@pytest.mark.parametrize("page", PAGES)
def test_of_a_page_the_text_is_what_a_reader_sees(tmp_path: Path, page: str) -> None:
    assert html_text(page) == PAGES[page]
    assert read(file(tmp_path, page, "a.b.html")) == [Document(PAGES[page], (), "a.b")]


words = st.text("ab.é\u00a0", min_size=1, max_size=5)


@given(st.lists(st.tuples(st.sampled_from(["p", "b", "div", "li", "td", "script", "x"]), words), max_size=8))
def test_every_word_of_a_page_stands_once_and_in_order(parts: list[tuple[str, str]]) -> None:
    page = "".join(f"<{tag}> {word} </{tag}>" for tag, word in parts)
    assert html_text(page).split() == " ".join(word for tag, word in parts if tag != "script").split()


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("<>/!-[]&;\"'"), max_size=40))
def test_no_markup_is_too_wild(page: str) -> None:
    with suppress(ValueError):  # which is said, with the file's name
        html_text(page)


# -- records


ROWS = [{"id": "q", "text": "Ann,\r\nBob", "date": "1"}, {"id": "r", "text": 'x "y"', "date": ""}]
TABLE = 'id,text,date\nq,"Ann,\r\nBob",1\n\nr,"x ""y""",\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", TABLE),
        ("x.csv", "\ufeff" + TABLE),
        ("x.csv.gz", TABLE),
        ("x.csv", TABLE.replace(",date", ";date").replace("id,", "id;").replace("q,", "q;").replace('",1', '";1')
         .replace("r,", "r;").replace('""",', '""";')),
        ("x.tsv", TABLE.replace(",date", "\tdate").replace("id,", "id\t").replace("q,", "q\t").replace('",1', '"\t1')
         .replace("r,", "r\t").replace('""",', '"""\t')),
        ("x.jsonl", "".join(json.dumps(row) + "\r\n\r\n" for row in ROWS)),
        ("x.jsonl.gz", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("x.json", json.dumps(ROWS)),
        ("x.json", json.dumps(ROWS, indent=2)),
        ("x.ndjson", "".join(json.dumps(row) + "\n" for row in ROWS)),
    ],
)  # fmt: skip
def test_a_text_a_record(tmp_path: Path, name: str, data: str) -> None:
    packed = gzip.compress(data.encode()) if name.endswith(".gz") else data.encode()
    found = read(file(tmp_path, packed, name))
    assert [document.to_dict() for document in found] == [
        {"id": row["id"], "text": row["text"], "entities": [], "date": row["date"]} for row in ROWS
    ]


def test_records_without_ids_are_numbered_as_records(tmp_path: Path) -> None:
    path = file(tmp_path, '{"text": "a"}\n\n{"text": "b", "id": 7}\n{"text": "c", "id": null}\n', "x.jsonl")
    assert [d.id for d in read(path)] == ["x-1", "7", "x-3"]
    assert [d.id for d in read(file(tmp_path, '[{"text": "a"}, {"text": "b"}]', "l.json"))] == ["l-1", "l-2"]
    assert [d.id for d in read(file(tmp_path, "text\na\nb\n", "t.csv"))] == ["t-1", "t-2"]
    path = file(tmp_path, '{"text": "a", "id": "y-2"}\n{"text": "b"}\n', "y.jsonl")
    assert [d.id for d in read(path)] == ["y-2", "y-2+"]


def test_entities_of_a_record_play_no_part(tmp_path: Path) -> None:
    path = file(tmp_path, '{"text": "b", "id": "q", "entities": [[0, 1, "spaCy"]], "problems": 3}\n', "x.jsonl")
    assert read(path) == [Document("b", (), "q")]


@pytest.mark.parametrize(
    ("name", "data"), [("x.jsonl", '{"id": 3, "content": "Ann"}'), ("x.csv", "id;content\n3;Ann"),
                       ("x.json", '[{"id": 3, "content": "Ann"}]')]
)  # fmt: skip
def test_the_text_may_have_another_name(tmp_path: Path, name: str, data: str) -> None:
    path = file(tmp_path, data, name)
    (document,) = read(path, "content")
    assert (document.text, document.id, dict(document.extra).keys() <= {"id"}) == ("Ann", "3", True)
    with pytest.raises(DataError, match=r"has no (column )?'text'; .*content.*--text-field"):
        read(path)


def test_what_stands_beside_the_field_that_is_read_is_counted(tmp_path: Path) -> None:
    path, read_log = file(tmp_path, '{"text": "short", "body": "long"}', "x.jsonl"), ReadLog()
    (document,) = read_texts(str(path), "body", read_log)
    assert (document.text, dict(document.extra)) == ("long", {})
    assert read_log.dropped == {"field 'text' beside the one that is read": 1}


BAD = {
    ("x.jsonl", '{"text": "a"}\n{"id": 1, "title": "t", "content": "longer"}'): r"x\.jsonl:2: has no 'text'; it has: "
    "id, title, content; name the field of the text, as with --text-field content",
    ("x.jsonl", '{"text": null}'): "'text' is NoneType, not a string",
    ("x.jsonl", '{"text": "a", "id": [1]}'): r"'id' is \[1\]; legal: a string or an integer",
    ("x.jsonl", '{"text": "a", "id": "1"}\n{"text": "b", "id": 1}'): ":2: id '1' was given before",
    ("x.jsonl", '{"text": "a"'): ":1: is not JSON",
    ("x.jsonl", "[1]"): "is a JSON int, not an object",
    ("x.json", '[{"text": "a"}'): "the file ends within the list",
    ("x.csv", ""): "has no column 'text'; its first row has: nothing",
    ("x.csv", "id,words\n1,a"): r":1: has no column 'text'; its first row has: 'id', 'words'; .*--text-field",
    ("x.csv", "id,text\n1,a\n2,b,c"): ":3: has 3 cells where the first row has 2; put cells that hold ',' into quotes",
    ("x.csv", "text,text\n1,a"): "two columns named 'text'",
    ("x.csv", 'id,text\n1,"a'): ":2: is no table that can be read",
}


@pytest.mark.parametrize(("name", "data"), BAD, ids=[message[:30] for message in BAD.values()])
def test_a_bad_record_is_named(tmp_path: Path, name: str, data: str) -> None:
    with pytest.raises(DataError, match=BAD[name, data]):
        read(file(tmp_path, data, name))


# -- standard input


STANDARD = {
    "text": ("é\r\nb\n".encode(), [("stdin", "é\r\nb\n")]),
    "text in gzip": (gzip.compress("é\r\n".encode()), [("stdin", "é\r\n")]),
    "mark": (b"\xef\xbb\xbfa", [("stdin", "a")]),
    "nothing": (b"", [("stdin", "")]),
    "blank lines": (b"\n\n a", [("stdin", "\n\n a")]),
    "lines": (b'\n{"text": "a", "id": 4}\n\n{"text": "b"}\n', [("4", "a"), ("stdin-2", "b")]),
    "lines in gzip": (gzip.compress(b'{"text": "a"}\n{"text": "b"}\n'), [("stdin-1", "a"), ("stdin-2", "b")]),
    "list": (b'[{"text": "a"},\n {"text": "b", "id": "x"}]', [("stdin-1", "a"), ("x", "b")]),
    "object over lines": (b'{\n "text": "a"\n}', [("stdin-1", "a")]),
    "brackets in a text": (b"[1] Ann, {2}", [("stdin", "[1] Ann, {2}")]),
    "numbers": (b"[1, 2]", [("stdin", "[1, 2]")]),
}


@pytest.mark.parametrize(("data", "found"), STANDARD.values(), ids=STANDARD)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes, found: list[tuple[str, str]]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [(d.id, d.text) for d in read("-")] == found


def test_lines_of_standard_input_are_read_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    end, begin = os.pipe()
    with os.fdopen(end, "rb") as stream, os.fdopen(begin, "wb") as sender:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        sender.write(b'{"text": "a"}\n')
        sender.flush()
        found = read_texts("-")
        assert next(found).text == "a"  # which waits for no second line


def test_a_line_of_standard_input_that_is_no_object_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\nand so on\n')))
    with pytest.raises(DataError, match="standard input:2: is no JSON object, as the lines before are"):
        read("-")


# -- folders and patterns


def test_a_folder_stands_for_what_can_be_read_in_it(tmp_path: Path) -> None:
    for name in ("b/x.txt", "a/x.txt.gz", "a/x.md", "r.csv", "a/.hidden.txt", ".git/x.txt", "a/y.pdf"):
        file(tmp_path, gzip.compress(b"t") if name.endswith(".gz") else "text\nt\n", name)
    file(tmp_path, "", "out.jsonl")
    file(tmp_path, "{}", "out.jsonl.meta")
    read_log = ReadLog()
    found = places([str(tmp_path)], read_log)
    assert [place.id for place in found] == ["a/x", "a/x", "b/x", "r"]
    assert read_log.dropped == {"file of another kind, or of genner's own": 3}
    assert [d.id for place in found for d in read_texts(place)] == ["a/x", "a/x", "b/x", "r-1"]
    with pytest.raises(UsageError, match="holds no file that can be read"):
        places([str(file(tmp_path, "", "empty/y.pdf").parent)])


def test_a_pattern_stands_for_the_files_that_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", "c/d.txt", "[x].txt"):
        file(tmp_path, "t", name)
    monkeypatch.chdir(tmp_path)
    assert [place.path for place in places(["?.txt"])] == ["a.txt", "b.txt"]
    assert [place.path for place in places(["**/*.txt"])] == ["[x].txt", "a.txt", "b.txt", "c/d.txt"]
    assert [place.path for place in places(["[x].txt", "-", str(tmp_path / "a*")])] == [
        "[x].txt", "-", str(tmp_path / "a.txt"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"no file matches '\*\.md'"):
        places(["*.md"])
    file(tmp_path, "t", "e.pdf")
    with pytest.raises(UsageError, match=r"'e\.pdf' ends in '\.pdf'; legal"):
        places(["e*"])
