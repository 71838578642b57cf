"""The options of few-shot prompting (docs/few_shot.md), shared by the commands that extract."""

from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import tell
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.few_shot import FewShot

DemonstrationsOption = Annotated[
    str | None, typer.Option(help="An annotated corpus, sentences of which are shown before each text, solved.")
]
ShotsOption = Annotated[
    int | None, typer.Option(min=1, help="How many demonstrations stand before a text; 8 if left out.")
]
RetrievalOption = Annotated[
    str | None,
    typer.Option(help="Which demonstrations: random, sentence or entity (the nearest). With --encoder: entity."),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Tells which are near: the folder of a transformers encoder, OWNER/NAME on the Hugging Face hub, or an "
        "embeddings endpoint as https://HOST/v1#MODEL."
    ),
]
DemonstrationLimitOption = Annotated[
    int | None, typer.Option(min=1, help="Use so many sentences of the demonstrations, evenly spaced; all if left out.")
]
DemonstrationSeedOption = Annotated[int | None, typer.Option(help="Seed of random demonstrations; 1 if left out.")]
SearchOption = Annotated[
    str | None,
    typer.Option(help="How the nearest are searched: matrix, or faiss, faster on large corpora; both find the same."),
]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Ask the model about each entity whether it is one; drop what it denies.")
]
PerLabelOption = Annotated[
    bool | None,
    typer.Option(
        "--label-by-label/--all-labels", help="Ask for one label at a time, or for all; else as the format does."
    ),
]
WordingOption = Annotated[
    str, typer.Option(help="The words of the prompt: genner (as its adapters are trained), gpt_ner (as the paper's).")
]


def few_shot_of(
    demonstrations: str | None,
    shots: int | None,
    retrieval: str | None,
    encoder: str | None,
    limit: int | None,
    seed: int | None,
    search: str | None,
    *,
    dry_run: bool = False,
) -> "FewShot | None":
    """What the options ask for; None for no demonstrations. A dry run asks no encoder that is a server, but draws at
    random. Raises `UsageError` for options without demonstrations."""
    from genner.few_shot import FewShot
    from genner.few_shot.prompting import SHOTS

    if demonstrations is None:
        given = {
            "--shots": shots,
            "--retrieval": retrieval,
            "--encoder": encoder,
            "--demonstration-limit": limit,
            "--demonstration-seed": seed,
            "--search": search,
        }
        if lone := next((name for name, value in given.items() if value is not None), None):
            raise UsageError(f"{lone} is about demonstrations: give --demonstrations CORPUS as well")
        return None
    if (
        dry_run
        and encoder
        and encoder.startswith(("http://", "https://"))
        and retrieval in (None, "sentence", "entity")
    ):
        tell(
            "demonstrations of this estimate are drawn at random, as the encoder is a server, which is not asked: "
            "answers in the cache are not found, and vectors are not in the price"
        )
        retrieval, encoder = "random", None
    return FewShot(
        demonstrations,
        shots=SHOTS if shots is None else shots,
        retrieval=retrieval,
        encoder=encoder,
        limit=limit,
        seed=1 if seed is None else seed,
        search=search or "matrix",
    )
