"""`report.html` of a run: the sections of the task, then the curves of `train_log.jsonl`."""

import math
from collections.abc import Mapping, Sequence

from kobert_tf2 import charts, files, pages, screen
from kobert_tf2.errors import InputError
from kobert_tf2.language import say
from kobert_tf2.pages import Section

FILE = "report.html"


def write(output_dir: str, sections: Sequence[Section]) -> None:
    """Writes the report of a run: the sections, then the curves of its log."""
    title = say("Training report", "학습 보고서")
    pages.write(f"{output_dir}/{FILE}", pages.page(title, [*sections, *curves(output_dir)]))


def curves(output_dir: str) -> list[Section]:
    """Learning curves, learning rate and speed from `output_dir/train_log.jsonl`; nothing if there is no log."""
    records = read_log(f"{output_dir}/train_log.jsonl")
    terms = [name for name in _names(records) if name.endswith("_loss")]
    losses = ["loss", *(terms if len(terms) > 1 else [])]  # A single term equals the loss.
    shares = [name for name in _names(records) if name.endswith("accuracy")]
    return [
        Section(
            say("Learning curve", "학습 곡선"),
            _chart(records, losses, say("loss over steps", "스텝별 손실")),
            say(
                "The loss is what training lowers; a curve that is still falling means that more steps would help.",
                "손실은 학습이 낮추는 값입니다. 곡선이 아직 내려가고 있으면 더 학습할 여지가 있다는 뜻입니다.",
            ),
        ),
        Section(
            say("Accuracy on training batches", "학습 배치의 정확도"),
            _chart(records, shares, say("accuracy over steps", "스텝별 정확도")),
        ),
        Section(
            say("Learning rate", "학습률"),
            _chart(records, ["learning_rate"], say("learning rate over steps", "스텝별 학습률")),
        ),
        Section(
            say("Gradient norm", "기울기 노름"),
            _chart(records, ["gradient_norm"], say("gradient norm over steps", "스텝별 기울기 노름")),
            say(
                "The size of the update before clipping. Sudden peaks ask for a lower learning rate.",
                "클리핑 전 갱신의 크기입니다. 갑자기 치솟으면 학습률을 낮추십시오.",
            ),
        ),
        Section(
            say("Speed", "속도"),
            _chart(records, ["tokens_per_second"], say("tokens per second over steps", "스텝별 초당 토큰 수")),
            say("Tokens per second, padding included.", "초당 토큰 수(패딩 포함)입니다."),
        ),
    ]


def scores(values: Mapping[str, object]) -> Section:
    """The single numbers of a summary, in large type."""
    shown = [
        (name.replace("_", " "), screen.number(value), "")
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return Section(say("Results", "결과"), pages.figures(shown))


def read_log(path: str) -> list[dict[str, float]]:
    """The records of a log in order; empty if there is no file."""
    if not files.exists(path):
        return []
    with files.open_binary(path) as file:
        lines = [line for line in file if line.endswith(b"\n")]
    records = []
    for number, line in enumerate(lines, 1):
        record = files.parse_json(files.decode_line(line, path, number), path, dict, first_line=number)
        if type(record.get("step")) is not int:
            raise InputError(f"{path}, line {number}: expected a record with its step, as a run writes it")
        records.append(record)
    return records


def _names(records: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _chart(records: Sequence[dict], names: Sequence[str], label: str) -> str:
    series = {
        name.replace("_", " "): [(record["step"], float(record.get(name, math.nan))) for record in records]
        for name in names
    }
    return charts.line_chart(series, label=label, x_label=say("steps", "스텝"))
