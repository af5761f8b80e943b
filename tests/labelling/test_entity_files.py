"""Files of entities: every format gives the same spans of characters, and what is wrong is reported with its line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2.errors import InputError
from kobert_tf2.labelling import entity_files
from kobert_tf2.labelling.entity_files import Entity, TaggedText

TEXT = "세종대왕은 1418년 한양에서 즉위했다."
ENTITIES = ((0, 4, "PS"), (6, 11, "DT"), (12, 14, "LC"))


def write(tmp_path, content: str) -> str:
    path = tmp_path / "entities.tsv"
    path.write_text(content, encoding="utf-8")
    return str(path)


def spans(text: TaggedText) -> tuple:
    return tuple(entity[:3] for entity in text.entities)


def characters(scheme: str = "BIO") -> str:
    """TEXT as KLUE writes it."""
    tags = entity_files.character_tags(TEXT, [Entity(*entity) for entity in ENTITIES])
    return "## a comment\n## id-1\tmarked\n" + "".join(f"{c}\t{t}\n" for c, t in zip(TEXT, tags, strict=True)) + "\n"


FILES = {
    "klue": characters(),
    "conll, eojeols": "세종대왕은\tB-PS\n1418년\tB-DT\n한양에서\tB-LC\n즉위했다.\tO\n",
    "conll, spaces and numbers": "1 세종대왕 B-PS\n2 은 O\n3 1418년 B-DT\n",
    "conll, morphemes": f"; {TEXT}\n$marked\n세종\tNNP\tB-PS\n대왕\tNNG\tI-PS\n은\tJX\tO\n1418\tSN\tB-DT\n"
    "년\tNNBC\tI-DT\n한양\tNNP\tB-LC\n에서\tJKB\tO\n",
    "conll, conllu comment": f"# sent_id = 3\n# text = {TEXT}\n세종대왕\tPS_B\n은\t-\n1418년\tDT_B\n"
    "한양\tLC_B\n에서\t-\n",
    "conll, BIOES": f"; {TEXT}\n세종\tB-PS\n대왕\tE-PS\n은\tO\n1418년\tS-DT\n한양\tS-LC\n에서\tO\n",
    "conll, plain": f"; {TEXT}\n세종\tPS\n대왕\tPS\n은\tO\n1418년\tDT\n한양\tLC\n에서\tO\n",
    "marked": "<세종대왕:PS>은 <1418년:DT> <한양:LC>에서 즉위했다.\n",
}


@pytest.mark.parametrize(
    "name", ["klue", "conll, morphemes", "conll, conllu comment", "conll, BIOES", "conll, plain", "marked"]
)
def test_every_format_gives_the_same_entities(name, tmp_path):
    found = entity_files.read(write(tmp_path, FILES[name]))
    assert found.format == name.partition(",")[0]
    assert found.irregular == []
    (text,) = found.texts
    assert text.text == TEXT
    assert spans(text) == ENTITIES
    assert found.types() == ["DT", "LC", "PS"]


def test_tokens_without_their_text_are_joined_by_spaces(tmp_path):
    (text,) = entity_files.read(write(tmp_path, FILES["conll, eojeols"])).texts
    assert text.text == TEXT
    assert spans(text) == ((0, 5, "PS"), (6, 11, "DT"), (12, 16, "LC"))
    (text,) = entity_files.read(write(tmp_path, FILES["conll, spaces and numbers"])).texts
    assert text.text == "세종대왕 은 1418년"


def test_ids_come_from_the_comments_and_sentences_end_at_blank_lines(tmp_path):
    content = "## id-1\t...\n가\tO\n \tO\n나\tB-PS\n\t\n## id-2\t...\n다\tO\n\n\n라\tO\n"
    texts = entity_files.read(write(tmp_path, content)).texts
    assert [(text.id, text.text) for text in texts] == [("id-1", "가 나"), ("id-2", "다"), ("line 10", "라")]


@pytest.mark.parametrize(
    ("tags", "entities", "irregular"),
    [
        ("O I-PS I-PS O", [(1, 3, "PS")], 1),
        ("B-PS I-LC I-LC O", [(0, 1, "PS"), (1, 3, "LC")], 1),
        ("B-PS B-PS I-PS O", [(0, 1, "PS"), (1, 3, "PS")], 0),
        ("S-PS I-PS O O", [(0, 1, "PS"), (1, 2, "PS")], 1),
        ("B-PS E-PS E-PS O", [(0, 2, "PS"), (2, 3, "PS")], 1),
        ("B-PS M-PS E-PS O", [(0, 3, "PS")], 0),
        ("B-PS I-PS L-PS L-PS", [(0, 3, "PS"), (3, 4, "PS")], 1),
        ("U-PS U-PS O M-PS", [(0, 1, "PS"), (1, 2, "PS"), (3, 4, "PS")], 1),
        ("S-PS S-PS L-PS O", [(0, 1, "PS"), (1, 2, "PS"), (2, 3, "PS")], 1),
        ("PS PS O LC", [(0, 2, "PS"), (3, 4, "LC")], 0),
        ("PS_B PS_I PS_B LC_B", [(0, 2, "PS"), (2, 3, "PS"), (3, 4, "LC")], 0),
    ],
)
def test_a_sequence_that_is_not_well_formed_is_read_and_counted(tags, entities, irregular, tmp_path):
    rows = "".join(f"{char}\t{tag}\n" for char, tag in zip("가나다라", tags.split(), strict=True))
    found = entity_files.read(write(tmp_path, rows))
    assert list(spans(found.texts[0])) == entities
    assert len(found.irregular) == irregular
    assert all(re.fullmatch(r"line \d: .-.. continues no ..: read as .*", line) for line in found.irregular)


def test_a_blank_that_is_tagged_belongs_to_no_entity(tmp_path):
    found = entity_files.read(write(tmp_path, "가\tB-PS\n \tI-PS\n나\tO\n \tB-LC\n다\tI-LC\n"))
    assert spans(found.texts[0]) == ((0, 1, "PS"), (4, 5, "LC"))


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("가\tO\n나\n다\tO\n", r"line 2: expected a character, a tab and a tag, but found '나'"),
        ("가\tO\n나\t\n다\t\n", r"2 lines are wrong: line 2: .*; line 3: "),
        ("<<서울:LC>대:OG>에 갔다.\n<가:PS>\n", r"line 1: an entity overlaps another"),
        ("<가:PS>\n<:PS>\n", r"line 2: an entity without text"),
        ("; 가나다\n가나\tB-PS\n라마\tO\n", r"line 3: the token '라마' does not stand in the text"),
        ("그냥 문장\n또 문장\n", r"expected entities as characters and tags"),
        ("", r"expected entities"),
        ("## 가\n\n", r"expected entities"),
    ],
)
def test_what_is_wrong_is_reported_with_its_line(content, reported, tmp_path):
    with pytest.raises(InputError, match=reported):
        entity_files.read(write(tmp_path, content), "klue" if content.startswith("가") else None)


@given(st.text(st.sampled_from("가나다 a1.<"), min_size=1, max_size=20), st.data())
def test_what_is_written_is_read_back(tmp_path_factory, text, data):
    edges = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    entities = [Entity(a, b, "PS" if a % 2 else "OG_X") for a, b in pairs if text[a:b].strip() == text[a:b]]
    if not text.strip():
        return
    path = str(tmp_path_factory.mktemp("klue") / "out.tsv")
    entity_files.write_klue(path, [TaggedText("id-7", text, tuple(entities))])
    (back,) = entity_files.read(path, "klue").texts
    assert back == TaggedText("id-7", text, tuple(entities))


@pytest.mark.shared
def test_klues_own_file_is_read_as_its_comments_mark_it(shared):
    path = shared / "data/klue/klue-ner-v1.1_dev_half.tsv"
    found = entity_files.read(str(path))
    comments = [
        line[2:].split("\t", 1) for line in path.read_text("utf-8").splitlines() if line.startswith("## klue-ner")
    ]
    assert found.irregular == []
    for text, (name, marked) in zip(found.texts, comments, strict=True):
        assert (text.id, entity_files.marked(text.text, text.entities).strip()) == (name.strip(), marked.strip())
