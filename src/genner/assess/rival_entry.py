"""The entry of a rival in a study: an encoder that the study trains, one that is trained already, or a tool."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genner.assess.records import Json
from genner.assess.study_entries import check_names
from genner.errors import UsageError
from genner.model_source import sampled_weights
from genner.rivals import RIVALS, rival_class
from genner.rivals.tools import TOOLS, tool_class
from genner.toml_config import build
from genner.transformer_encoder import identity


@dataclass(frozen=True)
class RivalEntry:
    """A `[[system]]` that is an encoder: `rival` (`genner rival list`) is trained over `encoder` on the `train` files
    of each corpus, once for each seed. `options` are its hyperparameters and `fit` those of its training, both as
    `genner rival list RIVAL` shows them. The best state is chosen on `dev_sentences` of the `dev` file (0: all).

    With the name of a tool as `rival`, nothing is trained: `options` are those of the tool, its `model` among them, and
    its labels those of each corpus. Files and folders among them are below the data root if relative.

    With `folder`, what `genner rival fit` left there is scored instead. `encoder` and `folder` are folders, below the
    data root if relative; an encoder may be a name on the Hugging Face hub. `corpora` overrides the study's.
    """

    name: str
    rival: str = ""
    encoder: str = ""
    folder: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    dev_sentences: int = 0
    corpora: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"[[system]] {self.name!r}"
        if self.dev_sentences < 0:
            raise UsageError(f"{where}: dev_sentences = {self.dev_sentences}; legal: 0 (all of them) or more")
        if self.folder:
            given = [key for key in ("rival", "encoder", "options", "fit", "dev_sentences") if getattr(self, key)]
            if given:
                raise UsageError(
                    f"{where} has a 'folder', whose rival is trained already, and {given[0]!r}, which is for training; "
                    "leave one of them out"
                )
            return
        check_names("rival", [self.rival], [*RIVALS, *TOOLS])
        if self.rival in TOOLS:
            if given := [key for key in ("encoder", "fit", "dev_sentences") if getattr(self, key)]:
                raise UsageError(
                    f"{where}: {self.rival} is a tool, which is not trained here, and {given[0]!r} is for training; "
                    "leave it out"
                )
            _ = self.tool_options
            return
        if not self.encoder:
            raise UsageError(
                f"{where}: rival = {self.rival!r} needs an 'encoder': a folder of transformers, or OWNER/NAME on the "
                "Hugging Face hub"
            )
        if "seed" in self.fit:
            raise UsageError(f"{where}: seed is no key of fit; the study's 'seeds' say with which it is trained")
        _ = self.training

    @property
    def is_fitted(self) -> bool:
        """Whether the study trains it."""
        return not self.folder and self.rival not in TOOLS

    @property
    def tool_options(self) -> Json:
        """All options of a tool. Raises `UsageError`."""
        try:
            return asdict(build(tool_class(self.rival).options_type, self.options, "system.options"))
        except UsageError as error:
            raise UsageError(f"[[system]] {self.name!r}: {error}") from None

    @property
    def training(self) -> Json:
        """All hyperparameters: `options` of the rival, and `fit` without the seed. Raises `UsageError`."""
        kind = rival_class(self.rival)
        try:
            fit = build(type(kind.fit_options), asdict(kind.fit_options) | self.fit, "system.fit")
            own = build(kind.options_type, self.options, "system.options")
        except UsageError as error:
            raise UsageError(f"[[system]] {self.name!r}: {error}") from None
        return {"hyperparameters": asdict(own), "fit": {key: v for key, v in asdict(fit).items() if key != "seed"}}


def place_of(named: str, data: Path) -> str:
    """Where an encoder or a rival is: a folder below the data root, another folder, or the name itself. Several
    encoders are divided by commas."""
    if "," in named and not (data / named).is_dir():
        return ",".join(place_of(part, data) for part in named.split(","))
    path = data / Path(named).expanduser()
    return str(path) if named and path.exists() else named


def encoder_name(named: str, data: Path) -> str:
    """What identifies encoders in a cell, on any machine (`genner.transformer_encoder.identity`)."""
    return ",".join(identity(place) for place in place_of(named, data).split(","))


def tool_places(entry: RivalEntry, data: Path) -> dict[str, str]:
    """The options of a tool that may differ from machine to machine: where its files and models are, addresses."""
    kind, options = tool_class(entry.rival), entry.tool_options
    addresses = {key: options[key] for key in kind.unsigned if isinstance(options[key], str)}
    return addresses | {key: place_of(options[key], data) for key in kind.files}


def tool_settings(entry: RivalEntry, data: Path) -> Json:
    """The other options of a tool, and what its files and models are on any machine."""
    kind, places = tool_class(entry.rival), tool_places(entry, data)
    named = {key: kind.identity(places[key]) for key in kind.files}
    return {key: value for key, value in entry.tool_options.items() if key not in places} | named


def trained_rival(folder: str, data: Path) -> Json:
    """What identifies a trained rival on any machine: its kind (empty if it cannot be told), and NAME@DIGEST of its
    manifest and samples of its weights."""
    from genner.rivals.manifest import RIVAL_MANIFEST

    path = data / Path(folder).expanduser()
    try:
        manifest = (path / RIVAL_MANIFEST).read_bytes()
        told = json.loads(manifest)
        kind = str(told.get("rival") or "")
    except (OSError, ValueError, AttributeError):
        return {"rival": "", "folder": path.name}
    digest = hashlib.sha256(manifest + sampled_weights(path).encode()).hexdigest()
    return {"rival": kind, "folder": f"{path.resolve().name}@{digest[:8]}"}
