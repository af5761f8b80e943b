"""Search and attention over HTTP: as the embedder and the backbone compute them, within the limits."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="the framework's test client needs httpx")
from korean_text import VOCAB  # noqa: E402
from small_models import config, with_large_weights  # noqa: E402

import kobert_tf2 as kb  # noqa: E402
from kobert_tf2.errors import InputError  # noqa: E402
from kobert_tf2.serving import http, services  # noqa: E402
from kobert_tf2.serving.limits import Limits  # noqa: E402

SENTENCES = ["사과나무를 심었다.", "학교에서 사과를", ("나무가 자랐다. " * 12).strip(), "사과나무를 심었다."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("served")
    tokenizer = kb.Tokenizer(VOCAB)
    for name, cls in (("reader", kb.BertForQuestionAnswering), ("encoder", kb.BertBackbone)):
        model = with_large_weights(cls(config(vocab_size=len(tokenizer.vocab))))
        model.save_pretrained(str(path / name), tokenizer)
    (path / "in.txt").write_text("\n".join([SENTENCES[0], "", *SENTENCES[1:]]), "utf-8")
    return path


def client_of(loaded, **limits):
    for service in loaded:
        services.warm_up(service)
    return testclient.TestClient(http.make_app(loaded[0], Limits(**limits), others=loaded[1:]))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("short_characters", [4000, 0])
def test_a_search_scores_as_the_embedder_does(folder, pooling, short_characters):
    loaded = services.load_all(str(folder / "reader"), sentences_file=str(folder / "in.txt"), pooling=pooling)
    index = kb.SentenceIndex(SENTENCES, kb.Embedder.load(str(folder / "reader")), pooling=pooling)
    with client_of(loaded, short_characters=short_characters) as client:
        for query in ("사과나무를 심었다.", "나무가 " * 20):
            expected = index.search(query, top_k=3)
            for given, lines in (({}, [1, 3, 4, 5]), ({"sentences": SENTENCES}, [1, 2, 3, 4])):
                found = client.post("/search", json={"query": query, "top_k": 3, **given}).json()
                assert found["sentences"] == len(SENTENCES)
                assert [match["line"] for match in found["matches"]] == [lines[match.position] for match in expected]
                for match, right in zip(found["matches"], expected, strict=True):
                    assert match["text"] == right.text
                    assert match["score"] == pytest.approx(right.score, abs=1e-5)


def test_attention_weights_are_the_backbones(folder):
    path = str(folder / "reader")
    backbone = kb.BertBackbone.from_pretrained(path, add_pooling_layer=False, output_attentions=True)
    with client_of(services.load_all(path)) as client:
        body = {"text": "사과나무를 심었다.", "text_pair": "나무가"}
        for layer in (0, 1, -1):
            found = client.post("/attention", json={**body, "layer": layer}).json()
            assert (found["layer"], found["layers"], found["heads"]) == (layer % 2, 2, [0, 1, 2, 3])
            pieces = [token["piece"] for token in found["tokens"]]
            ids = np.array([kb.Tokenizer.from_pretrained(path).convert_tokens_to_ids(pieces)], np.int32)
            segments = np.array([[token["segment"] for token in found["tokens"]]], np.int32)
            inputs = {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": segments}
            expected = backbone(inputs)["attentions"][layer].numpy()[0]
            np.testing.assert_allclose(found["attentions"], expected, atol=1e-4)
            for token in found["tokens"]:
                if "start" in token:
                    text = body["text_pair"] if token["segment"] else body["text"]
                    assert token["piece"].removeprefix("##").startswith(text[token["start"] : token["end"]][:1])
        one = client.post("/attention", json={**body, "head": 2, "layer": 1}).json()
        assert one["heads"] == [2]
        np.testing.assert_allclose(one["attentions"], expected[2:3], atol=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("search", {"query": " ", "sentences": ["가"]}, "query: expected more than white space"),
        ("search", {"query": "가"}, "sentences: expected, but it is missing"),
        ("search", {"query": "가", "sentences": []}, "sentences: list should have at least 1 item"),
        ("search", {"query": "가", "sentences": ["가"] * 1001}, "sentences: list should have at most 1000 items"),
        (
            "search",
            {"query": "가", "sentences": ["가" * 60, "나" * 60]},
            "expected at most 100 characters, but got 120",
        ),
        ("search", {"query": "가", "sentences": ["가"], "top_k": 0}, "top_k: "),
        ("attention", {"text": "가", "layer": 2}, "layer: input should be less than or equal to 1"),
        ("attention", {"text": "가", "head": 4}, "head: input should be less than or equal to 3"),
        ("attention", {"text": "사과 " * 30}, "text: expected at most 16 tokens, special tokens included, but got 32"),
    ],
)
def test_what_is_out_of_bounds_is_a_sentence(bounded, path, body, sentence):
    response = bounded.post(f"/{path}", json=body)
    assert (response.status_code, sentence in response.json()["error"]) == (422, True), response.text


@pytest.fixture(scope="module")
def bounded(folder):
    limits = {"context_characters": 100, "attention_tokens": 16, "short_characters": 50}
    loaded = services.load_all(str(folder / "encoder"), limits=Limits(**limits))
    with client_of(loaded, **limits) as client:
        yield client


def test_an_encoder_without_a_head_searches(bounded):
    assert {"/search", "/attention"} < set(bounded.get("/openapi.json").json()["paths"])
    assert bounded.post("/answer", json={}).status_code == 404
    assert 'data-tab="search" ' not in bounded.get("/").text
    assert bounded.get("/attention.html").status_code == 200


def test_the_encoder_shares_the_weights_of_the_task(folder):
    task, attention, _ = services.load_all(str(folder / "reader"))
    assert attention._encoder.embedder.model._backbone is task.model.backbone


def test_an_export_needs_a_model_for_its_search(folder, tmp_path):
    from kobert_tf2.serving.export import export

    export(str(folder / "reader"), str(tmp_path / "export"))
    path = str(tmp_path / "export")
    assert [one.kind for one in services.load_all(path)] == ["reading"]
    with pytest.raises(InputError, match="--encoder_dir"):
        services.load_all(path, sentences_file=str(folder / "in.txt"))
    loaded = services.load_all(path, encoder_dir=str(folder / "encoder"), sentences_file=str(folder / "in.txt"))
    assert [one.kind for one in loaded] == ["reading", "attention_pair", "search_file"]
