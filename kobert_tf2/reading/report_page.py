"""The browser side of the reading report: style, script and labels. `report.py` computes the data that it shows."""

from kobert_tf2.language import say


def words(overlap: str) -> dict[str, str]:
    """The labels that the script writes, in the current language; `overlap` is the name of the score next to EM."""
    return {
        "overlap": overlap,
        "of": say("of", "/"),
        "questions": say("questions", "질문"),
        "gold": say("gold answer", "정답"),
        "predicted": say("as predicted", "예측"),
        "stripped": say("without particle", "조사 제거"),
        "nbest": say("other candidates", "다른 후보"),
        "none": say("no answer", "답 없음"),
        "kind": say("kind of result", "결과 유형"),
        "word": say("question word", "의문사"),
        "length": say("length of the gold answer (characters)", "정답 길이(글자)"),
        "position": say("place of the gold answer in its context", "정답의 본문 내 위치"),
        "right": say("right", "정답"),
        "particle": say("particle", "조사 차이"),
        "boundary": say("boundary", "경계 차이"),
        "same sentence": say("same sentence", "같은 문장"),
        "wrong sentence": say("wrong sentence", "다른 문장"),
        "other": say("other", "기타"),
        "기타": say("other", "기타"),
    }


def terms(overlap: str) -> list[tuple[str, str]]:
    """The terms that the page uses, with their definitions."""
    return [
        ("EM", say("share of answers that equal a gold answer", "정답과 완전히 같은 답의 비율")),
        (overlap, say("overlap with the gold answer, as the metric counts it", "정답과 겹치는 정도(지표의 방식대로)")),
        (
            say("particle", "조사 차이"),
            say("right but for a particle (josa) at the end", "끝의 조사만 다르고 나머지는 맞음"),
        ),
        (
            say("boundary", "경계 차이"),
            say("overlaps the gold answer, but begins or ends elsewhere", "정답과 겹치지만 시작이나 끝이 다름"),
        ),
        (
            say("same sentence", "같은 문장"),
            say("another place in the gold answer's sentence", "정답이 있는 문장의 다른 부분"),
        ),
        (say("wrong sentence", "다른 문장"), say("an answer from another sentence", "다른 문장에서 고른 답")),
        (
            say("other", "기타"),
            say(
                "no answer given, none wanted, or one that is not in the context",
                "답이 없거나, 답이 없어야 하거나, 본문에 없는 답",
            ),
        ),
    ]


def body() -> str:
    """The HTML of the page's controls and of the list, which is empty at first."""
    options = {
        "f1": say("wrong ones first", "틀린 것부터"),
        "-f1": say("right ones first", "맞은 것부터"),
        "file": say("order of the file", "파일 순서"),
        "long": say("longest gold answer first", "정답이 긴 것부터"),
        "title": say("title", "제목순"),
    }
    order = "".join(f'<option value="{value}">{name}</option>' for value, name in options.items())
    search = say("search questions, answers, titles, contexts, ids", "질문, 답, 제목, 본문, id 검색")
    return f"""<div class="reader">
<details id="filters" open><summary>{say("Filters", "필터")}</summary><div id="groups"></div></details>
<div>
<div class="controls" role="search">
  <input id="search" type="search" placeholder="{search}" aria-label="{search}">
  <select id="sort" aria-label="{say("order", "정렬")}">{order}</select>
  <button id="clear" type="button">{say("show all", "모두 보기")}</button>
  <span id="count" role="status" aria-live="polite"></span>
</div>
<p class="note"><mark class="g">{say("gold answer", "정답")}</mark> ·
<mark class="r">{say("as predicted", "예측")}</mark> ·
<mark class="b">{say("without particle", "조사 제거")}</mark></p>
<div id="list"></div><div id="end"></div>
</div></div>"""


STYLE = """
:root { --gold: #3b934d66; --raw: #d0402a; --bare: #2a6ad0; }
.reader { display: grid; grid-template-columns: minmax(15rem, 19rem) minmax(0, 1fr); gap: 1.2rem; align-items: start; }
#filters { position: sticky; top: .5rem; max-height: 96vh; overflow-y: auto; }
#filters summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
fieldset { border: 0; padding: 0; margin: 0 0 .8rem; min-width: 0; }
legend { font-weight: 600; font-size: .87rem; color: var(--dim); padding: 0; }
button, input, select { font: inherit; color: inherit; background: var(--box); border: 1px solid var(--line);
  border-radius: .4rem; padding: .3rem .6rem; }
button { cursor: pointer; } button:hover { border-color: var(--accent); }
.filter { display: grid; grid-template-columns: minmax(0, 1fr) auto; width: 100%; text-align: left; margin: .2rem 0;
  gap: 0 .5rem; font-size: .9rem; line-height: 1.4; }
.filter .numbers { color: var(--dim); font-variant-numeric: tabular-nums; white-space: nowrap; }
.filter .bar { grid-column: 1 / -1; height: .35rem; border-radius: .2rem; background: var(--line); overflow: hidden; }
.filter .bar i { display: block; height: 100%; background: var(--c0); }
.filter[aria-pressed=true] { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; }
.controls { position: sticky; top: 0; background: var(--paper); padding: .5rem 0; display: flex; flex-wrap: wrap;
  gap: .5rem; align-items: center; border-bottom: 1px solid var(--line); z-index: 1; }
#search { flex: 1 1 12rem; min-width: 0; }
article { border-bottom: 1px solid var(--line); padding: .7rem 0; }
article h3 { font-size: 1rem; margin: 0; }
.context { white-space: pre-wrap; max-height: 12rem; overflow: auto; margin: .3rem 0; }
mark { color: inherit; background: none; padding: .05rem 0; }
.g { background: var(--gold); } .r { border-bottom: 3px solid var(--raw); } .b { border-top: 3px solid var(--bare); }
article ol { margin: .2rem 0; padding-left: 1.6rem; } article summary { cursor: pointer; color: var(--dim); }
@media (max-width: 50rem) { .reader { grid-template-columns: minmax(0, 1fr); gap: .5rem; }
  #filters { position: static; max-height: none; } .controls { position: static; } }
"""

