"""A page to look at what a reader answered: one HTML file that needs nothing else, filtered and sorted in the browser.

The questions are in the page as JSON; rows are built when they come into view, so thousands open at once. Nothing is
computed in the browser but counts: kinds of miss, groups and scores come from here.
"""

import json
import re
from collections.abc import Mapping, Sequence

from kobert_tf2 import files, outputs
from kobert_tf2.reading import metrics
from kobert_tf2.reading.josa import JosaStripper, sentence_around
from kobert_tf2.reading.squad_files import Question

# The first of these that stands in a question; 몇 before 무엇, for 몇 무엇 asks for a number.
_QUESTION_WORDS = (
    ("몇", r"몇|얼마"),
    ("누구", r"누구|누가"),
    ("언제", r"언제|며칠|[몇날]\s*(년|월|일)|(년도|연도|날짜|시기|날)[는은]?\??$"),
    ("어디", r"어디|(장소|지역|도시|나라|국가|곳)[는은]?\??$"),
    ("왜", r"왜|이유|까닭"),
    ("어떻게", r"어떻게|방법"),
    ("누구", r"(사람|인물|이름)[는은]?\??$"),
    ("어느·어떤", r"어느|어떤|무슨"),
    ("무엇", r"무엇|뭐|무었"),
)
_LENGTHS = ((2, "1–2"), (4, "3–4"), (8, "5–8"), (16, "9–16"), (10**9, "17+"))
KINDS = ("right", "particle", "boundary", "same sentence", "wrong sentence", "other")


def question_word(question: str) -> str:
    """What a question asks for, by its question word; 기타 where it has none."""
    text = question.strip()
    return next((name for name, pattern in _QUESTION_WORDS if re.search(pattern, text)), "기타")


def length_group(text: str) -> str:
    """The group of an answer's length in characters, white space not counted."""
    length = len("".join(text.split()))
    return next(name for longest, name in _LENGTHS if length <= longest)


def kind_of_miss(
    question: Question, prediction: str, span: tuple[int, int] | None, metric: str, stripper: JosaStripper
) -> str:
    """One of `KINDS`: what separates a prediction from the gold answer that is nearest to it.

    `particle`: right once josa.py has stripped it, or stripped of what the gold answer carries. `boundary`: the two
    overlap. `other`: no answer given, none wanted, or one that is not in the context.
    """
    golds = [answer.text for answer in question.answers]
    if metrics.score_question(metric, prediction, golds).exact:
        return "right"
    places = [(answer.start, answer.end) for answer in question.answers if answer.start >= 0]
    if span is None or not places:
        return "other"
    bare = question.context[slice(*stripper(question.context, *span))]
    bare_golds = [question.context[slice(*stripper(question.context, *place))] for place in places]
    if metrics.score_question(metric, bare, golds + bare_golds).exact:
        return "particle"
    if any(start < span[1] and span[0] < end for start, end in places):
        return "boundary"
    sentences = [sentence_around(question.context, *place) for place in places]
    here = any(start <= span[0] < end for start, end in sentences)
    return "same sentence" if here else "wrong sentence"


def predicted_spans(
    questions: Sequence[Question], predictions: Mapping[str, str], nbest: Mapping[str, list[dict]]
) -> dict[str, tuple[int, int]]:
    """Where each prediction stands in its context: as the n-best list says, or else its place nearest to the answer.

    With an n-best list of ours it is the span as predicted, even where the prediction was stripped.
    """
    spans = {}
    for question in questions:
        text = predictions.get(question.id)
        if not text:
            continue
        entries = [entry for entry in nbest.get(question.id, ()) if text in (entry["text"], entry.get("stripped"))]
        if entries and "start" in entries[0] and entries[0]["start"] <= entries[0]["end"] <= len(question.context):
            spans[question.id] = entries[0]["start"], entries[0]["end"]
        elif text in question.context:
            wanted = question.answers[0].start if question.answers else 0
            start = min(
                (m.start() for m in re.finditer(re.escape(text), question.context)), key=lambda p: abs(p - wanted)
            )
            spans[question.id] = start, start + len(text)
    return spans


