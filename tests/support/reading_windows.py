"""Questions and a tokenizer small enough that the positions of windows and spans are easy to follow."""

import re

from kobert_tf2.reading import windows as reading_windows
from kobert_tf2.reading.squad_files import Answer, Question
from kobert_tf2.reading.windows import Windows
from kobert_tf2.tokenization.encoding import Encoding, Token


class PairTokenizer:
    """Splits words into pieces of two characters, so that the positions of windows and spans are easy to follow."""

    pad_id, cls_id, sep_id = 0, 1, 2

    def __init__(self):
        self.encoded = []

    def encode(self, text):
        self.encoded.append(text)
        words = (match.span() for match in re.finditer(r"\S+", text))
        spans = [(begin, min(begin + 2, end)) for start, end in words for begin in range(start, end, 2)]
        return Encoding.of(Token(text[begin:end], 10 + ord(text[begin]) % 1000, begin, end) for begin, end in spans)

    def encode_batch(self, texts, *, num_workers=1):
        return [self.encode(text) for text in texts]

    def encode_ids_batch(self, texts, *, num_workers=1):
        return [encoding.ids.tolist() for encoding in self.encode_batch(texts)]


def question(context, query="누구 인가", answer=None, name="q"):
    answers = (Answer(context[slice(*answer)], *answer),) if answer else ()
    return Question(name, query, context, answers)


def windows_of(*questions, tokenizer=None, **lengths) -> Windows:
    sizes = {"max_seq_length": 16, "doc_stride": 4, "max_query_length": 6} | lengths
    return reading_windows.make_windows(list(questions), tokenizer or PairTokenizer(), **sizes)
