"""How lm-evaluation-harness draws the shots of the NER tasks: at random from the file of shots, which must be named."""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.samplers import ContextSampler

from genner.errors import UsageError


class NamedShots(ContextSampler):  # type: ignore[misc]
    """The harness's sampler, which says how to name a file of shots where there is none."""

    def sample(self, n: int, *args: Any, **kwargs: Any) -> Sequence[dict[str, Any]]:
        if n and len(self.df) < n:
            raise UsageError(
                f"--num_fewshot {n}: {len(self.df)} documents to draw shots from; give lm_eval --metadata "
                "CORPUS_shots=FILE as well, as genia_shots=corpora/genia/train.jsonl"
            )
        drawn: Sequence[dict[str, Any]] = super().sample(n, *args, **kwargs)
        return drawn
