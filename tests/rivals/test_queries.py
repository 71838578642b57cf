"""What is special to the rivals that read a text once for each label, and to BINDER."""

from dataclasses import replace
from itertools import product
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from tests.encoders import LABELS, made_up

from genner.document import Document, Entity, Label, LabelSet
from genner.errors import UsageError
from genner.rivals.bert_mrc import BertMRC, MRCNetwork, MRCOptions
from genner.rivals.bert_mrc_dsc import BertMRCDSC, DSCNetwork, DSCOptions, dice_loss, hardest, nearest_ends
from genner.rivals.binder import Binder, BinderNetwork, BinderOptions, contrast
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.queries import flat_or_all, label_texts
from genner.rivals.words import ScoredSpan, Window, WordEntity, words

FLAT = LabelSet(LABELS.labels, depth=1)


def window(text: str, *entities: tuple[int, int, str]) -> Window:
    found = words(text)
    return Window(text, found, tuple(WordEntity(*e) for e in entities), (0, len(found)))


WINDOWS = [window("Ada met Bob in Rome", (0, 1, "PER"), (2, 3, "PER"), (4, 5, "LOC")), window("Rome is old")]


def test_the_text_of_a_label(tiny_encoder: WordEncoder) -> None:
    labels = LabelSet((Label("A_x", "long name", "what it is"), Label("B_y", "other name"), Label("C_z")))
    assert label_texts(labels, "definition", tiny_encoder) == ["what it is", "other name", "C z"]
    assert label_texts(labels, "name", tiny_encoder) == ["long name", "other name", "C z"]
    assert label_texts(labels, "tag", tiny_encoder) == ["A x", "B y", "C z"]
    same = LabelSet((Label("A", "one"), Label("B", "one")))
    with pytest.raises(UsageError, match="'A' and 'B' are the same text"):
        label_texts(same, "name", tiny_encoder)


def test_queries_shorten_the_room(tiny_encoder: WordEncoder) -> None:
    network = MRCNetwork(tiny_encoder, LABELS, MRCOptions())
    assert network.room == tiny_encoder.limit - max(map(tiny_encoder.query_cost, network.queries))
    long = LabelSet((Label("PER", definition="x" * 60),))
    with pytest.raises(UsageError, match="query of label 'PER' takes"):
        MRCNetwork(tiny_encoder, long, MRCOptions())


def test_a_step_has_all_pairs_with_an_entity(tiny_encoder: WordEncoder) -> None:
    every = {(0, 0), (0, 1), (1, 0), (1, 1)}
    for share, wanted in ((1.0, every), (0.0, {(0, 0), (0, 1)})):
        network = MRCNetwork(tiny_encoder, LABELS, MRCOptions(negatives=share))
        assert set(network.training_pairs(WINDOWS)) == wanted
    assert len(network.training_pairs(WINDOWS[1:])) == 1


def test_flat_labels_take_the_best_span() -> None:
    spans = [ScoredSpan(0, 2, "PER", 0.7), ScoredSpan(1, 2, "LOC", 0.9), ScoredSpan(3, 4, "PER", 0.6)]
    assert flat_or_all(spans, FLAT) == spans[1:]
    assert flat_or_all(spans, LABELS) == spans


def test_mrc_loss_is_that_of_slow_loops(tiny_encoder: WordEncoder) -> None:
    network = MRCNetwork(tiny_encoder, LABELS, MRCOptions(match_weight=0.5)).eval()
    starts, ends, matches = [], [], []
    with torch.no_grad():
        for w, (k, tag) in product(WINDOWS, enumerate(LABELS.tags)):
            encoded = tiny_encoder([w], [network.queries[k]])
            first, last = encoded.pool("first")[0], encoded.pool("last")[0]
            begin, finish = network.start(first).squeeze(1), network.end(last).squeeze(1)
            gold = {(e.start, e.end - 1) for e in w.entities if e.label == tag}
            firsts, lasts = {i for i, _ in gold}, {j for _, j in gold}
            for i in range(len(w.words)):
                starts.append(_bce(begin[i], i in firsts))
                ends.append(_bce(finish[i], i in lasts))
                for j in range(i, len(w.words)):
                    if (i in firsts and j in lasts) or (begin[i] > 0 and finish[j] > 0):
                        hidden = F.gelu(network.from_start(first[i]) + network.from_end(last[j]))
                        matches.append(_bce(network.match(hidden)[0], (i, j) in gold))
        mean = [sum(losses) / len(losses) for losses in (starts, ends, matches)]
        assert network.loss(WINDOWS).item() == pytest.approx((mean[0] + mean[1] + 0.5 * mean[2]) / 2.5, abs=1e-5)


