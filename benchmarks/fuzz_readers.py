"""Fuzzes every reader with damaged copies of small valid files: only genner's own errors may be raised.

    python benchmarks/fuzz_readers.py --inputs 100000 --out fuzz.json

Input `i` of a reader is made from `SEED/reader/i` alone: `--only conll --at 4711` recreates it, keeps its files and
shows the traceback. Every second input is read leniently. A separate process reads them, so that a crash or a hang (10
seconds) is counted and the run continues. Counts are kept in `--out`; the next call continues from them.
"""

import argparse
import contextlib
import gzip
import io
import json
import logging
import os
import random
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genner.data.base import ReadLog
from genner.data.corpus import read_corpus
from genner.data.jsonl import read_jsonl
from genner.data.registry import SYNTAXES
from genner.data.texts import read_texts
from genner.document import Document, Entity
from genner.errors import GennerError

HANG = 10  # seconds
GOOD = ("read", "refused")
DOCUMENTS = (
    Document(
        "Ada met Bob in São Paulo.", (Entity(0, 3, "PER"), Entity(8, 11, "PER", 0.5), Entity(15, 24, "LOC")), "a-1"
    ),
    Document("Nothing here\nbut two lines.", (), "a-2"),
    Document(
        "The mayor of 東京 & Ghent 🙂", (Entity(0, 24, "PER"), Entity(13, 15, "LOC"), Entity(18, 23, "LOC")), "a-3"
    ),
)
PIECES = [
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
]
PIECES += [
    b"&",
    b"-1",
    b"0",
    b"9" * 400,
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"[[",
    b"[" * 3000,
    b"<a>" * 3000,
    b"\\ud800",
]
PIECES += [b"B-", b"O", b"#", b"-DOCSTART-", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x1f\x8b", "é".encode(), b"\xed\xa0\x80"]


@dataclass(frozen=True)
class Seed:
    """A small valid input."""

    files: dict[str, bytes]
    """File contents by path in a folder."""
    path: str
    """The file to read; empty for the folder."""
    read: Callable[[Path, ReadLog], Iterable[Document]]


# Seeds


def readers() -> dict[str, Callable[[], list[Seed]]]:
    """Each reader with the function that makes its seeds. Those after the syntaxes are other entry points."""
    found: dict[str, Callable[[], list[Seed]]] = {name: partial(_of_syntax, name) for name in SYNTAXES}
    lines = "".join(json.dumps(d.to_dict()) + "\n" for d in DOCUMENTS).encode()
    quick = [name for name in SYNTAXES if name not in ("hf", "spacy")]
    return {
        **found,
        "gzip": lambda: [Seed({"x.jsonl.gz": gzip.compress(lines, mtime=0)}, "x.jsonl.gz", _by(None))],
        "zip": lambda: [Seed({"x.zip": _zip(lines, method)}, "x.zip", _by(None)) for method in (0, 8, 12, 14)],
        "tar": lambda: [Seed({"x.tar": _tar(GENIA.encode())}, "x.tar", _by("genia"))],
        "guess": lambda: [Seed(seed.files, seed.path, _by(None)) for name in quick for seed in _of_syntax(name)],
        "read_jsonl": lambda: [Seed({"x.jsonl": lines}, "x.jsonl", lambda p, j: read_jsonl(p, lenient=j.lenient))],
        "read_texts": lambda: [
            Seed({f"x{ending}": data}, f"x{ending}", lambda p, j: read_texts(str(p), read_log=j))
            for ending, data in TEXTS
        ],
    }


def _of_syntax(name: str) -> list[Seed]:
    """Raises `KeyError` for a syntax that has no seed."""
    made = [Seed({f"x{ending}": data}, f"x{ending}", _by(name)) for ending, data in BY_HAND.get(name, ())]
    if name in RECORDS:
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS[name])
        for ending, text in ((".json", json.dumps(RECORDS[name], ensure_ascii=False, indent=1)), (".jsonl", lines)):
            made.append(Seed({f"x{ending}": text.encode()}, f"x{ending}", _by(name)))
    made += [Seed({"x.json": json.dumps(one).encode()}, "x.json", _by(name)) for one in WHOLE.get(name, ())]
    if SYNTAXES[name].writes:
        made.append(_written(name))
    made += FOLDERS.get(name, list)()
    if example := SYNTAXES[name].example:
        made.append(Seed({path: text.encode() for path, text in example.items()}, next(iter(example)), _by(name)))
    if name == "hf":
        made += _arrow()
    if not made:
        raise KeyError(f"no seed for the syntax {name}: give its class an `example`")
    return made


