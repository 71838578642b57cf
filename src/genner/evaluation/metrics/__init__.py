"""What counts as right. To add a metric: a file with a function of two documents, and a line in `METRICS`.

A metric takes the gold document and the prediction, over the same text, and returns the `Counts` of that document; its
docstring is its definition. Precision, recall, F1 and intervals follow from the sum over the documents.
"""

from collections.abc import Callable

from genner.document import Document
from genner.evaluation.counts import Counts
from genner.evaluation.metrics.partial import partial
from genner.evaluation.metrics.span import span
from genner.evaluation.metrics.strict import strict
from genner.evaluation.metrics.text import text
from genner.evaluation.metrics.tolerant import tolerant
from genner.evaluation.metrics.type import type_

Metric = Callable[[Document, Document], Counts]

METRICS: dict[str, Metric] = {
    "strict": strict,
    "span": span,
    "text": text,
    "partial": partial,
    "type": type_,
    "tolerant": tolerant,
}

__all__ = ["METRICS", "Metric"]
