"""Strings that commonly break tokenizers, and a small vocabulary, for the tests of the text half."""

from hypothesis import strategies as st

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# Each row: a description and the string. All are tested with every setting.
HOSTILE = {
    "empty": "",
    "spaces": "   ",
    "leading and trailing": "  아버지가 방에  들어가신다. ",
    "decomposed": "한국어는 어렵다",
    "decomposed with a loose final": "각ᆨ 나",
    "old hangul": "ᄒᆞᆫ글과 훈민ᅙᅡ",
    "jamo": "ㅋㅋㅋ ㅠㅠ ㄱㄴㄷㅏㅑ",
    "hanja": "漢字와 李舜臣, 樂(악)",
    "compatibility hanja": "金樂李",
    "kana": "ひらがなとカタカナ がぎぐ",
    "accents": "café naïve Ångström résumé Éa",
    "accents in a row": "á̖̂b q̇",
    "digits": "1945년 8월 15일, 3.14% ①②Ⅳ½",
    "emoji": "👨‍👩‍👧‍👦 가족 👍🏽 ❤️ 🇰🇷",
    "bidi": "\u202b아버지\u202c\u200e가\u200f",
    "bom and zero width": "\ufeff사\u200b과\u200d나\u2060무\u00ad를",
    "white space": "가\u00a0나\u3000다\u2028라\u2029마\t바\r\n사\u2003아",
    "control": "가\x00나\x07다\x0b라\x0c마\x1f바\x7f사\x85아",
    "surrogates": "가\ud800나 \udfff \udc00\ud800",
    "private and unassigned": "가\ue000나 \U000f0000 \U0010ffff \uffff \u0378",
    "replacement": "가\ufffd나 \ufffd",
    "literal markers": "## ##를 ### [MASK] [UNK][PAD] <CLS> 가##나 [CLS]사과[SEP]",
    "end of sentence": "EOS\nEOS EOS\n\nBOS/EOS,*,*",
    "expands in NFC": "\u0958\u095b 가\ufb2c \u0344",
    "expands in lower case": "İstanbul İİ ΑΣ ΑΣ가 ẞ K Å",
    "slashes": "사과/NNG 가/나 //",
    "tabs and commas": 'a,b,"c"\td\\n \\t %M %H',
    "an entry of the dictionary that ends with a space": "진 캘리 사랑해요 캘리  캘리 ",
    "half width": "ﾊﾝｸﾞﾙ ￦１２３ ｶﾞ",
    "letters used as punctuation": "서울ㆍ부산ㆍ대구를 존재감ㅡ그 자체ㅡ을 ㅇ서울은 KBS×MBC 1945⁽¹⁾년 가ㅤ나 ㅡㅡ; ㅎᆞᆫ글",
    "tags": "\U000e0041가\U000e007f",
}

ALPHABET = (
    "ㆍㅡㅇ×⁽ㅤ가각갂힣아버지사과나무를이었다ᄀ하ᅵᆨᇂㄱㅎㅏㅋ漢樂金あがカ゛ABcdéÉßİΣσς̖́̂12½①.,!?#[]/\\\"'-_"
    "\x00\x07\t\n\r \u00a0\u3000\u2028\u200b\u200d\u200e\u202e\ufeff\u00ad\ufe0f\ufffd\ue000\ud800\udfff\u0958\u0344"
    "👍🏽👨❤🇰𝒜𠀀"
)
WORDS = [
    "사과나무를",
    "한국",
    "[MASK]",
    "##",
    "EOS",
    "아버지가",
    "İ",
    "\u1112\u1161\u11ab",
    "e\u0301",
    "  ",
    "ㅋㅋㅋ",
    "NAVER",
]


def texts(max_size: int = 40) -> st.SearchStrategy[str]:
    """Arbitrary strings, and strings built from parts that commonly break tokenizers."""
    hostile = st.lists(st.sampled_from(list(ALPHABET) + WORDS), max_size=max_size).map("".join)
    return st.one_of(hostile, st.text(st.characters(), max_size=max_size))


VOCAB = [
    *SPECIAL,
    *"사과 나무 아버지 방 들어가 심 한국 어 를 가 이 었 다 하 나 은 는 一 가각 漢 字 ㅋ".split(),
    *". , ! ? [ ] # / A B c d e é i 1 2".split(),
    *"##사 ##과 ##나무 ##를 ##가 ##었 ##다 ##에 ##지 ##는 ##ㅋ ##ㅋㅋ".split(),
    *"##. ##A ##b ##c ##e ##́ ##1 ##2 ##[ ##] ### ##S ##M".split(),
]