def rows(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    spans: Mapping[str, tuple[int, int]],
    metric: str = "korquad1",
) -> dict:
    """What the page shows: `{"contexts": texts, "questions": a list of objects}`, contexts told once each."""
    stripper = JosaStripper()
    contexts: dict[str, int] = {}
    shown = []
    for question in questions:
        prediction, span = predictions.get(question.id) or "", spans.get(question.id)
        golds = [answer.text for answer in question.answers]
        score = metrics.score_question(metric, prediction, golds)
        stripped = stripper(question.context, *span) if span else None
        bare = question.context[slice(*stripped)] if stripped else prediction
        shown.append(
            {
                "id": question.id,
                "title": question.title,
                "question": question.question,
                "context": contexts.setdefault(question.context, len(contexts)),
                "golds": golds,
                "gold_spans": [[a.start, a.end] for a in question.answers if a.start >= 0],
                "prediction": prediction,
                "span": span,
                "stripped": bare,
                "stripped_span": stripped,
                "em": score.exact,
                "f1": round(score.f1, 4),
                "stripped_em": metrics.score_question(metric, bare, golds).exact,
                "kind": kind_of_miss(question, prediction, span, metric, stripper),
                "word": question_word(question.question),
                "length": length_group(golds[0]) if golds else "–",
            }
        )
    return {"contexts": list(contexts), "questions": shown, "kinds": KINDS, "lengths": [name for _, name in _LENGTHS]}


_SIGN = '<meta name="generator" content="kobert_tf2 evaluate_mrc">'


def check_output(path: str) -> None:
    """Raises `InputError` if the page may not be written at `path`."""
    outputs.check_file(path, what="a report of evaluate_mrc", is_ours=_is_report)


def _is_report(path: str) -> bool:
    with files.open_binary(path) as file:
        return _SIGN.encode() in file.read(1000)


def write(
    path: str,
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    spans: Mapping[str, tuple[int, int]],
    metric: str = "korquad1",
) -> None:
    """Writes the page; over an earlier one alone."""
    check_output(path)
    data = json.dumps(rows(questions, predictions, spans, metric), ensure_ascii=False, separators=(",", ":"))
    # Inside a script element only "</" and "<!--" could end or change the script.
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    with files.whole_file(path) as file:
        page = _PAGE.replace("F1", "ROUGE-W") if metrics.overlap_name(metric) == "rouge_w" else _PAGE
        file.write(page.replace("@SIGN@", _SIGN).replace("@METRIC@", metric).replace("@DATA@", data))