def _by(name: str | None) -> Callable[[Path, ReadLog], Iterable[Document]]:
    return lambda path, read_log: read_corpus(path, name, read_log)


def _written(name: str) -> Seed:
    kind = SYNTAXES[name]()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / ("x" + kind.suffixes[0])
        kind.write(DOCUMENTS, target, ReadLog())
        if target.is_dir():
            target.rename(target.with_name("x"))
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
        path = target.name if target.is_file() else "x"
    return Seed(files, path, _by(name))


TOKENS = [("Mina", "B-PER"), ("Berg", "I-PER"), ("met", "O"), ("Bo", "B-PER")]
CONLL_2012 = (
    "#begin document (d); part 000\n"
    + "".join(
        f"d 0 {i} {w} NN * - - - - {n} -\n" for i, (w, n) in enumerate([("Ada", "(PER*"), ("Q", "*)"), ("x", "*")])
    )
    + "\n#end document\n"
)
GENIA = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE set SYSTEM "gpml.dtd">\n<set><article><articleinfo><bibliomisc>'
    'MEDLINE:0</bibliomisc></articleinfo><title><sentence><cons lex="A_gene" sem="G#DNA_domain_or_region"><cons '
    'lex="A" sem="G#protein_molecule">A</cons> gene</cons> of <cons lex="T" sem="(AND G#cell_line G#cell_type)">T'
    "</cons></sentence></title></article></set>\n"
)
SGM = "<DOC>\n<TEXT>\nThe mayor of Ghent &amp; Ada.\n</TEXT>\n</DOC>\n"
APF = (
    '<?xml version="1.0"?>\n<source_file URI="x.sgm"><document DOCID="x"><entity ID="E1" TYPE="PER"><entity_mention '
    'ID="E1-1" TYPE="NOM"><extent><charseq START="2" END="19">The mayor of Ghent</charseq></extent><head><charseq '
    'START="6" END="10">mayor</charseq></head></entity_mention></entity></document></source_file>\n'
)
RECORDS: dict[str, list[Any]] = {
    "gliner2": [{"input": "Ada met Bob.", "output": {"entities": {"person": ["Ada", "Bob"]}, "relations": [{"a": 1}]}}],
    "label_studio": [
        {
            "id": 7,
            "data": {"text": "Ada 🙂 Bob."},
            "annotations": [
                {
                    "id": 1,
                    "was_cancelled": False,
                    "result": [
                        {
                            "type": "labels",
                            "from_name": "label",
                            "to_name": "text",
                            "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
                        }
                    ],
                }
            ],
            "predictions": [],
        }
    ],
    "label_studio_min": [
        {
            "id": 1,
            "text": "Ada met Bob.",
            "label": [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}],
            "annotator": 1,
        }
    ],
    "langextract": [
        {
            "document_id": "a",
            "text": "Ada met Bob.",
            "extractions": [
                {"extraction_class": "PER", "extraction_text": "Ada", "char_interval": {"start_pos": 0, "end_pos": 3}},
                {"extraction_class": "PER", "extraction_text": "Bob", "char_interval": None, "attributes": {"x": "y"}},
            ],
        }
    ],
    "spacy_json": [["Ada met Bob.", {"entities": [[0, 3, "PER"]]}], ["Zoe", {"entities": [], "cats": {"A": 1}}]],
    "hf_json": [
        {"id": "7", "tokens": ["Ada", "met"], "ner_tags": ["B-PER", "O"]},
        {"tokens": ["x"], "ner_tags": ["O"]},
    ],
    "sharegpt": [
        {
            "conversations": [
                {"from": "human", "value": "Mark names.\nText:\nAda met Bob."},
                {"from": "gpt", "value": "<PER>Ada</PER> met Bob."},
            ]
        }
    ],
    "doccano": [
        {
            "id": 1,
            "text": "Ada met Bob.",
            "entities": [{"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3}],
            "relations": [],
        }
    ],
}
WHOLE = {  # JSON that is one object, not records
    "spacy_json": [
        {"classes": ["PER"], "annotations": [["Ada met Bob.", {"entities": [[0, 3, "PER"]]}], None]},
        [
            {
                "id": 0,
                "paragraphs": [
                    {
                        "raw": "Ada met",
                        "sentences": [{"tokens": [{"orth": "Ada", "ner": "U-PER"}, {"orth": "met", "ner": "O"}]}],
                    }
                ],
            }
        ],
        {"text": "Ada met Bob.", "ents": [{"start": 0, "end": 3, "label": "PER"}]},
    ],
    "hf_json": [
        {
            "features": [{"name": "ner_tags", "type": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}}}],
            "rows": [{"row_idx": 0, "row": {"tokens": ["Ada", "met"], "ner_tags": [1, 0]}}],
        }
    ],
}
BY_HAND: dict[str, list[tuple[str, bytes]]] = {
    "conll2012": [(".v4_gold_conll", CONLL_2012.encode())],
    "genia": [(".xml", GENIA.encode())],
    "token_csv": [
        (".csv", b'Sentence #,Word,POS,Tag\nSentence: 1,Mina,NNP,B-per\n,",",",",O\nSentence: 2,Bo,NNP,B-per\n')
    ],
    "conll": [
        (".conll", "".join(f"{i}\t{w}\t{t}\n" for i, (w, t) in enumerate(TOKENS)).encode()),
        (".conll", b"#\thttp://x [2010]\n1\tUni\tB-ORG\tO\n2\tHalle\tI-ORG\tB-LOC\n\n1\tx\tO\tO\n"),
        (".conll", b"-DOCSTART- -X- O O\n\nAda NNP I-NP I-PER\nQ NNP I-NP I-PER\n\nBo NNP B-NP I-PER\n"),
    ],
}
FOLDERS: dict[str, Callable[[], list[Seed]]] = {
    "ace2005": lambda: [Seed({"d/x.sgm": SGM.encode(), "d/x.apf.xml": APF.encode()}, "d", _by("ace2005"))],
}
TEXTS = [
    (".txt", "Ada met\r\nBob in São Paulo.\0".encode()),
    (".html", b"<html><body><p>Ada &amp; Bob</p><script>x</script><!-- y --><table><tr><td>1</table>"),
    (".csv", b'id,text\n1,"Ada, or Bob"\n2,Zoe\n'),
    (".json", b'[{"id": 1, "text": "Ada"}, {"text": "Bob", "x": [1, {}]}]'),
    (".jsonl", b'{"id": 1, "text": "Ada"}\n{"text": "Bob", "x": [1, {}]}\n'),
    (".txt.gz", gzip.compress(b"Ada met Bob.", mtime=0)),
]


