"""A linear-chain conditional random field (Lafferty et al., 2001) over the tags of words.

The score of a tag sequence is the sum of its emissions, transitions, and the scores of beginning and ending with its
first and last tag. Transitions that the tag scheme forbids are impossible: no sequence with one has any probability, so
decoding cannot give one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genner.data.tags import parse

IMPOSSIBLE = -1e4  # finite, so that no gradient is NaN; far below what emissions can make up for


class CRF(nn.Module):
    """Args:
    tags: the tags, such as `O`, `B-PER`, in the order of the emissions.
    bioes: whether an entity has to end with E- or S-.
    """

    forbidden: Tensor

    def __init__(self, tags: Sequence[str], bioes: bool) -> None:
        super().__init__()
        n = len(tags)
        self.transitions = nn.Parameter(torch.empty(n + 1, n + 1).uniform_(-0.1, 0.1))  # row and column n: the edges
        allowed = [[follows(a, b, bioes) for b in [*tags, None]] for a in [*tags, None]]
        self.register_buffer("forbidden", ~torch.tensor(allowed), persistent=False)

    @property
    def _scores(self) -> Tensor:
        return self.transitions.masked_fill(self.forbidden, IMPOSSIBLE)

    def loss(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Negative log-likelihood, mean over sequences. Emissions [B, W, n], tags [B, W], mask [B, W], which is True on
        a non-empty prefix of each row."""
        return (self.log_partition(emissions, mask) - self.score(emissions, tags, mask)).mean()

    def score(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """The score of a tag sequence, [B]."""
        scores = self._scores
        kept = mask.float()
        emitted = (emissions.gather(2, tags.unsqueeze(2)).squeeze(2) * kept).sum(1)
        moved = (scores[tags[:, :-1], tags[:, 1:]] * kept[:, 1:]).sum(1)
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1).squeeze(1)
        return emitted + moved + scores[-1, tags[:, 0]] + scores[last, -1]

    def log_partition(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The logarithm of the sum of exp(score) over all tag sequences, [B]."""
        scores = self._scores
        alpha = scores[-1, :-1] + emissions[:, 0]
        for place in range(1, emissions.shape[1]):
            moved = torch.logsumexp(alpha.unsqueeze(2) + scores[:-1, :-1], 1) + emissions[:, place]
            alpha = torch.where(mask[:, place].unsqueeze(1), moved, alpha)
        return torch.logsumexp(alpha + scores[:-1, -1], 1)

    def decode(self, emissions: Tensor, mask: Tensor) -> list[list[int]]:
        """The best tag sequence of each row (Viterbi)."""
        scores = self._scores
        alpha = scores[-1, :-1] + emissions[:, 0]
        back = []
        for place in range(1, emissions.shape[1]):
            best, whence = (alpha.unsqueeze(2) + scores[:-1, :-1]).max(1)
            back.append(whence)
            alpha = torch.where(mask[:, place].unsqueeze(1), best + emissions[:, place], alpha)
        last = (alpha + scores[:-1, -1]).argmax(1).tolist()
        found = []
        for row, (tag, length) in enumerate(zip(last, mask.sum(1).tolist(), strict=True)):
            path = [tag]
            for place in range(length - 2, -1, -1):
                path.append(int(back[place][row, path[-1]]))
            found.append(path[::-1])
        return found

    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """The probability of each tag at each word, [B, W, n]: the gradient of the log partition."""
        with torch.inference_mode(False), torch.enable_grad():
            given = emissions.detach().clone().requires_grad_()
            total = self.log_partition(given, mask.clone()).sum()
            (found,) = torch.autograd.grad(total, given)
        return found


def follows(before: str | None, after: str | None, bioes: bool) -> bool:
    """Whether a tag may follow another; None is the edge of a text."""
    old, old_label = (before and parse(before)) or ("O", "")
    new, new_label = (after and parse(after)) or ("O", "")
    open_ = old in ("B", "I")
    if new in ("I", "E"):
        return open_ and old_label == new_label
    return not (bioes and open_)
