"""Every syntax of `SYNTAXES` obeys the laws, and one that a test adds is collected by that alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import ClassVar

import pytest
from tests import syntax_laws
from tests.conftest import Run

from genner.data.base import ReadLog, Syntax, read_lines
from genner.data.records import DocumentBuilder, RecordSpan
from genner.data.registry import SYNTAXES
from genner.data.tokens import join
from genner.document import Document, Entity


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_syntax_is_guessed_and_reads_alike_named_guessed_and_packed(tmp_path: Path, name: str) -> None:
    syntax_laws.guessed_and_read_alike(name, tmp_path)


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_syntax_refuses_a_foreign_record_by_its_keys(tmp_path: Path, name: str) -> None:
    syntax_laws.refuses_a_foreign_record(name, tmp_path)


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_syntax_has_typed_options(name: str) -> None:
    syntax_laws.has_typed_options(name)


# A newcomer's syntax


@dataclass(frozen=True)
class Slashed(Syntax):
    """A sentence a line, each token with its label behind a slash, `-` for none: `Ada/PER met/- Bob/PER`."""

    name: ClassVar[str] = "slashed"
    suffixes: ClassVar[tuple[str, ...]] = (".slashed",)
    writes: ClassVar[bool] = False
    example: ClassVar[Mapping[str, str]] = {"x.slashed": "Ada/PER met/- Bob/PER\nNobody/- came/-\n"}

    @classmethod
    def recognizes(cls, source: Traversable, head: bytes) -> bool:
        return source.name.removesuffix(".gz").endswith(cls.suffixes)

    def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
        builder = DocumentBuilder(source, read_log)
        for number, line in read_lines(source, read_log):
            tokens = [token.rpartition("/") for token in line.split()]
            if bad := next((label for token, _, label in tokens if not token), None):
                read_log.error("bad token", source, f"{bad!r} is no TOKEN/LABEL; legal without one: TOKEN/-", number)
                continue
            text, places = join([token for token, _, _ in tokens])
            labels = [(place, label) for place, (_, _, label) in zip(places, tokens, strict=True) if label != "-"]
            spans = [RecordSpan(start, end, label) for (start, end), label in labels]
            if (document := builder.build_row(number, text, spans)) is not None:
                yield document


def test_a_syntax_that_is_added_is_under_the_laws_and_read_by_commands(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYNTAXES, "slashed", Slashed)
    syntax_laws.has_typed_options("slashed")
    syntax_laws.guessed_and_read_alike("slashed", tmp_path / "seeds")
    syntax_laws.survives_damage("slashed", tmp_path, 25)
    (tmp_path / "g.slashed").write_text(Slashed.example["x.slashed"])
    assert run("convert", "g.slashed", "p.jsonl")[0] == 0
    code, out, _ = run("evaluate", "g.slashed", "p.jsonl", "--from", "slashed")
    assert (code, "micro F1 1.0000" in out) == (0, True)
    (tmp_path / "g.slashed").write_text("Ada\n")
    assert "g.slashed:1: 'Ada' is no TOKEN/LABEL" in run("evaluate", "g.slashed", "p.jsonl")[2]


def test_the_laws_fail_where_a_syntax_breaks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(Slashed):
        """Loses entities without a word, and raises what is not genner's own error."""

        name = "careless"
        writes = True

        def read(self, source: Traversable, read_log: ReadLog) -> Iterator[Document]:
            for number, (_, line) in enumerate(read_lines(source, read_log)):
                tokens = [token.split("/") for token in line.split()]
                yield Document(" ".join(token for token, _ in tokens), (), str(number))

        def write(self, documents: Iterable[Document], target: Path, read_log: ReadLog) -> int:
            lines = [" ".join(f"{token}/-" for token in document.text.split()) for document in documents]
            return target.write_text("".join(f"{line}\n" for line in lines)) and len(lines)

    with pytest.raises(AssertionError):
        syntax_laws.round_trip(Careless(), [Document("Ada", (Entity(0, 3, "PER"),), "0")], tmp_path / "x.slashed")
    monkeypatch.setitem(SYNTAXES, "careless", Careless)
    with pytest.raises(AssertionError, match="--only careless"):
        syntax_laws.survives_damage("careless", tmp_path, 25)
