"""What is special to GNN-SL: its neighbours, its graph, its mixture, its stages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.encoders import LABELS, made_up
from torch import Tensor

from genner.errors import ModelError, TrainingError, UnknownNameError, UsageError
from genner.evaluation import count
from genner.rivals import gnn_sl, load_rival, rival
from genner.rivals.datastore import FILE, MISSING, Datastore, Nearest, text_number
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.gnn_network import GnnNetwork, GnnOptions, NeighbourMixture
from genner.rivals.gnn_sl import GnnSL
from genner.rivals.hgt import INTER, INTRA, NEAR, WORDS, GraphTransformer

QUICK = FitOptions(encoder_rate=3e-3, head_rate=1e-2, epochs=3, batch_size=4, seed=1)
SMALL = {"k": 4, "context": 1, "depth": 2, "heads": 2}


def store(search: str = "matrix") -> Datastore:
    torch.manual_seed(3)
    lengths = [4, 1, 6, 3]
    return Datastore(
        torch.randn(14, 8).half(),
        torch.arange(14) % 5,
        torch.tensor([0, *lengths]).cumsum(0),
        torch.tensor([text_number(text) for text in ("a", "b", "a", "c")]),
        search,
    )


@pytest.mark.parametrize("search", ["auto", "matrix"])
@pytest.mark.parametrize("text", ["a", "c", "elsewhere"])
def test_no_neighbour_is_of_the_own_text(search: str, text: str) -> None:
    data = store(search)
    queries = data.states[:5].float()
    (found,) = data.nearest([queries], [text_number(text)], 6)
    assert found.numbers.shape == found.similarities.shape == (5, 6)
    others = [i for i in range(14) if text_number(text) != data._text[i]]
    for row, query in enumerate(queries):
        order = sorted(others, key=lambda i: -float(data.states[i].double() @ query.double()))[:6]
        assert found.numbers[row].tolist() == order + [MISSING] * (6 - len(order))
    (alone, with_more) = data.nearest([queries[:1], queries], [text_number(text), text_number("b")], 6)
    assert torch.equal(alone.numbers, found.numbers[:1])
    assert len(with_more.numbers) == 5


def test_context_ends_at_the_edges_of_a_window() -> None:
    numbers = torch.tensor([0, 3, 4, 7, 13, MISSING])
    assert store().around(numbers, 2).tolist() == [
        [-1, -1, 0, 1, 2],
        [1, 2, 3, -1, -1],
        [-1, -1, 4, -1, -1],
        [5, 6, 7, 8, 9],
        [11, 12, 13, -1, -1],
        [-1] * 5,
    ]
    empty = Datastore.empty(8)
    assert empty.around(torch.tensor([[MISSING]]), 1).tolist() == [[[-1] * 3]]
    assert empty.nearest([torch.zeros(2, 8)], [1], 3)[0].numbers.tolist() == [[-1] * 3] * 2


def slow_graph(graph: GraphTransformer, words: Tensor, near: Tensor, is_near: Tensor) -> Tensor:
    """The words [W, H] after all layers, node by node and edge by edge, without any shortcut."""
    middle = near.shape[2] // 2
    nodes = {("w", i): (WORDS, row) for i, row in enumerate(words)}
    edges: list[tuple[tuple[object, ...], tuple[object, ...], int]] = [
        (("w", i), ("w", j), INTRA) for i in range(len(words)) for j in range(len(words)) if i != j
    ]
    for w, k, c in is_near.nonzero().tolist():
        nodes[("n", w, k, c)] = (NEAR, near[w, k, c])  # type: ignore[index]
        centre = ("n", w, k, middle)
        edges += [(centre, ("w", w), INTER), (("w", w), centre, INTER)] if c == middle else []
        edges += [(centre, ("n", w, k, c), INTRA), (("n", w, k, c), centre, INTRA)] if c != middle else []
    for layer in graph.layers:
        heads: Callable[[Tensor], Tensor] = layer._heads  # type: ignore[assignment]
        new = {}
        for node, (kind, state) in nodes.items():
            query = heads(layer.query[kind](state))  # type: ignore[index]
            sums = torch.zeros_like(query)
            for relation in (INTRA, INTER):
                sources = [nodes[s] for s, t, r in edges if t == node and r == relation]  # type: ignore[index]
                if not sources:
                    continue
                keys = torch.stack([heads(layer.key[a](s)) for a, s in sources])  # type: ignore[index]
                values = torch.stack([heads(layer.value[a](s)) for a, s in sources])  # type: ignore[index]
                keys = torch.einsum("nhi,hij->nhj", keys, layer.attend[relation])  # type: ignore[index]
                values = torch.einsum("nhi,hij->nhj", values, layer.send[relation])  # type: ignore[index]
                score = (keys * query).sum(-1) * layer.prior[relation] / layer.size**0.5  # type: ignore[index,operator]
                sums = sums + (score.softmax(0).unsqueeze(-1) * values).sum(0)
            out = state + layer.out[kind](sums.flatten() / 2)  # type: ignore[index]
            new[node] = (kind, layer.norm[kind](out))  # type: ignore[index]
        nodes = new
    return torch.stack([nodes[("w", i)][1] for i in range(len(words))])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_graph_is_that_of_a_slow_loop(depth: int) -> None:
    torch.manual_seed(depth)
    graph = GraphTransformer(8, 0, depth, 2, 0.3).eval()
    torch.nn.init.normal_(graph.layers[0].prior)  # type: ignore[arg-type]
    lengths = [3, 1, 4]
    words = torch.randn(3, 4, 8)
    there = torch.arange(4) < torch.tensor(lengths)[:, None]
    near = torch.randn(3, 4, 3, 5, 8)
    is_near = torch.rand(3, 4, 3, 5) < 0.6
    is_near &= is_near[:, :, :, 2:3] & there[:, :, None, None]  # no context without its neighbour
    with torch.no_grad():
        fast = graph(words, near, there, is_near)
        for row, length in enumerate(lengths):
            slow = slow_graph(graph, words[row, :length], near[row, :length], is_near[row, :length])
            torch.testing.assert_close(fast[row, :length], slow, rtol=1e-4, atol=1e-5)


def network(encoder: WordEncoder, **more: int) -> GnnNetwork:
    torch.manual_seed(0)
    return GnnNetwork(encoder, LABELS, GnnOptions(**(SMALL | more))).eval()


def test_the_mixture_by_hand(tiny_encoder: WordEncoder) -> None:
    made = network(tiny_encoder)
    made.store = Datastore(torch.zeros(3, 32).half(), torch.tensor([1, 2, 1]), torch.tensor([0, 3]), torch.tensor([7]))
    root = 32**0.5
    nearest = Nearest(
        torch.tensor([[0, 1, 2, MISSING], [MISSING] * 4]),
        torch.tensor([[2.0 * root, root, root, 0.0], [0.0] * 4]),
    )
    graph = torch.tensor([[0.6, 0.1, 0.1, 0.1, 0.1]] * 2)
    weights = torch.tensor([4.0, 2.0, 2.0]).softmax(0)  # temperature 1/2
    mixed = made.mixed(graph, nearest, NeighbourMixture(4, 0.25, 0.5))
    expected = 0.75 * graph[0] + 0.25 * torch.tensor([0, weights[0] + weights[2], weights[1], 0, 0])
    torch.testing.assert_close(mixed, torch.stack([expected, graph[1]]))  # without neighbours, the graph alone
    one = made.mixed(graph, nearest, NeighbourMixture(1, 1.0, 0.5))
    torch.testing.assert_close(one, torch.stack([torch.tensor([0.0, 1, 0, 0, 0]), graph[1]]))


def test_graphs_in_several_groups_have_the_same_loss(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = GnnSL(str(encoder_folder), **SMALL, dropout=0.0)
    made.fit(made_up(), [], LABELS, folder=tmp_path, options=replace(QUICK, epochs=1), quiet=True)
    windows, _ = made.windows(made_up(), QUICK)
    losses, grads = [], []
    for nodes in (10**6, 1):
        monkeypatch.setattr("genner.rivals.gnn_network.MAX_NODES", nodes)
        made.network.zero_grad()
        loss = made.network.loss(windows)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        grads.append([p.grad.clone() for _, p in made.network.head_parameters() if p.grad is not None])
    torch.testing.assert_close(losses[0], losses[1])
    assert len(grads[0]) == len(grads[1]) > 20
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_what_is_tuned_is_what_is_scored(encoder_folder: Path, tmp_path: Path) -> None:
    """The F1 of the tuned mixture is that of genner's scorer, and dev data alone decides."""
    made = GnnSL(str(encoder_folder), **SMALL)
    dev = made_up(nested=True)  # some gold cannot be expressed, and counts
    report = made.fit(made_up(), dev, LABELS, folder=tmp_path, options=QUICK, quiet=True)
    assert report.dev_f1 == pytest.approx(made.f1(dev))
    assert report.dev_f1 == pytest.approx(load_rival(tmp_path).f1(dev))  # type: ignore[attr-defined]
    right = sum(c.tp for g, p in zip(dev, made.predict(dev), strict=True) for c in count(g, p).values())
    assert right > 0
    assert made.signature["datastore"] == f"{sum(len(d.text.split()) for d in dev)} words"
    assert [part.split("=")[0] for part in made.signature["neighbours"].split(",")] == ["used", "share", "temperature"]


