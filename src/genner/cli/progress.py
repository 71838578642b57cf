"""The progress of an extraction, on a terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from genner.document import Document, Prediction

if TYPE_CHECKING:
    from genner.engines.base import Generation, Request
    from genner.extract import Extractor


class ExtractionProgress:
    """A line on standard error: finished documents and sentences, and the model's progress in the current one.

    It appears after the model has worked for a second, and never if `quiet` or if standard error is not a terminal.
    `total`: the number of documents, if known.
    """

    def __init__(self, total: int | None = None, quiet: bool = False) -> None:
        from tqdm import tqdm

        self._total = total
        self._documents = 0
        self._last: tuple[str, int] | None = None
        self._bar = tqdm(
            desc="tagging",
            file=sys.stderr,
            disable=quiet or sys.stderr is None or not sys.stderr.isatty(),
            delay=1.0,
            smoothing=0,
            dynamic_ncols=True,
            leave=False,
            bar_format="{desc}: {n_fmt} sentences, {rate_noinv_fmt} [{elapsed}]",
            unit=" sentences",
        )

    def over(self, ner: "Extractor", documents: Iterable[Document], batch_size: int | None) -> Iterator[Prediction]:
        """The predictions for `documents`; while the caller handles one, the line is hidden."""
        with self._bar:
            for prediction in ner.pipe(documents, batch_size=batch_size, on_generation=self._heard):
                self._documents += 1
                self._bar.clear()
                yield prediction

    def _heard(self, request: "Request", _: "Generation") -> None:
        document, chunk = request.context.document, request.context.chunk  # of a question about an entity, too
        if self._last == (document.id, chunk.start):  # a format with one prompt per label
            return
        self._last = document.id, chunk.start
        if self._bar.disable:
            return
        from genner.render.layout import visible_line

        of = f" of {self._total}" if self._total is not None else ""
        name = visible_line(document.id)[:30]
        at = round(100 * chunk.end / max(len(document.text), 1))
        self._bar.set_description_str(f"{self._documents}{of} documents, {at} % of {name}", refresh=False)
        self._bar.update()
