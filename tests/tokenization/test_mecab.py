"""Morphemes with offsets into the text as given, the dictionary found or told where it was looked for."""

import pickle

import pytest
from hypothesis import assume, given, settings
from korean_text import HOSTILE, texts

from kobert_tf2.errors import InputError
from kobert_tf2.tokenization import mecab
from kobert_tf2.tokenization.mecab import Morpheme, MorphemeAnalyser, find_dictionary, spelled_parts
from kobert_tf2.tokenization.normalization import Normalizer


@pytest.fixture(scope="module")
def analyser() -> MorphemeAnalyser:
    return MorphemeAnalyser()


def test_a_sentence(analyser):
    found = analyser.analyse(" 아버지가  사과나무를\t심었다.")
    assert [(m.surface, m.tag, m.start, m.end) for m in found] == [
        ("아버지", "NNG", 1, 4),
        ("가", "JKS", 4, 5),
        ("사과나무", "NNG", 7, 11),
        ("를", "JKO", 11, 12),
        ("심", "VV", 13, 14),
        ("었", "EP", 14, 15),
        ("다", "EF", 15, 16),
        (".", "SF", 16, 17),
    ]


def test_offsets_are_those_of_the_decomposed_original(analyser):
    text = "\u1112\u1161\u11ab\u1100\u116e\u11a8\u1106\u116e\u11af"  # 한국물, each syllable as three jamo
    assert [(m.surface, text[m.start : m.end]) for m in analyser.analyse(text)] == [
        ("한국", text[:6]),
        ("물", text[6:]),
    ]


@settings(deadline=None, max_examples=150)
@given(texts())
def test_every_morpheme_is_its_slice_normalised(analyser, text):
    normalize = Normalizer()
    assume(not normalize(text).seams())  # one character that NFC writes as two may be two morphemes
    end = 0
    for morpheme in analyser.analyse(text):
        assert end <= morpheme.start < morpheme.end
        end = morpheme.end
        assert normalize(text[morpheme.start : morpheme.end]).text == morpheme.surface


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_keys_add_up_to_the_text(analyser, kind):
    text = Normalizer()(HOSTILE[kind]).text
    assert "".join(analyser.keys(text)) == text.rstrip(" ")
    assert [key.split("\t")[0] for key in analyser.keys(text, features=True)] == analyser.keys(text)


@pytest.mark.parametrize("text", ["가나다 " * 5000, "가나다" * 5000, "가나. " * 4000 + " " * 9000 + "끝"])
def test_the_keys_of_a_text_longer_than_a_chunk_add_up_too(analyser, text):
    assert "".join(analyser.keys(text)) == text.rstrip(" ")


def test_a_short_text_is_what_mecab_itself_says(analyser):
    import MeCab

    folder = analyser.dictionary
    raw = MeCab.Tagger(f"-r {folder}/dicrc -d {folder}")
    for sentence in mecab.FIXED_SENTENCES:
        lines = [line.split("\t") for line in raw.parse(sentence).splitlines()[:-1]]
        expected = [(surface, feature.split(",")[0]) for surface, feature in lines]
        assert [(m.surface, m.tag) for m in analyser.analyse(sentence)] == expected


def test_parts_of_a_compound(analyser):
    compound = next(m for m in analyser.analyse("큰 사과나무를") if m.kind == "Compound")
    assert analyser.parts(compound) == [Morpheme("사과", "NNG", 2, 4), Morpheme("나무", "NNG", 4, 6)]
    inflected = next(m for m in analyser.analyse("집에 갔었음") if m.kind == "Inflect")
    assert inflected.expression == "가/VV/*+았었/EP/*"
    assert analyser.parts(inflected) == [inflected]


@pytest.mark.parametrize(
    ("surface", "expression", "parts"),
    [
        ("사과나무", "사과/NNG/*+나무/NNG/*", [("사과", "NNG"), ("나무", "NNG")]),
        ("갔었", "가/VV/*+았었/EP/*", []),
        ("사과", "", []),
        ("가나", "가/NNG+", []),
    ],
)
def test_only_parts_that_spell_the_surface_count(surface, expression, parts):
    assert spelled_parts(surface, expression) == parts


def test_the_dictionary_is_searched_for_in_order(tmp_path, monkeypatch):
    folder = find_dictionary()[0]
    assert find_dictionary(folder) == (folder, "argument")
    monkeypatch.setenv("MECAB_KO_DIC", folder)
    assert find_dictionary() == (folder, "MECAB_KO_DIC")
    monkeypatch.delenv("MECAB_KO_DIC")
    assert find_dictionary()[1] == "pip"


def test_one_error_lists_all_places_tried(monkeypatch):
    monkeypatch.delenv("MECAB_KO_DIC", raising=False)
    monkeypatch.setattr(mecab, "_pip_dictionary", lambda: "/no/pip")
    monkeypatch.setattr(mecab, "_SYSTEM_FOLDERS", ("/no/system",))
    with pytest.raises(InputError, match=r"/no/pip \(pip\), /no/system \(system\).*pip install python-mecab-ko-dic"):
        find_dictionary()


def test_a_folder_given_by_name_is_not_replaced_by_another(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} \\(argument\\)"):
        MorphemeAnalyser(str(tmp_path))


def test_a_damaged_dictionary_is_reported(tmp_path):
    (tmp_path / "sys.dic").write_bytes(b"nothing")
    with pytest.raises(InputError, match=str(tmp_path)):
        MorphemeAnalyser(str(tmp_path)).analyse("가")


def test_an_analyser_travels_to_another_process(analyser):
    again = pickle.loads(pickle.dumps(analyser))
    assert again.analyse("사과나무를") == analyser.analyse("사과나무를")


def test_the_fingerprint_reports_versions_and_sentences(analyser):
    fingerprint = analyser.fingerprint()
    assert fingerprint["binding_version"]
    assert fingerprint["dictionary_entries"] == 816_283
    assert len(fingerprint["sentences"]) == 20
    assert fingerprint["sentences"][0].startswith("아버지/NNG 가/JKS 방/NNG 에/JKB")


def test_a_space_at_an_entrys_end_is_no_part_of_the_morpheme(analyser):
    assert [(m.surface, m.start, m.end) for m in analyser.analyse("진 캘리 사랑")] == [
        ("진", 0, 1),
        ("캘리", 2, 4),
        ("사랑", 5, 7),
    ]