def _bce(logit: torch.Tensor, gold: bool) -> float:
    return log(1 + exp(-float(logit) if gold else float(logit)))


def test_dice_by_hand() -> None:
    """p = 0.5, 0.8, 0.2 with gold 1, 1, 0."""
    logits, gold = torch.tensor([0.0, log(4), -log(4)]), torch.tensor([True, True, False])
    wanted = 1 - (2 * (0.5 + 0.8) + 1) / (0.25 + 0.64 + 0.04 + 2 + 1)
    assert dice_loss(logits, gold, alpha=0, gamma=1).item() == pytest.approx(wanted)
    weighted = [0.5 * 0.5, 0.2 * 0.8, 0.8 * 0.2]
    wanted = 1 - (2 * (weighted[0] + weighted[1]) + 1) / (sum(p * p for p in weighted) + 2 + 1)
    assert dice_loss(logits, gold, alpha=1, gamma=1).item() == pytest.approx(wanted)


def test_dice_has_a_finite_gradient_where_it_is_sure() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(dice_loss(logits, torch.tensor([True, False]), 0.01, 1), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("gold", "ratio", "counted"),
    [
        ([1, 0, 0, 0], 2.0, [1, 0, 1, 1]),
        ([1, 0, 0, 0], 0.3, [1, 0, 0, 1]),
        ([1, 0, 0, 0], 9.0, [1, 1, 1, 1]),
        ([0, 0, 0, 0], 0.3, [1, 1, 1, 1]),
        ([1, 1, 1, 1], 0.3, [1, 1, 1, 1]),
    ],
)
def test_the_hardest_negatives(gold: list[int], ratio: float, counted: list[int]) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert hardest(logits, torch.tensor(gold, dtype=torch.bool), ratio).int().tolist() == counted


def test_nearest_ends() -> None:
    assert nearest_ends([0, 1, 4, 6], [2, 3, 4]) == [(0, 2), (4, 4)]


def test_the_mask_leaves_out_what_is_no_word(tiny_encoder: WordEncoder) -> None:
    """With it padding does not change the loss of a batch; without it more negatives raise the loss."""
    losses = {}
    for mask in (True, False):
        torch.manual_seed(0)
        network = DSCNetwork(tiny_encoder, LABELS, DSCOptions(mask=mask, loss="bce", answerable=0)).eval()
        torch.nn.init.zeros_(network.start[2].weight), torch.nn.init.zeros_(network.end[2].weight)
        torch.nn.init.constant_(network.start[2].bias, -2.0), torch.nn.init.constant_(network.end[2].bias, -2.0)
        losses[mask] = network.loss(WINDOWS).item()
    yes, no = log(1 + exp(2)), log(1 + exp(-2))  # losses of a positive and of a negative
    assert losses[True] == pytest.approx(2 * (3 * yes + (2 * 8 - 3) * no) / 16, abs=1e-5)
    assert losses[False] < losses[True]


def test_without_an_answer_there_is_no_span(tiny_encoder: WordEncoder) -> None:
    network = DSCNetwork(tiny_encoder, LABELS, DSCOptions()).eval()
    for head in (network.start, network.end, network.any):
        torch.nn.init.zeros_(head[2].weight), torch.nn.init.constant_(head[2].bias, 2.0)
    assert all(network.decode(WINDOWS))
    torch.nn.init.constant_(network.any[2].bias, -2.0)
    assert network.decode(WINDOWS) == [[], []]


def test_dsc_cannot_express_overlap_within_a_label(tiny_encoder: WordEncoder) -> None:
    gold = window("a b c d", (0, 3, "PER"), (1, 2, "PER"), (1, 2, "LOC"))
    rival = BertMRCDSC(tiny_encoder)
    assert [e for e, _ in rival.begin(LABELS, FitOptions()).unencodable(gold)] == [(1, 2, "PER")]
    assert [e for e, _ in rival.begin(FLAT, FitOptions()).unencodable(gold)] == [(1, 2, "LOC"), (1, 2, "PER")]
    assert BertMRC(tiny_encoder).begin(LABELS, FitOptions()).unencodable(gold) == []


def test_contrast_is_that_of_slow_loops() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 5)
    scores[1, :, 4] = -torch.inf
    gold = [(0, 1, 2), (0, 1, 3), (1, 0, 1)]
    row, label, place = torch.tensor(gold).unbind(1)
    threshold, entities = contrast(scores, row, label, place, scores[..., 0])
    negatives = {
        (b, k): [s for n, s in enumerate(scores[b, k].tolist()) if (b, k, n) not in gold]
        for b, k in product(range(2), range(3))
    }
    of_cls = [log(sum(map(exp, n))) - n[0] for n in negatives.values()]
    of_gold = [
        log(sum(map(exp, [*negatives[b, k], scores[b, k, n].item()]))) - scores[b, k, n].item() for b, k, n in gold
    ]
    assert threshold.item() == pytest.approx(sum(of_cls) / 6, abs=1e-5)
    assert entities.item() == pytest.approx(sum(of_gold) / 3, abs=1e-5)


