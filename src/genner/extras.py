"""The parts in which genner is installed: which extra brings which package, and the command that installs it.

`pip install genner` is the core, which runs no model. Everything else is imported where it is used, and its absence
names the command: `require` at the start of long work, `naming_parts` around all that a public function does.
"""

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from genner.errors import MissingPartError

EXTRA_OF_PACKAGE = {
    "torch": "local",
    "transformers": "local",
    "tokenizers": "local",
    "safetensors": "local",
    "gguf": "local",
    "huggingface_hub": "local",
    "matplotlib": "plots",
    "peft": "train",
    "accelerate": "train",
    "spacy": "spacy",
    "tensorboard": "tracking",
    "bitsandbytes": "qlora",
    "datasets": "hf",
    "pyarrow": "hf",
    "lm_eval": "ability",
    "vllm": "vllm",
    "faiss": "retrieval",
    "gliner": "gliner",
    "gliner2": "gliner2",
    "flair": "flair",
    "langextract": "langextract",
    "span_marker": "span_marker",
}
"""The smallest extra that brings each package which the core does without, by the package's name in Python."""

_TITLES = {"lm_eval": "lm-evaluation-harness"}

EXTRA_PURPOSES = {
    "local": "to run models on this machine",
    "plots": "to draw figures",
    "train": "to train models and to use all kinds of adapters",
    "spacy": "to read and write spaCy's files",
    "tracking": "to follow a training run with TensorBoard",
    "qlora": "to train a model in 4 bits",
    "hf": "to read and write data sets of Hugging Face",
    "ability": "to measure general ability",
    "vllm": "to run models with vLLM, in an environment of its own",
    "retrieval": "to search large corpora for demonstrations",
    "gliner": "to compare with GLiNER",
    "gliner2": "to compare with GLiNER2",
    "flair": "to compare with flair, in an environment of its own",
    "langextract": "to compare with langextract",
    "span_marker": "to compare with SpanMarker, in an environment of its own",
}
"""What each extra is for, as it is said where one is missing."""

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout that this package lies in, if it lies in one."""


def install_command(extra: str = "", package: str = "") -> str:
    """The command that installs an extra of genner, or another package, into this very Python.

    genner is on no package index: in a checkout, its extras are installed from there, and it stays editable.
    """
    bin = Path(sys.executable).parent
    pip = shutil.which("pip")
    command = "pip" if pip and Path(pip).parent == bin else f"{shlex.quote(sys.executable)} -m pip"
    if package:
        return f"{command} install {package}"
    if not _is_checkout(ROOT):
        return f"{command} install 'genner[{extra}]'"
    place = "." if Path.cwd() == ROOT else str(ROOT)
    return f"{command} install -e {shlex.quote(f'{place}[{extra}]')}"


def is_installed(package: str) -> bool:
    """Whether Python finds this package; it is not imported, which takes seconds for some."""
    return find_spec(package) is not None


def missing(package: str, more: str = "", extra: str = "") -> MissingPartError:
    """The error to raise where a package of `EXTRA_OF_PACKAGE` is not installed.

    `more`: what can be done without it. `extra`: another extra that brings it, for another purpose than usual.
    """
    extra = extra or EXTRA_OF_PACKAGE[package]
    title, how = _TITLES.get(package, package), install_command(extra)
    said = f"{title} is not installed; {EXTRA_PURPOSES[extra]}, install it with: {how}"
    return MissingPartError(f"{said} ({more})" if more else said, name=package)


def require(*packages: str, more: str = "", extra: str = "") -> None:
    """Raise `MissingPartError` for the first of these packages that is not installed; see `missing` for the rest.

    For the start of what takes long, so that it does not fail in the middle.
    """
    for package in packages:
        if not is_installed(package):
            raise missing(package, more, extra)


@contextmanager
def naming_parts() -> Iterator[None]:
    """Raise `MissingPartError` where the import of a package of `EXTRA_OF_PACKAGE` fails because it is not installed.

    Also a decorator, for the public functions that run models, train or draw: `@naming_parts()`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        # What is installed and lacks a module of its own is broken, or another version than it should be.
        if isinstance(error, MissingPartError) or package not in EXTRA_OF_PACKAGE or is_installed(package):
            raise
        raise missing(package) from error


def _is_checkout(root: Path) -> bool:
    try:
        return 'name = "genner"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