SCRIPT = r"""
"use strict";
const data = JSON.parse(document.getElementById("data").textContent), words = data.words;
const all = data.questions, filter = {};
const byId = name => document.getElementById(name), list = byId("list");
let shown = [], built = 0;
all.forEach((q, i) => {
  q.order = i;
  q.text = [q.id, q.title, q.question, q.prediction, ...q.golds].join("\n").toLowerCase();
});

function make(tag, text, name) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
}
const named = value => words[value] || value;
const total = (rows, field) => rows.reduce((sum, q) => sum + q[field], 0);
const mean = (rows, field) => rows.length ? (100 * total(rows, field) / rows.length).toFixed(1) : "–";

// A chart whose bars are the filters: each shows its name, how many questions it has, EM and F1.
function group(field, order) {
  const node = make("fieldset"), groups = new Map(order.map(name => [name, []]));
  node.append(make("legend", words[field]));
  all.forEach(q => { if (!groups.has(q[field])) groups.set(q[field], []); groups.get(q[field]).push(q); });
  for (const [name, rows] of groups) {
    if (!rows.length) continue;
    const button = make("button", undefined, "filter"), bar = make("span", undefined, "bar"), fill = make("i");
    button.type = "button";
    button.dataset.field = field; button.dataset.value = name;
    const share = field === "kind" ? rows.length / all.length : total(rows, "f1") / rows.length;
    fill.style.width = 100 * share + "%";
    bar.append(fill);
    const numbers = field === "kind" ? rows.length
      : `${rows.length} · EM ${mean(rows, "em")} · ${words.overlap} ${mean(rows, "f1")}`;
    button.append(make("span", named(name)), make("span", numbers, "numbers"), bar);
    button.onclick = () => { filter[field] = filter[field] === name ? undefined : name; update(); };
    node.append(button);
  }
  return node;
}

// A context cut at every mark's end; a piece carries the classes of the marks over it. Places are code points.
function marked(q) {
  const node = make("div", undefined, "context"), points = Array.from(data.contexts[q.context]);
  node.tabIndex = 0;
  const marks = q.gold_spans.map(s => [...s, "g"]);
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
  const node = make("article"), facts = make("dl");
  node.append(make("h3", q.question));
  const meta = [q.id, q.title, named(q.kind), `EM ${q.em}`, `${words.overlap} ${(100 * q.f1).toFixed(1)}`];
  node.append(make("div", meta.filter(String).join(" · "), "note"));
  const raw = q.span ? Array.from(data.contexts[q.context]).slice(...q.span).join("") : q.prediction;
  for (const [name, value] of [["gold", q.golds.join(" | ")], ["predicted", raw], ["stripped", q.stripped]])
    facts.append(make("dt", words[name]), make("dd", value || words.none));
  node.append(facts, marked(q));
  if (q.nbest.length > 1) {
    const more = make("details"), candidates = make("ol");
    more.append(make("summary", words.nbest));
    q.nbest.forEach(([text, p]) => candidates.append(make("li", `${text || words.none} (${(100 * p).toFixed(1)} %)`)));
    more.append(candidates);
    node.append(more);
  }
  return node;
}

function build() {
  const part = document.createDocumentFragment();
  shown.slice(built, built + 30).forEach(q => part.append(article(q)));
  built += 30;
  list.append(part);
}

const orders = {
  file: (a, b) => a.order - b.order,
  f1: (a, b) => a.em - b.em || a.f1 - b.f1 || a.order - b.order,
  "-f1": (a, b) => b.em - a.em || b.f1 - a.f1 || a.order - b.order,
  long: (a, b) => (b.golds[0] || "").length - (a.golds[0] || "").length,
  title: (a, b) => a.title.localeCompare(b.title),
};
function update() {
  const wanted = byId("search").value.trim().toLowerCase();
  shown = all.filter(q => Object.entries(filter).every(([field, value]) => value === undefined || q[field] === value)
    && (!wanted || q.text.includes(wanted) || data.contexts[q.context].toLowerCase().includes(wanted)));
  shown.sort(orders[byId("sort").value]);
  byId("count").textContent = `${shown.length} ${words.of} ${all.length} · EM ${mean(shown, "em")}`
    + ` · ${words.overlap} ${mean(shown, "f1")}`;
  document.querySelectorAll(".filter").forEach(button =>
    button.setAttribute("aria-pressed", filter[button.dataset.field] === button.dataset.value));
  list.replaceChildren(); built = 0; build();
}

byId("groups").append(group("kind", data.kinds), group("length", data.lengths), group("position", data.positions),
  group("word", []));
if (matchMedia("(max-width: 50rem)").matches) byId("filters").open = false;
byId("search").oninput = update;
byId("sort").onchange = update;
byId("clear").onclick = () => {
  Object.keys(filter).forEach(field => delete filter[field]);
  byId("search").value = "";
  update();
};
new IntersectionObserver(seen => { if (seen[0].isIntersecting && built < shown.length) build(); },
  { rootMargin: "800px" }).observe(byId("end"));
update();
"""