_PAGE = """<!doctype html>
<html lang="ko">
<head>
<meta charset="utf-8">
@SIGN@
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reading report</title>
<style>
:root { color-scheme: light dark; --line: #8884; --gold: #3b93; --raw: #c526; --bare: #26c5; }
body { font: 15px/1.6 system-ui, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", NanumGothic, sans-serif;
  max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; }
.tables { display: flex; flex-wrap: wrap; gap: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; }
th, td { padding: .1rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
tbody tr { cursor: pointer; }
tbody tr.on { background: #88f4; }
.controls { position: sticky; top: 0; background: Canvas; padding: .6rem 0; display: flex; flex-wrap: wrap; gap: .6rem;
  border-bottom: 1px solid var(--line); z-index: 1; }
input, select { font: inherit; padding: .2rem .4rem; }
input { flex: 1 1 14rem; }
article { border-bottom: 1px solid var(--line); padding: .7rem 0; }
article h2 { font-size: 1rem; margin: 0; }
.meta { color: GrayText; font-size: .85rem; }
.context { white-space: pre-wrap; max-height: 12rem; overflow: auto; margin: .3rem 0; }
mark { color: inherit; background: none; padding: .05rem 0; }
.g { background: var(--gold); } .r { border-bottom: 3px solid var(--raw); } .b { border-top: 3px solid var(--bare); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin: 0; } dd { margin: 0; }
</style>
</head>
<body>
<h1>Reading report · @METRIC@</h1>
<p id="overall"></p>
<div class="tables" id="tables"></div>
<div class="controls">
  <input id="search" type="search" placeholder="search questions, answers, titles, contexts, ids" aria-label="search">
  <select id="sort" aria-label="sort">
    <option value="file">order of the file</option><option value="f1">F1, lowest first</option>
    <option value="-f1">F1, highest first</option><option value="long">gold answer, longest first</option>
    <option value="title">title</option>
  </select>
  <button id="clear">all</button><span id="count"></span>
</div>
<p class="meta"><mark class="g">gold</mark> · <mark class="r">as predicted</mark> · <mark class="b">stripped</mark></p>
<main id="list"></main><div id="end"></div>
<script id="data" type="application/json">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const all = data.questions;
all.forEach((q, i) => {
  q.order = i;
  q.text = [q.id, q.title, q.question, q.prediction, ...q.golds].join("\\n").toLowerCase();
});
const filter = {}, list = document.getElementById("list"), end = document.getElementById("end");
let shown = [], built = 0;

function make(tag, text, name) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
}
const total = (rows, field) => rows.reduce((sum, q) => sum + q[field], 0);
const mean = (rows, field) => rows.length ? (100 * total(rows, field) / rows.length).toFixed(2) : "–";

function table(title, field, order) {
  const node = make("table");
  node.append(make("caption", title));
  const head = node.createTHead().insertRow();
  ["", "n", "EM", "F1", "EM stripped"].forEach(name => head.append(make("th", name)));
  const groups = new Map(order.map(name => [name, []]));
  all.forEach(q => { if (!groups.has(q[field])) groups.set(q[field], []); groups.get(q[field]).push(q); });
  const body = node.createTBody();
  for (const [name, rows] of groups) {
    if (!rows.length) continue;
    const row = body.insertRow();
    row.dataset.field = field; row.dataset.value = name;
    const cells = [name, rows.length, mean(rows, "em"), mean(rows, "f1"), mean(rows, "stripped_em")];
    cells.forEach(value => row.append(make("td", value)));
    row.onclick = () => { filter[field] = filter[field] === name ? undefined : name; update(); };
  }
  return node;
}

// A context cut at every mark's end; a piece carries the classes of the marks over it.
function marked(q) {
  const text = data.contexts[q.context], node = make("div", undefined, "context");
  const points = Array.from(text);
  const marks = [...q.gold_spans.map(s => [...s, "g"])];
  if (q.span) marks.push([...q.span, "r"]);
  if (q.stripped_span) marks.push([...q.stripped_span, "b"]);
  const cuts = [...new Set([0, points.length, ...marks.flatMap(m => [m[0], m[1]])])].sort((a, b) => a - b);
  for (let i = 0; i + 1 < cuts.length; i++) {
    const part = points.slice(cuts[i], cuts[i + 1]).join("");
    const classes = marks.filter(m => m[0] <= cuts[i] && cuts[i + 1] <= m[1]).map(m => m[2]);
    node.append(classes.length ? make("mark", part, classes.join(" ")) : part);
  }
  return node;
}

function article(q) {
  const node = make("article");
  node.append(make("h2", q.question));
  node.append(make("div", `${q.id} · ${q.title} · ${q.kind} · EM ${q.em} · F1 ${(100 * q.f1).toFixed(1)}`, "meta"));
  const facts = make("dl");
  for (const [name, value] of [["gold", q.golds.join(" | ")], ["as predicted", q.span
      ? Array.from(data.contexts[q.context]).slice(...q.span).join("") : q.prediction], ["stripped", q.stripped]])
    facts.append(make("dt", name), make("dd", value || "–"));
  node.append(facts, marked(q));
  return node;
}

function build() {
  const part = document.createDocumentFragment();
  shown.slice(built, built + 30).forEach(q => part.append(article(q)));
  built += 30;
  list.append(part);
}

const orders = {
  file: (a, b) => a.order - b.order, f1: (a, b) => a.f1 - b.f1, "-f1": (a, b) => b.f1 - a.f1,
  long: (a, b) => (b.golds[0] || "").length - (a.golds[0] || "").length,
  title: (a, b) => a.title.localeCompare(b.title),
};
function update() {
  const wanted = document.getElementById("search").value.trim().toLowerCase();
  shown = all.filter(q => Object.entries(filter).every(([field, value]) => value === undefined || q[field] === value)
    && (!wanted || q.text.includes(wanted) || data.contexts[q.context].toLowerCase().includes(wanted)));
  shown.sort(orders[document.getElementById("sort").value]);
  document.getElementById("count").textContent =
    `${shown.length} of ${all.length} · EM ${mean(shown, "em")} · F1 ${mean(shown, "f1")}`;
  document.querySelectorAll("tbody tr").forEach(row =>
    row.classList.toggle("on", filter[row.dataset.field] === row.dataset.value));
  list.replaceChildren(); built = 0; build();
}

document.getElementById("overall").textContent = `${all.length} questions · EM ${mean(all, "em")}`
  + ` · F1 ${mean(all, "f1")} · EM with particles stripped ${mean(all, "stripped_em")}`;
document.getElementById("tables").append(table("kind", "kind", data.kinds),
  table("answer length", "length", data.lengths), table("question word", "word", []));
document.getElementById("search").oninput = update;
document.getElementById("sort").onchange = update;
document.getElementById("clear").onclick = () => {
  Object.keys(filter).forEach(field => delete filter[field]);
  document.getElementById("search").value = ""; update();
};
new IntersectionObserver(seen => { if (seen[0].isIntersecting && built < shown.length) build(); },
  { rootMargin: "800px" }).observe(end);
update();
</script>
</body>
</html>
"""