def test_a_run_stopped_in_any_stage_ends_where_it_would_have(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(folder: Path) -> GnnSL:
        made = GnnSL(str(encoder_folder), **SMALL)
        made.fit(made_up(), made_up(), LABELS, folder=folder, options=QUICK, quiet=True)
        return made

    whole = fit(tmp_path / "whole")

    def stop(*_: object, **more: object) -> object:
        raise KeyboardInterrupt

    for owner, name in ((GnnNetwork, "fill"), (GnnNetwork, "loss"), (GnnSL, "tune")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)  # each stage before it is finished by then, and is not run again
            with pytest.raises(KeyboardInterrupt):
                fit(tmp_path / "stopped")
    stages = sorted(place.name for place in (tmp_path / "stopped").glob("stage_*.pt"))
    assert stages == ["stage_datastore.pt", "stage_graph.pt", "stage_tagger.pt"]
    monkeypatch.setattr(gnn_sl, "train", stop)
    resumed = fit(tmp_path / "stopped")
    assert not list((tmp_path / "stopped").glob("stage_*.pt"))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value)
    assert torch.equal(resumed.network.store.states, whole.network.store.states)


def test_finished_stages_of_another_run_are_refused(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(GnnNetwork, "fill", stop)
        with pytest.raises(KeyboardInterrupt):
            GnnSL(str(encoder_folder), **SMALL).fit(made_up(), [], LABELS, folder=tmp_path, options=QUICK, quiet=True)
    with pytest.raises(TrainingError, match="other options or data"):
        GnnSL(str(encoder_folder), **SMALL).fit(made_up()[:-1], [], LABELS, folder=tmp_path, options=QUICK, quiet=True)


def test_wrong_options_and_a_missing_datastore_are_told(encoder_folder: Path, tmp_path: Path) -> None:
    name = str(encoder_folder)
    with pytest.raises(UnknownNameError, match="matrix"):
        rival("gnn_sl", name, search="annoy")
    with pytest.raises(UsageError, match="k = 0"):
        rival("gnn_sl", name, k=0)
    with pytest.raises(UsageError, match="heads = 5"):
        rival("gnn_sl", name, heads=5).begin(LABELS, QUICK)
    made = GnnSL(name, **SMALL)
    made.fit(made_up(), [], LABELS, folder=tmp_path, options=replace(QUICK, epochs=1), quiet=True)
    (tmp_path / FILE).unlink()
    with pytest.raises(ModelError, match="needs it"):
        load_rival(tmp_path)
