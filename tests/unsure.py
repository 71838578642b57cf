"""An engine without a model whose answer has tokens of known probability."""

from collections.abc import Iterable, Iterator
from math import log

from genner.engines.base import Answered, Generation, Request
from genner.engines.scripted import ScriptedEngine


class Unsure(ScriptedEngine):
    """Of "Ann met Bob", in inline XML, tags Ann with 0.9 * 0.9 and Bob with 0.5, whatever is asked."""

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        answer = b"<PER>Ann</PER> met <PER>Bob</PER>"
        ends, logprobs = (5, 8, 14, 19, 24, 27, 33), (log(0.9), 0.0, log(0.9), 0.0, log(0.5), 0.0, 0.0)
        for request in requests:
            yield request, Generation(answer, ends, logprobs)
