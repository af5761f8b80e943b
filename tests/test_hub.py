"""What the name of a model on the hub looks like; what a client cannot read is one sentence."""

import pytest

from kobert_tf2 import hub
from kobert_tf2.errors import InputError


@pytest.mark.parametrize(
    "name", ["bert-base", "klue/bert-base", "klue/bert-base@main", "a/b@refs/pr/1", "A1/b_c.d-e@0123abc"]
)
def test_names_of_models(name):
    assert hub.is_id(name)


@pytest.mark.parametrize(
    "name",
    ["", "/absolute/path", "../up", "a/../b", "a//b", "a/b/c", "./here", "a/b@", "a/b@../c", "-a/b", "가/나", "a b"],
)
def test_paths_and_nonsense_are_none(name):
    assert not hub.is_id(name)


def test_a_revision_is_taken_apart():
    assert hub._model_and_revision("klue/bert-base@v2") == ("klue/bert-base", "v2")
    assert hub._model_and_revision("klue/bert-base") == ("klue/bert-base", None)


def test_what_cannot_be_read_is_a_sentence_with_the_way_out(monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def fails(*_, **__):
        raise ConnectionError("no route to host\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(
        InputError, match=r"klue/bert-base: .* could not be read \(no route to host\); download"
    ) as told:
        hub.fetch("klue/bert-base", ["config.json"])
    assert "\n" not in str(told.value)
