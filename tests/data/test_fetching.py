"""Fetching corpora: what breaks off is gone on with, what is wrong is refused, what is published is checked."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from tests.conftest import Run
from tests.places import ROOT

from genner.data import fetching, read_jsonl
from genner.data.catalog import catalog
from genner.data.download import ATTEMPTS, MIRROR, download
from genner.data.fetching import Download, Remote, RemoteSplit, downloads
from genner.data.registry import syntax
from genner.errors import DataError
from genner.labels import label_sets

FLAT = "Ada\tB-PER\nleft\tO\n\nOslo\tB-LOC\n"
NESTED = "The\tB-ORG\tO\t\nBank\tI-ORG\tO\t\nof\tI-ORG\tO\t\nOslo\tI-ORG\tB-LOC\t\n"


class Server(BaseHTTPRequestHandler):
    """Files by path, with ranges; `broken` answers first break off in the middle, or are such a status."""

    files: ClassVar[dict[str, bytes]] = {}
    broken: ClassVar[list[int]] = []
    asked: ClassVar[list[tuple[str, str]]] = []
    ranges: ClassVar[bool] = True

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range", "")))
        content = self.files.get(self.path)
        status = self.broken.pop(0) if self.broken else 200
        if content is None or status >= 400:
            self.send_error(404 if content is None else status)
            return
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        if begin > len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = begin + (len(content) - begin) // 2 if status == 0 else len(content)
        self.wfile.write(content[begin:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Server]]:
    """A mirror on this machine, and a store in the test's folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Server.files, Server.broken, Server.asked, Server.ranges = {}, [], [], True
    monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{server.server_port}/all/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server
    server.shutdown()
    thread.join()
    server.server_close()


URL, PATH = "https://corpora.example/a/b c.txt", "/all/corpora.example/a/b%20c.txt"
BODY = bytes(range(256)) * 500
HASH = hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("broken", [[], [0], [0, 503, 0], [429, 0, 500]])
def test_a_download_goes_on_where_it_broke_off(
    web: type[Server], tmp_path: Path, broken: list[int], ranges: bool
) -> None:
    web.files[PATH], web.broken, web.ranges = BODY, list(broken), ranges
    waits: list[float] = []
    download(URL, tmp_path / "x", sha256=HASH, wait=waits.append)
    assert (tmp_path / "x").read_bytes() == BODY
    assert len(waits) == len(broken)
    begun = [part for _, part in web.asked if part]
    assert begun == sorted(begun, key=lambda part: int(part[6:-1]))
    assert bool(begun) == (0 in broken)
    download(URL, tmp_path / "x", sha256=HASH)  # it is there: nothing is asked
    assert len(web.asked) == len(broken) + 1
    assert not (tmp_path / "x.part").exists()


def test_another_file_is_refused_and_not_kept(web: type[Server], tmp_path: Path) -> None:
    web.files[PATH] = BODY + b"!"
    for known in ({"sha256": HASH}, {"git": "0" * 40}):
        with pytest.raises(DataError, match="its hash differs"):
            download(URL, tmp_path / "x", **known)  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} <= {".x.lock"}
    # As `git hash-object` has it.
    web.files[PATH] = b"hello\n"
    download(URL, tmp_path / "x", git="ce013625030ba8dba906f756967f9e9ca394464a")


def test_what_cannot_be_had_says_why_and_what_to_do(web: type[Server], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"HTTP 404.*https_proxy.*{MIRROR}.*yourself, as .*x$"):
        download(URL, tmp_path / "x", wait=lambda seconds: None)
    assert len(web.asked) == 1  # asking again changes nothing
    web.files[PATH], web.broken = BODY, [503] * ATTEMPTS
    with pytest.raises(DataError, match="HTTP 503"):
        download(URL, tmp_path / "x", wait=lambda seconds: None)
    # A partial file that is longer than the file is begun anew.
    (tmp_path / "x.part").write_bytes(BODY * 2)
    download(URL, tmp_path / "x", sha256=HASH, wait=lambda seconds: None)
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        download(URL, tmp_path / "f" / "x")


def remote(web: type[Server], name: str, content: str) -> Remote:
    body = content.encode()
    web.files[f"/all/corpora.example/{name}"] = body
    return Remote(f"https://corpora.example/{name}", hashlib.sha256(body).hexdigest())


