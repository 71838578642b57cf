"""A heterogeneous graph transformer (Hu et al., 2020) on the graphs of GNN-SL, in plain tensors.

A graph has nodes of two types. *Words* are those of a text. Each word has k *neighbours*, similar words of training
texts, and each of these has the words around it, its *context*, as further nodes of the same type. Edges are of two
relations, and run both ways:

- *intra*: between all words of a text; between a neighbour and each word of its context;
- *inter*: between a word and its neighbours.

Every word has the same number of neighbours, and these the same number of context words, some of them missing. So the
graph is an array [batch, words, neighbours, context], and no library for graphs is needed.

A layer gives node t the message, for each relation r, of its neighbours s under r:

    a_r(s, t) = softmax over s of  (K s) A_r (Q t) p_r / sqrt(d)        for each head
    m_r(t)    = sum over s of      a_r(s, t) (V s) M_r
    t'        = LayerNorm(t + O mean over r of m_r(t))

K, Q, V, O and LayerNorm belong to the type of the node, A, M and p to the relation. A relation without edges at a node
gives the message 0, and counts in the mean.
"""

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn

WORDS, NEAR = 0, 1  # types of nodes
INTRA, INTER = 0, 1  # relations
Kept = Literal["all", "centres", "none"]
"""Which nodes besides words the next layer needs: all, only the neighbours without their context, or none."""


class GraphLayer(nn.Module):
    """One layer. B texts, W words, K neighbours, C nodes for each: the neighbour, in the middle, and its context.

    Args:
        width: H, of nodes.
        heads: of attention; they divide the width.
        dropout: of messages and attention.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query, self.key, self.value, self.out = (
            nn.ModuleList(nn.Linear(width, width) for _ in (WORDS, NEAR)) for _ in range(4)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in (WORDS, NEAR))
        self.attend = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2, heads, self.size, self.size)))
        self.send = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2, heads, self.size, self.size)))
        self.prior = nn.Parameter(torch.ones(2, heads))
        self.drop = nn.Dropout(dropout)

    def forward(self, words: Tensor, near: Tensor, there: Tensor, is_near: Tensor, kept: Kept) -> tuple[Tensor, Tensor]:
        """The nodes after the layer.

        Args:
            words: [B, W, H].
            near: [B, W, K, C, H].
            there: [B, W], True on words.
            is_near: [B, W, K, C], True on nodes that exist.
            kept: the nodes of `near` that are computed. With `centres` the result has C = 1; with `none` it is `near`.
        """
        middle = near.shape[3] // 2
        centre = near[:, :, :, middle]  # [B, W, K, H]
        centre_is = is_near[:, :, :, middle]

        query = self._heads(self.query[WORDS](words))
        among = ~torch.eye(words.shape[1], dtype=torch.bool, device=words.device) & there[:, None, :]  # [B, W, V]
        score = torch.einsum("bwhi,bvhi->bwhv", self._asked(query, INTRA), self._heads(self.key[WORDS](words)))
        weight = self._weights(score, INTRA, among[:, :, None, :])
        word_value = self._heads(self.value[WORDS](words))
        intra = self._sent(torch.einsum("bwhv,bvhi->bwhi", weight, word_value), INTRA)

        score = torch.einsum("bwhi,bwkhi->bwhk", self._asked(query, INTER), self._heads(self.key[NEAR](centre)))
        weight = self._weights(score, INTER, centre_is[:, :, None, :])
        centre_value = self._heads(self.value[NEAR](centre))
        inter = self._sent(torch.einsum("bwhk,bwkhi->bwhi", weight, centre_value), INTER)
        after = self._update(words, intra + inter, WORDS)
        if kept == "none":
            return after, near

        query = self._heads(self.query[NEAR](centre))
        around = is_near.clone()
        around[:, :, :, middle] = False
        score = torch.einsum("bwkhi,bwkchi->bwkhc", self._asked(query, INTRA), self._heads(self.key[NEAR](near)))
        weight = self._weights(score, INTRA, around[:, :, :, None, :])
        intra = self._sent(torch.einsum("bwkhc,bwkchi->bwkhi", weight, self._heads(self.value[NEAR](near))), INTRA)
        # An edge that is the only one of its relation at its node has the weight 1.
        alone = self.drop(centre.new_ones(*centre.shape[:3], self.heads, 1))
        inter = self._sent(word_value, INTER)[:, :, None] * alone
        new_centre = self._update(centre, intra + inter, NEAR)[:, :, :, None]
        if kept == "centres":
            return after, new_centre
        alone = self.drop(centre.new_ones(*near.shape[:4], self.heads, 1))
        sent = self._sent(centre_value, INTRA)[:, :, :, None] * alone
        new = self._update(near, sent, NEAR)
        return after, torch.cat([new[:, :, :, :middle], new_centre, new[:, :, :, middle + 1 :]], 3)

    def _heads(self, nodes: Tensor) -> Tensor:
        return nodes.reshape(*nodes.shape[:-1], self.heads, self.size)

    def _asked(self, query: Tensor, relation: int) -> Tensor:
        """A_r (Q t), so that the matrix is applied to the fewer nodes. [..., heads, size]"""
        return torch.einsum("...hj,hij->...hi", query, self.attend[relation])

    def _sent(self, value: Tensor, relation: int) -> Tensor:
        """Values times M_r. [..., heads, size]"""
        return torch.einsum("...hi,hij->...hj", value, self.send[relation])

    def _weights(self, score: Tensor, relation: int, mask: Tensor) -> Tensor:
        """Attention over the last dimension, 0 where the mask is False, even if it is False everywhere."""
        score = score * self.prior[relation][:, None] / sqrt(self.size)
        weight: Tensor = self.drop(score.masked_fill(~mask, -1e9).softmax(-1) * mask)
        return weight

    def _update(self, nodes: Tensor, messages: Tensor, kind: int) -> Tensor:
        """`messages` [..., heads, size]: the sum over the two relations."""
        new: Tensor = self.norm[kind](nodes + self.drop(self.out[kind](messages.flatten(-2) / 2)))
        return new


class GraphTransformer(nn.Module):
    """Layers of a graph transformer; nodes that no later layer needs are not computed.

    Args:
        size: of the features of nodes.
        width: within; 0: that of the features.
        depth, heads, dropout: see `GraphLayer`.
    """

    def __init__(self, size: int, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        width = width or size
        self.adapt = nn.ModuleList(nn.Linear(size, width) for _ in (WORDS, NEAR)) if width != size else None
        self.layers = nn.ModuleList(GraphLayer(width, heads, dropout) for _ in range(depth))
        self.width = width

    def forward(self, words: Tensor, near: Tensor, there: Tensor, is_near: Tensor) -> Tensor:
        """The words after all layers, [B, W, width]; arguments as in `GraphLayer.forward`."""
        if self.adapt is not None:
            words, near = (
                nn.functional.gelu(adapt(nodes)) for adapt, nodes in zip(self.adapt, (words, near), strict=True)
            )
        for left, layer in zip(range(len(self.layers) - 1, -1, -1), self.layers, strict=True):
            if left == 0:  # only neighbours themselves send to words
                middle = near.shape[3] // 2
                near, is_near = near[:, :, :, middle : middle + 1], is_near[:, :, :, middle : middle + 1]
            kept: Kept = "none" if left == 0 else "centres" if left == 1 else "all"
            words, near = layer(words, near, there, is_near, kept)
            if kept == "centres":
                middle = is_near.shape[3] // 2
                is_near = is_near[:, :, :, middle : middle + 1]
        return words
