"""The label set of a file of answers if none is given: the labels that occur in it."""

from collections.abc import Iterable

from genner.document import LabelSet
from genner.formats import get_format
from genner.formats.inline import is_tag
from genner.formats.reply import reply
from genner.generations.paper import PAPER_RULES, READ_WITH_LABELS
from genner.generations.records import GenerationRecord

NO_LABELS = LabelSet.of("none")  # a label set without any reasoning marker as a tag


def infer_labels(records: Iterable[GenerationRecord], name: str) -> LabelSet | None:
    """The labels in gold answers or predictions, sorted, illegal tags dropped; None if there are none.

    For a format that the paper's rule reads with a label set, labels are the names of the tags. Reasoning markers and
    the text inside them are not labels.
    """
    tags: set[str] = set()
    for record in records:
        prompt = record.prompt or ""
        said, meant = (
            reply(answer, prompt, NO_LABELS) if isinstance(answer, str) else answer
            for answer in (record.predict, record.label)
        )
        if name in READ_WITH_LABELS:
            tags.update(tag for answer in (said, meant) for tag in get_format(name).labels_in(str(answer)))
        else:
            reading = PAPER_RULES[name](said, meant, ())
            tags.update(item[0] for item in (*reading.gold, *reading.pred))
    legal = sorted(filter(is_tag, tags))
    return LabelSet.of(*legal) if legal else None