def test_a_corpus_becomes_splits_with_checked_counts(
    web: type[Server], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("conll:separator=tab,column=1", "conll:separator=tab,column=2")
    parts = {
        "train": RemoteSplit((remote(web, "train.tsv", FLAT),), ("conll",), 2, 2),
        "test": RemoteSplit((remote(web, "b.tsv", NESTED), remote(web, "c.tsv", NESTED)), columns, 2, 4, group="file"),
        "dev": RemoteSplit((remote(web, "dev.tsv", f"# newdoc id = n1\n{FLAT}"),), ("conll",), 2, 2),
        "more": RemoteSplit((remote(web, "more.tsv", f"# newdoc id = n1\n{FLAT}"),), ("conll",), 2, 2, group="none"),
    }
    known = {
        "small": Download("small", "A small one", "CC0", parts),
        "hand": Download("hand", "H", "L", by_hand="Ask."),
    }
    monkeypatch.setattr(fetching, "downloads", lambda: known)
    code, _, err = run("data", "fetch", "small", "--out", "d")
    assert code == 0
    assert "A small one; licence: CC0" in err
    nested = [(e.start, e.end, e.label) for e in next(iter(read_jsonl(tmp_path / "d/small/test.jsonl"))).entities]
    assert sorted(nested) == [(0, 16, "ORG"), (12, 16, "LOC")]
    groups = {split: [d.group for d in read_jsonl(tmp_path / f"d/small/{split}.jsonl")] for split in parts}
    assert groups == {"train": ["", ""], "test": ["b", "c"], "dev": ["n1", "n1"], "more": ["", ""]}
    # What is there is kept; counts that differ, and a corpus to be got by hand, end with 1.
    (tmp_path / "d/small/train.jsonl").write_text("mine", encoding="utf-8")
    assert "kept" in run("data", "fetch", "small", "--out", "d")[2]
    assert (tmp_path / "d/small/train.jsonl").read_text(encoding="utf-8") == "mine"
    parts["train"] = RemoteSplit(parts["train"].files, ("conll",), 3, 2)
    code, _, err = run("data", "fetch", "small", "--out", "d", "--force")
    assert code == 1
    assert "has 2 sentences and 2 entities; published are 3 and 2" in err
    code, _, err = run("data", "fetch", "hand")
    assert (code, "cannot be fetched by genner. Ask." in err) == (1, True)
    assert run("data", "fetch", "nothing")[0] == 2
    assert "small: A small one (train, test, dev, more); CC0" in run("data", "fetch")[1]


def test_one_split_that_cannot_be_had_does_not_keep_the_others_away(
    web: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Remote("https://corpora.example/lost.tsv", "0" * 64)
    parts = {
        "train": RemoteSplit((lost,), ("conll",), 2, 2),
        "test": RemoteSplit((remote(web, "a.tsv", FLAT),), ("conll",), 2, 2),
    }
    monkeypatch.setattr(fetching, "downloads", lambda: {"small": Download("small", "S", "CC0", parts)})
    with pytest.raises(DataError, match=r"lost.tsv.*HTTP 404"):
        fetching.fetch("small", tmp_path, lambda line: None)
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["test.jsonl"]


# -- what ships


@pytest.mark.parametrize("corpus", downloads().values(), ids=lambda corpus: corpus.name)
def test_each_corpus_can_be_fetched_or_says_how_to_get_it(corpus: Download) -> None:
    published = catalog()[corpus.name].splits if corpus.name in catalog() else ()
    counts = {split.name: (split.sentences, split.entities) for split in published}
    assert corpus.licence
    assert bool(corpus.splits) != bool(corpus.by_hand)
    for split, part in corpus.splits.items():
        assert part.files
        assert part.read
        for file in [*part.files, *([part.list] if part.list else [])]:
            assert file.url.startswith("https://raw.githubusercontent.com/")
            assert len(file.url.split("/")[5]) == 40  # at a commit: the file is always the same
            assert len(file.sha256 or "") == 64 or len(file.git or "") == 40
        for how in part.read:
            syntax(how.replace("{list}", "ids.txt"))
        assert counts.get(split, (part.sentences, part.entities)) == (part.sentences, part.entities)


def test_every_set_of_the_shipped_recipes_is_known() -> None:
    from genner.training.recipe import Recipe

    recipes = [Recipe.from_file(path) for path in sorted((ROOT / "recipes").glob("*.toml"))]
    files = {name for recipe in recipes for spec in recipe.sets for name in (*spec.train, spec.dev) if name}
    sets = {name.split("/")[0] for name in files}
    assert sets <= {*downloads()}
    fetched = {f"{name}/{split}.jsonl" for name, corpus in downloads().items() for split in corpus.splits}
    assert {name for name in files if downloads()[name.split("/")[0]].splits} <= fetched
    assert {*catalog()} <= {*downloads()}
    assert {"core", *sets} >= {*label_sets()} - {"core"}
