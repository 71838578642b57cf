"""Encoders: a tiny random one on this machine, and an endpoint that fails in several ways."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
import torch
from tests import tiny
from transformers import BertConfig, BertModel

from genner.errors import ModelError, UsageError
from genner.few_shot.encoders import LocalEncoder, find_encoder, identity_of
from genner.few_shot.endpoint import EndpointEncoder
from genner.few_shot.retrieval import words
from genner.transformer_encoder import identity

TEXTS = ["The protein NF-kappa B binds DNA in T cells.", "Köln liegt am Rhein", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("encoder")
    tokenizer = tiny.tokenizer("bytes")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_vectors_of_sentences_and_spans(folder: Path) -> None:
    encoder = find_encoder(str(folder), "the test")
    assert isinstance(encoder, LocalEncoder)
    vectors = encoder.sentences(TEXTS)
    assert vectors.shape == (3, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    spans = [words(text) for text in TEXTS]
    of_words = encoder.spans(TEXTS, spans)
    assert [len(some) for some in of_words] == [len(some) for some in spans]
    for text, some, found in zip(TEXTS, spans, of_words, strict=True):
        read = encoder._tokenizer([text], return_offsets_mapping=True, return_tensors="pt")
        places = read.pop("offset_mapping")[0].tolist()
        with torch.inference_mode():
            states = encoder._model(**read).last_hidden_state[0].numpy()
        for (start, end), vector in zip(some, found, strict=True):
            if (start, end) == (0, len(text)):
                continue
            inside = [i for i, (a, b) in enumerate(places) if a < end and b > start]
            mean = states[inside].mean(0)
            assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_what_is_beyond_the_window_has_no_vector(folder: Path) -> None:
    encoder = LocalEncoder.load(str(folder))
    text = "Köln 東京 " * 20
    first, last = encoder.spans([text], [[(0, 4), (len(text) - 8, len(text) - 3)]])[0]
    assert np.linalg.norm(first) == pytest.approx(1)
    assert not last.any()


def test_the_name_of_an_encoder_tells_what_is_in_it_and_not_where_it_lies(folder: Path, tmp_path: Path) -> None:
    encoder = LocalEncoder.load(str(folder))
    other = tmp_path / "other" / folder.name
    shutil.copytree(folder, other)
    (other / "README.md").write_text("Nothing that is read.")
    assert identity(str(folder)) == identity(str(other)) == identity_of(str(folder)) == encoder.name
    assert encoder.name.startswith(f"{folder.name}@")
    assert str(tmp_path) not in encoder.name
    names = {encoder.name}
    with torch.no_grad():
        next(encoder._model.parameters()).add_(1.0)
    encoder._model.save_pretrained(other)
    names.add(LocalEncoder.load(str(other)).name)
    for name in ("tokenizer_config.json", "config.json"):  # the same weights read otherwise
        file = other / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {"note": 1}))
        names.add(identity(str(other)))
    assert len(names) == 4


def test_the_name_of_an_encoder_that_is_not_here() -> None:
    assert identity("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"
    loaded = SimpleNamespace(config=SimpleNamespace(_commit_hash="0123456789abcdef"))
    assert identity("a/b", loaded) == "a/b@0123456789ab"
    assert identity("/home/somebody/gone") == "gone"
    assert identity_of("https://example.org/v1/#small") == "small at example.org"


def test_encoders_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        find_encoder(str(tmp_path / "nothing"), "the test")
    with pytest.raises(ModelError, match=r"this folder has no config\.json; give the folder"):
        find_encoder(str(tmp_path), "the test")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        find_encoder(str(tmp_path), "the test")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="where the hub cannot be reached, give the folder of an encoder"):
        find_encoder("nobody/no-such-encoder", "the test")
    with pytest.raises(UsageError, match="the test needs an encoder"):
        find_encoder(None, "the test")
    with pytest.raises(UsageError, match="names no model"):
        find_encoder("https://localhost/v1", "the test")


def endpoint(answer: Callable[[httpx2.Request], httpx2.Response]) -> EndpointEncoder:
    return EndpointEncoder("https://example.org/v1", "small", transport=httpx2.MockTransport(answer))


def vectors_for(request: httpx2.Request) -> httpx2.Response:
    texts = json.loads(request.content)["input"]
    items = [{"index": i, "embedding": [float(len(text)), 1.0]} for i, text in enumerate(texts)]
    return httpx2.Response(200, json={"data": items[::-1]})


def test_an_endpoint_is_asked_once_about_each_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert str(request.url) == "https://example.org/v1/embeddings"
        assert request.headers["Authorization"] == "Bearer secret"
        body = json.loads(request.content)
        assert body["model"] == "small"
        asked.extend(body["input"])
        return vectors_for(request)

    monkeypatch.setenv("GENNER_EMBEDDINGS_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "not for this server")
    encoder = endpoint(answer)
    vectors = encoder.sentences(["a", "bcd", "a"])
    assert np.allclose(vectors[1], np.array([3, 1]) / np.sqrt(10))
    assert (vectors[0] == vectors[2]).all()
    assert asked == ["a", "bcd"]
    spans = encoder.spans(["a bcd", "ef"], [[(0, 1), (2, 5)], []])
    assert [len(some) for some in spans] == [2, 0]
    assert (spans[0] == vectors[:2]).all()
    assert "secret" not in encoder.name


@pytest.mark.parametrize("first", [429, 500, 503])
def test_an_endpoint_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    replies = iter([httpx2.Response(first, headers={"Retry-After": "0"}), None])
    encoder = endpoint(lambda request: next(replies) or vectors_for(request))
    assert encoder.sentences(["ab"]).shape == (1, 2)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (httpx2.Response(401, text="bad key"), "refuses the key"),
        (httpx2.Response(404, text="no such model"), "see the address and the model"),
        (httpx2.Response(200, text="<html>"), "does not answer as an embeddings endpoint"),
        (httpx2.Response(200, json={"data": []}), "does not answer as an embeddings endpoint"),
        (httpx2.Response(200, text='{"data": [{"index": 0, "embedding": [1e999]}]}'), "does not answer as"),
        (httpx2.Response(200, text="[" * 100_000), "does not answer as"),
        (httpx2.Response(200, json={"data": [{"index": 0, "embedding": []}]}), "does not answer as"),
        (httpx2.Response(200, json={"data": [{"index": 0, "embedding": [10**400]}]}), "does not answer as"),
        (httpx2.Response(200, json=5), "does not answer as"),
        (httpx2.Response(307, headers={"Location": "https://other.org/v1/embeddings"}), "see the address"),
        (httpx2.Response(501, text="start it with --embeddings"), "refuses the request .*--embeddings"),
        (httpx2.Response(503, headers={"Retry-After": "0"}), "gave no vectors in 6 tries"),
    ],
)
def test_an_endpoint_that_gives_no_vectors(reply: httpx2.Response, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        endpoint(lambda _: reply).sentences(["a"])


def test_vectors_of_another_length_are_none() -> None:
    lengths = iter([2, 3])

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": [{"index": 0, "embedding": [1.0] * next(lengths)}]})

    encoder = endpoint(answer)
    assert encoder.sentences(["a"]).shape == (1, 2)
    with pytest.raises(ModelError, match="vectors of 3 numbers after those of 2"):
        encoder.sentences(["b"])


@pytest.mark.parametrize(
    "name",
    [
        "http://[::1#m",
        "http://x\n/v1#m",
        "http://x:99999/v1#m",
        "http://#m",
        "http://me:4711@x/v1#m",
        "http://x/?k=4711",
    ],
)
def test_an_address_that_is_none_is_refused_without_what_is_secret_in_it(name: str) -> None:
    with pytest.raises(UsageError, match="encoder") as error:
        find_encoder(name, "the test")
    assert "4711" not in str(error.value)


def test_an_endpoint_on_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "garbage://x")
    assert EndpointEncoder("http://localhost/v1/embeddings", "small").name == "small at localhost"
    with pytest.raises(UsageError, match="ALL_PROXY"):
        EndpointEncoder("http://some.invalid/v1", "small")


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="encoder 5 is none"):
        find_encoder(5, "the test")  # type: ignore[arg-type]