def _zip(data: bytes, method: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("in/x.jsonl"), data, method)
    return made.getvalue()


def _tar(data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("x.xml")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return made.getvalue()[: 512 * (2 + len(data) // 512 + 2)]


def _arrow() -> list[Seed]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        return []
    table = pa.table({"id": ["1", "2"], "tokens": [["Mina", "Berg"], ["Bo"]], "ner_tags": [["B-PER", "I-PER"], ["O"]]})
    made = {".parquet": io.BytesIO(), ".arrow": io.BytesIO(), ".file.arrow": io.BytesIO()}
    parquet.write_table(table, made[".parquet"])
    for ending, new in ((".arrow", pa.ipc.new_stream), (".file.arrow", pa.ipc.new_file)):
        with new(made[ending], table.schema) as writer:
            writer.write_table(table)
    return [Seed({f"x{ending}": data.getvalue()}, f"x{ending}", _by("hf")) for ending, data in made.items()]


# Damage


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The data after one to four changes."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        at, to = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        to = min(to, at + rng.choice([1, 2, 4, 16, 256]))
        match rng.randrange(8):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:]  # duplicate a stretch
            case 3:
                data = data[:at] + rng.choice(PIECES) + data[to:]
            case 4:
                data = data[:at] + rng.choice(PIECES) + data[at:]
            case 5:
                data = data[:at] + rng.randbytes(to - at) + data[to:]
            case _ if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    return data


def make(of: list[Seed], name: str, index: int, seed: int, folder: Path) -> tuple[Path, Seed]:
    """Write input `index` of a reader; returns what to read."""
    rng = random.Random(f"{seed}/{name}/{index}")
    chosen = rng.choice(of)
    hurt = rng.choice(sorted(chosen.files))
    for path, data in chosen.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(damaged(data, rng) if path == hurt else data)
    return folder / chosen.path, chosen


def outcome(of: list[Seed], name: str, index: int, seed: int, folder: Path, show: bool = False) -> str:
    """The outcome of an input: `read`, `refused`, or a failure."""
    path, chosen = make(of, name, index, seed, folder)
    try:
        for document in chosen.read(path, ReadLog(lenient=index % 2 == 1)):
            assert isinstance(document, Document)
    except GennerError as error:
        if show:
            print(f"{type(error).__name__}: {error}")
        return "refused" if "\n" not in str(error) else "many lines"
    except Exception as error:  # the failures sought
        if show:
            traceback.print_exc()
        return type(error).__name__
    return "read"


# In processes


class _Hung(BaseException):
    """Not an `Exception`, which readers may catch."""


def warm_up(seed: Seed, folder: Path) -> int:
    """Read an undamaged seed; returns its number of documents."""
    for path, data in seed.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return len(list(seed.read(folder / seed.path, ReadLog())))


def child(name: str, first: int, behind: int, seed: int) -> None:
    """Print the outcome of each input, one per line."""
    logging.disable(logging.CRITICAL)
    of = readers()[name]()

    def hung(*_: object) -> None:
        raise _Hung

    signal.signal(signal.SIGALRM, hung)
    with tempfile.TemporaryDirectory() as folder:
        cold = True
        for index in range(first, behind):
            if cold:  # imports of a reader, here or in a process that it starts, are not timed
                warm_up(of[0], Path(folder) / "whole")
                cold = False
            inputs = Path(folder) / str(index)
            inputs.mkdir()
            print("begin", flush=True)
            signal.alarm(HANG)
            try:
                found = outcome(of, name, index, seed, inputs)
            except _Hung:
                found, cold = "hang", True
            finally:
                signal.alarm(0)
            print(found, flush=True)
            shutil.rmtree(inputs, ignore_errors=True)


def fuzz(name: str, first: int, behind: int, seed: int) -> Iterator[str]:
    """The outcomes of inputs `first` to `behind` (exclusive), in order."""
    while first < behind:
        command = [
            sys.executable,
            __file__,
            "--child",
            name,
            "--at",
            str(first),
            "--to",
            str(behind),
            "--seed",
            str(seed),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            begun, held, last = False, b"", time.monotonic()
            with selectors.DefaultSelector() as waiting:
                waiting.register(process.stdout, selectors.EVENT_READ)
                while True:
                    ready = waiting.select(1.0)
                    data = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
                    if ready and not data:
                        break
                    if data:
                        last = time.monotonic()
                    *lines, held = (held + data).split(b"\n")
                    for line in lines:
                        begun = line == b"begin"
                        if not begun:
                            first += 1
                            yield line.decode()
                    # Native code does not react to the alarm.
                    if time.monotonic() - last > (3 * HANG if begun else 20 * HANG):
                        process.kill()
                        yield "native hang"
                        first += 1
                        begun = False
                        break
            code = process.wait()
        if begun:
            first += 1
            yield f"crash ({code})"
        elif code not in (0, -signal.SIGKILL):
            raise SystemExit(f"the process that fuzzes {name} cannot start (code {code}); see: {' '.join(command)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of readers")
    parser.add_argument("--out", type=Path, help="JSON to keep the counts in, and to go on from")
    parser.add_argument("--at", type=int, help="show this input of the one reader in --only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.at, args.to, args.seed)
        return
    made = readers()
    names = args.only or list(made)
    if args.at is not None:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        print(folder, outcome(made[names[0]](), names[0], args.at, args.seed, folder, show=True))
        return
    state: dict[str, Any] = {"seed": args.seed, "readers": {}}
    if args.out and args.out.exists():
        state = json.loads(args.out.read_text())
        if state["seed"] != args.seed:
            raise SystemExit(
                f"{args.out} counts inputs of seed {state['seed']}; say --seed {state['seed']}, or another file"
            )
    print(f"seed {args.seed}")
    for name in names:
        kept = state["readers"].setdefault(name, {"inputs": 0, "outcomes": {}, "bad": {}})
        counts = Counter(kept["outcomes"])
        with contextlib.closing(fuzz(name, kept["inputs"], -(-args.inputs // len(names)), args.seed)) as found:
            for each in found:
                counts[each] += 1
                if each not in GOOD:
                    kept["bad"].setdefault(each, []).append(kept["inputs"])
                kept["inputs"] += 1
                kept["outcomes"] = dict(counts)
                if args.out and (kept["inputs"] % 100 == 0 or each not in GOOD):
                    args.out.write_text(json.dumps(state, indent=1))
        if args.out:
            args.out.write_text(json.dumps(state, indent=1))
        bad = {each: at[:5] for each, at in kept["bad"].items()}
        print(f"{name:14} {kept['inputs']:7,}  {dict(counts)}  {bad or ''}", flush=True)


if __name__ == "__main__":
    main()