def test_binder_spans_are_those_of_slow_loops(tiny_encoder: WordEncoder) -> None:
    network = BinderNetwork(tiny_encoder, LABELS, BinderOptions(max_span=3)).eval()
    with torch.no_grad():
        encoded = tiny_encoder(WINDOWS)
        found = network.similarities(encoded)
        first, last = encoded.pool("first"), encoded.pool("last")
        assert network.label_encoder is not None
        labels = network.of_label[2](network.label_encoder.texts(network.texts))
        for b, k, i, more in product(range(2), range(2), range(5), range(3)):
            if i + more < len(WINDOWS[b].words):
                vector = network.span_start(first[b, i]) + network.span_end(last[b, i + more])
                near = F.cosine_similarity(vector + network.span_length.weight[more], labels[k], dim=0)
                assert found.spans[b, k, i, more].item() == pytest.approx(near.item() / 0.07, abs=1e-4)
            else:
                assert found.spans[b, k, i, more] == -torch.inf


def test_binder_finds_what_is_above_the_threshold(tiny_encoder: WordEncoder) -> None:
    network = BinderNetwork(tiny_encoder, LABELS, BinderOptions()).eval()
    with torch.no_grad():
        found = network.similarities(tiny_encoder(WINDOWS))
    wanted = {
        (b, i, i + s + 1, LABELS.tags[k])
        for b, k, i, s in (found.spans > found.threshold[..., None, None]).nonzero().tolist()
    }
    decoded = network.decode(WINDOWS)
    assert {(b, *span[:3]) for b, spans in enumerate(decoded) for span in spans} == wanted
    assert all(span.score > 0.5 for spans in decoded for span in spans)


def test_vectors_of_labels_follow_the_weights(tiny_encoder: WordEncoder) -> None:
    network = BinderNetwork(tiny_encoder, LABELS, BinderOptions()).eval()
    with torch.inference_mode():
        before = network._label_vectors()
        assert network._label_vectors() is before
    with torch.no_grad():
        network.of_label[0].weight.mul_(-1)
    with torch.inference_mode():
        turned = network._label_vectors()
        assert not torch.equal(turned[0], before[0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)  # as in training: it tells no versions
    network.train()
    network.loss(WINDOWS).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    network.eval()
    with torch.inference_mode():
        after = network._label_vectors()
        network._labels = None
        assert all(torch.equal(a, b) for a, b in zip(after, network._label_vectors(), strict=True))
        assert not torch.equal(after[0], turned[0])


def test_binder_leaves_out_windows_without_an_entity(tiny_encoder: WordEncoder) -> None:
    data = [*made_up(), Document("no one", ())]
    for empty, wanted in ((False, 7), (True, 9)):
        rival = Binder(tiny_encoder, empty=empty)
        rival.begin(LABELS, FitOptions())
        windows, _ = rival.windows(data, FitOptions())
        assert len(rival.trained_on(windows)) == wanted
    rival = Binder(tiny_encoder)
    rival.begin(LABELS, FitOptions())
    with pytest.raises(UsageError, match="set empty = true"):
        rival.trained_on(rival.windows(data[-1:], FitOptions())[0])


def test_binder_counts_what_is_too_wide(tiny_encoder: WordEncoder) -> None:
    rival = Binder(tiny_encoder, max_span=2)
    rival.begin(LABELS, FitOptions())
    lost = rival.unencodable(Document("a b c", (Entity(0, 5, "PER"), Entity(2, 3, "LOC"))))
    assert lost == {"has more words than max_span": 1}


def test_one_encoder_or_two(tiny_encoder: WordEncoder) -> None:
    one = BinderNetwork(tiny_encoder, LABELS, BinderOptions(shared=True))
    two = BinderNetwork(tiny_encoder, LABELS, BinderOptions())
    sizes = [sum(p.numel() for _, p in network.trained_encoder_parameters()) for network in (one, two)]
    assert sizes[1] == 2 * sizes[0]
    assert sum(p.numel() for _, p in two.head_parameters()) == sum(p.numel() for _, p in one.head_parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (lambda: MRCOptions(query="title"), "definition, name, tag"),
        (lambda: DSCOptions(loss="focal"), "dice, bce"),
        (lambda: BinderOptions(query=""), "definition, name, tag"),
        (lambda: replace(BinderOptions(), temperature=0.0), "temperature = 0.0"),
    ],
)
def test_wrong_options_are_told(options: object, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        options()  # type: ignore[operator]
