"""The JSON requests and responses of the HTTP service. FastAPI validates both and generates /openapi.json from them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from kobert_tf2.serving.limits import Limits
from kobert_tf2.serving.requests import MAX_CANDIDATES, MAX_SENTENCES, MAX_TOP_K

MAX_N_BEST = 20
# At least one character that is not white space.
NOT_BLANK = r"\S"
_STRICT = ConfigDict(extra="forbid")


class Bare(BaseModel):
    """The answer without particles, endings and loose marks."""

    text: str
    start: int
    end: int
    removed: list[str] = Field(description="What was taken off before and behind it.")


class Answer(BaseModel):
    text: str = Field(description="The answer, as the context spells it; empty where there is none.")
    start: int = Field(description="Its first character in the context, counted in code points.")
    end: int = Field(description="Past its last character.")
    score: float
    probability: float = Field(description="Among the best spans.")
    stripped: Bare | None = None
    answer: str | None = Field(
        None, description="The text or the stripped one: which of them the model was trained to give."
    )


class Answers(Answer):
    n_best: list[Answer] | None = None
    null_score_diff: float | None = Field(
        None, description='Where a question may have none: how much higher "no answer" scores than the best span.'
    )
    milliseconds: float


class Entity(BaseModel):
    text: str = Field(description="The entity, as the text spells it.")
    type: str
    start: int = Field(description="Its first character in the text, counted in code points.")
    end: int = Field(description="Past its last character.")
    score: float = Field(description="The mean probability of its labels.")


class Entities(BaseModel):
    entities: list[Entity]
    milliseconds: float


class LabelScore(BaseModel):
    label: str
    score: float = Field(description="Its probability.")


class Classification(BaseModel):
    label: str | None = Field(None, description="Of a model for one label: the most probable one.")
    labels: list[LabelScore] | None = Field(
        None, description="Of a model for several labels: those whose probability reaches their threshold, best first."
    )
    score: float | None = Field(None, description="The label's probability, or the number of a regression.")
    scores: dict[str, float] | None = Field(None, description="The probability of every label.")
    milliseconds: float


class Candidate(BaseModel):
    piece: str = Field(description="As the vocabulary spells it: ## where it does not begin a word.")
    score: float = Field(description="Its probability.")


class FilledMask(BaseModel):
    start: int = Field(description="The mask's first character in the text, counted in code points.")
    end: int = Field(description="Past its last character.")
    candidates: list[Candidate] = Field(description="Best first.")


class FilledMasks(BaseModel):
    masks: list[FilledMask]
    milliseconds: float


class Found(BaseModel):
    text: str
    line: int = Field(description="Its line in the service's file, or its number in the request, from 1.")
    score: float = Field(description="The cosine of its vector and the query's, from -1 to 1.")


class SearchResult(BaseModel):
    matches: list[Found] = Field(description="Nearest first.")
    sentences: int = Field(description="How many were searched.")
    milliseconds: float


class AttentionToken(BaseModel):
    piece: str = Field(description="As the vocabulary spells it.")
    segment: int = Field(description="0 for the text, 1 for the second text.")
    start: int | None = Field(None, description="Its first character in its text; absent for special tokens.")
    end: int | None = Field(None, description="Past its last character.")


class Attentions(BaseModel):
    tokens: list[AttentionToken]
    layer: int = Field(description="Counted from 0.")
    layers: int = Field(description="How many layers the model has.")
    heads: list[int] = Field(description="The heads whose weights follow, counted from 0.")
    attentions: list[list[list[float]]] = Field(
        description="[head][from token][to token]: how much a token attends to each; a row sums to 1."
    )
    milliseconds: float


class Health(BaseModel):
    status: str
    waiting: int = Field(description="Requests in work or waiting.")
    answered: int
    batches: int = Field(description="Turns of the model so far.")
    workers: int | None = Field(None, description="With --workers: those that serve now; the counts are of them all.")


class Error(BaseModel):
    error: str = Field(description="One sentence.")


def question_model(limits: Limits) -> type[BaseModel]:
    length = {"min_length": 1, "max_length": limits.question_characters}
    question = Annotated[str, Field(**length, pattern=NOT_BLANK, examples=["수도는 어디인가?"])]
    context = Annotated[str, Field(max_length=limits.context_characters, examples=["대한민국의 수도는 서울이다."])]
    return create_model(
        "Question",
        __config__=_STRICT,
        question=(question, ...),
        context=(context, ...),
        n_best=(Annotated[int, Field(ge=1, le=MAX_N_BEST)], 1),
        strip_josa=(bool, True),
    )


def text_model(limits: Limits) -> type[BaseModel]:
    text = Annotated[str, Field(max_length=limits.context_characters, examples=["세종대왕은 한양에서 태어났다."])]
    return create_model("Text", __config__=_STRICT, text=(text, ...))


def pair_model(limits: Limits) -> type[BaseModel]:
    text = Annotated[str, Field(max_length=limits.context_characters, examples=["재미있게 보았다."])]
    second = Annotated[str | None, Field(max_length=limits.context_characters, examples=[None])]
    return create_model("TextOrPair", __config__=_STRICT, text=(text, ...), text_pair=(second, None))


def masked_text_model(limits: Limits) -> type[BaseModel]:
    text = Annotated[str, Field(max_length=limits.context_characters, examples=["대한민국의 수도는 [MASK]이다."])]
    n_best = Annotated[int, Field(ge=1, le=MAX_CANDIDATES)]
    return create_model("MaskedText", __config__=_STRICT, text=(text, ...), n_best=(n_best, 5))


def search_model(limits: Limits, *, has_file: bool) -> type[BaseModel]:
    """The request of a search; without a file of the service's own, the request must bring the sentences."""
    query = Annotated[
        str,
        Field(min_length=1, max_length=limits.question_characters, pattern=NOT_BLANK, examples=["배는 언제 떠나나요?"]),
    ]
    sentence = Annotated[str, Field(max_length=limits.context_characters, pattern=NOT_BLANK)]
    some = Annotated[
        list[sentence],
        Field(min_length=1, max_length=MAX_SENTENCES, examples=[["배는 아침에 떠난다.", "사과가 붉다."]]),
    ]
    sentences: Any = (some | None, None) if has_file else (some, ...)
    top_k = Annotated[int, Field(ge=1, le=MAX_TOP_K)]
    return create_model("Search", __config__=_STRICT, query=(query, ...), sentences=sentences, top_k=(top_k, 5))


def attention_model(limits: Limits, *, layers: int, heads: int) -> type[BaseModel]:
    text = Annotated[str, Field(max_length=limits.context_characters, examples=["사과가 붉다."])]
    second = Annotated[str | None, Field(max_length=limits.context_characters, examples=[None])]
    layer = Annotated[int, Field(ge=-layers, le=layers - 1, description="Counted from 0; -1 is the last.")]
    head = Annotated[int | None, Field(ge=0, le=heads - 1, description="Counted from 0; without it, all heads.")]
    return create_model(
        "Attend",
        __config__=_STRICT,
        text=(text, ...),
        text_pair=(second, None),
        layer=(layer, -1),
        head=(head, None),
    )
