"""Log-likelihoods of several answers to one prompt: the prompt is run once, then all answers as one batch.

The harness reruns the prompt for every answer. That would be most of the work here, since prompts are passages.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any


def likelihoods(lm: Any, wanted: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
    """For each (prompt, answer): the answer's log-likelihood (natural logarithm) and its number of tokens.

    Equal to `lm.loglikelihood` up to rounding; `lm` is the harness's model. Pairs of one prompt are adjacent; no answer
    is empty. Models whose cache has more than keys and values, and prompts that fill the window, use the harness's
    method.
    """
    found: list[tuple[float, int]] = []
    for prompt, group in groupby(wanted, key=lambda pair: pair[0]):
        answers = [answer for _, answer in group]
        encoded = [lm._encode_pair(prompt, answer) for answer in answers]
        values = _together(lm, encoded)
        if values is None:
            values = _apart(lm, [(prompt, answer) for answer in answers])
        found += [(value, len(ids)) for value, (_, ids) in zip(values, encoded, strict=True)]
    return found


def _apart(lm: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    from lm_eval.api.instance import Instance

    asked = [Instance("loglikelihood", {}, pair, 0, (None, None, None)) for pair in pairs]
    return [float(value) for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]


def _together(lm: Any, encoded: Sequence[tuple[list[int], list[int]]]) -> list[float] | None:
    """The sums over the answers' tokens, or None if this method cannot be used."""
    import torch

    prompts, answers = [ids for ids, _ in encoded], [ids for _, ids in encoded]
    longest = max(map(len, answers))
    if any(ids != prompts[0] for ids in prompts) or not prompts[0] or len(prompts[0]) + longest > lm.max_length:
        return None
    rows = torch.zeros(len(answers), max(longest - 1, 1), dtype=torch.long)  # padding is on the right and is ignored
    for row, ids in zip(rows, answers, strict=True):
        row[: len(ids) - 1] = torch.tensor(ids[:-1], dtype=torch.long)
    with torch.no_grad():
        out = lm.model(input_ids=torch.tensor([prompts[0]], device=lm.device), use_cache=True)
        cache = out.past_key_values
        layers = getattr(cache, "layers", ())
        if not layers or any(getattr(layer, "keys", None) is None for layer in layers):
            return None  # a recurrent state cannot take several tokens at once
        first = torch.log_softmax(out.logits[0, -1].float(), dim=-1)  # [vocabulary]
        totals = [float(first[ids[0]]) for ids in answers]
        if longest > 1:
            cache.batch_repeat_interleave(len(answers))
            logits = lm.model(input_ids=rows.to(lm.device), past_key_values=cache, use_cache=True).logits
            for i, ids in enumerate(answers):
                steps = torch.log_softmax(logits[i, : len(ids) - 1].float(), dim=-1)  # [tokens - 1, vocabulary]
                after = torch.tensor(ids[1:], dtype=torch.long, device=steps.device)
                totals[i] += float(steps.gather(1, after[:, None]).sum())
    return totals
