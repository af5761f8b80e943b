"""`report.html` of a vocabulary: corpus figures, segmented example sentences, lengths of pieces, and unknown words."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kobert_tf2 import charts, pages
from kobert_tf2.language import say
from kobert_tf2.pages import Section
from kobert_tf2.tokenization.tokenizer import Tokenizer

FILE = "report.html"
_EXAMPLES = 12
_LONGEST_EXAMPLE = 120
_LONGEST_PIECE = 12  # In characters; longer pieces share one bar.


def write(path: str, tokenizer: Tokenizer, coverage: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Writes the page; `coverage` as returned by `learning.build`, `lines` are the held-out lines."""
    sections = [
        _figures(coverage),
        _given(coverage),
        _examples(tokenizer, lines),
        _lengths(tokenizer),
        _unknown(coverage),
    ]
    pages.write(path, pages.page(say("Vocabulary", "어휘 사전"), sections))


def _figures(coverage: Mapping[str, Any]) -> Section:
    measured = coverage["held_out"]
    figures = [
        (
            say("pieces", "조각 수"),
            f"{coverage['vocab_size']:,}",
            say(f"{coverage['vocab_size_asked']:,} were asked for", f"요청: {coverage['vocab_size_asked']:,}"),
        ),
        (
            say("unknown", "미등록"),
            f"{measured['unk_rate']:.2%}",
            say("of the pieces of lines kept from learning", "학습에서 제외한 줄의 조각 가운데"),
        ),
        (
            say("pieces an eojeol", "어절당 조각 수"),
            f"{measured['pieces_per_eojeol']:.2f}",
            say("fewer is shorter input", "적을수록 입력이 짧아집니다"),
        ),
        (
            say("whole words", "통단어"),
            f"{measured['whole_word_rate']:.1%}",
            say("pieces that are a word by themselves", "그 자체로 한 단어인 조각"),
        ),
    ]
    return Section(say("Results", "결과"), pages.figures(figures) if measured["pieces"] else pages.figures(figures[:1]))


def _given(coverage: Mapping[str, Any]) -> Section:
    """The section that compares what was requested with what the corpus provided."""
    header = ["", say("count", "개수")]
    rows = [
        [say("words in the corpus", "말뭉치의 단어"), coverage["corpus_words"]],
        [say("different words", "서로 다른 단어"), coverage["distinct_words"]],
        [say("pieces asked for", "요청한 조각"), coverage["vocab_size_asked"]],
        [say("pieces found", "얻은 조각"), coverage["vocab_size"]],
        [say("a word must occur", "단어의 최소 빈도"), coverage["min_frequency"]],
    ]
    missing = coverage["vocab_size_asked"] - coverage["vocab_size"]
    explained = ""
    if missing > 0:
        explained = say(
            f"The corpus gave {missing:,} pieces fewer than were asked for: it is too small for so many.",
            f"말뭉치에서 요청보다 {missing:,}개 적게 얻었습니다. 이만큼을 배우기에는 말뭉치가 작습니다.",
        )
    return Section(say("What the corpus gave", "말뭉치에서 얻은 것"), pages.table(header, rows), explained)


def _examples(tokenizer: Tokenizer, lines: Iterable[str]) -> Section:
    shown = [line for line in lines if line.strip()][:_EXAMPLES]
    cut = "".join(f"<p>{_pieces(tokenizer, line[:_LONGEST_EXAMPLE])}</p>" for line in shown)
    explained = say(
        "Lines that were kept from learning, cut into pieces; unknown ones are framed.",
        "학습에서 제외한 줄을 조각으로 나눈 것입니다. 미등록 조각에는 테두리가 있습니다.",
    )
    return Section(say("Sentences cut", "문장 분절 예"), f'<div class="pieces">{cut}</div>' if shown else "", explained)


def _pieces(tokenizer: Tokenizer, line: str) -> str:
    """The pieces of a line; unknown ones are shown as their original text."""
    parts = []
    for token in tokenizer.encode(line):
        is_unknown = token.id == tokenizer.unk_id
        shown = line[token.start : token.end] if is_unknown else token.piece
        parts.append(f"<span{' class=u' if is_unknown else ''}>{pages.text(shown)}</span>")
    return " ".join(parts)


def _lengths(tokenizer: Tokenizer) -> Section:
    special = (tokenizer.pad_token, tokenizer.unk_token, tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token)
    counted: collections.Counter[int] = collections.Counter()
    for piece in tokenizer.vocab:
        if piece not in special and not piece.startswith("[unused"):
            counted[min(len(piece.removeprefix("##").partition("/")[0] or piece), _LONGEST_PIECE)] += 1
    names = {length: f"{length}+" if length == _LONGEST_PIECE else str(length) for length in range(1, max(counted) + 1)}
    bins = {name: counted[length] for length, name in names.items()}
    title = say("Lengths of pieces", "조각의 길이")
    return Section(title, charts.histogram(bins, label=title), say("in characters", "글자 수"))


def _unknown(coverage: Mapping[str, Any]) -> Section:
    found = coverage["held_out"]["frequent_unk"]
    header = [say("text", "글"), say("times", "횟수")]
    explained = say(
        "What the vocabulary cannot write, the most frequent first.", "이 어휘로 쓸 수 없는 것을 잦은 순서로 보입니다."
    )
    return Section(say("Unknown", "미등록"), pages.table(header, found) if found else "", explained)
