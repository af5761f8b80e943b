"""The one page of the HTTP service: a question, a text, the answer marked in it. In Korean and English.

It loads nothing from elsewhere, and shows text as text: nothing that a model or a user wrote becomes markup.
"""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_HTML = """<!doctype html>
<html lang="ko">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kobert_tf2</title>
<link rel="stylesheet" href="page.css">
<link rel="icon" href="data:,">
</head>
<body>
<header>
  <h1 data-text="title"></h1>
  <nav aria-label="language">
    <button type="button" lang="ko" data-language="ko">한국어</button>
    <button type="button" lang="en" data-language="en">English</button>
  </nav>
</header>
<main>
  <form id="form">
    <label for="context" data-text="context"></label>
    <textarea id="context" rows="6" required></textarea>
    <label for="question" data-text="question"></label>
    <input id="question" required autocomplete="off">
    <button id="ask" type="submit" data-text="ask"></button>
  </form>
  <p id="message" role="status" aria-live="polite"></p>
  <section id="result" hidden>
    <div id="found">
      <h2 data-text="answer"></h2>
      <p id="answer"><strong id="bare"></strong><span id="removed"></span></p>
      <p id="figures"></p>
    </div>
    <div id="place">
      <h2 data-text="inContext"></h2>
      <p id="marked"></p>
    </div>
    <div id="more">
      <h2 data-text="others"></h2>
      <ol id="others"></ol>
    </div>
  </section>
</main>
<script src="page.js"></script>
</body>
</html>
"""

_CSS = """:root { color-scheme: light dark; --quiet: #5f6368; --line: #8a8f98; --mark: #ffe08a; --particle: #fff3cd;
  --on-mark: #1b1b1b; --bar: #1a56b0; --error: #b00020; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aab0b8; --line: #767c85; --mark: #d9a514; --particle: #8a6d1a;
  --bar: #7fb0ff; --error: #ff8a80; } }
* { box-sizing: border-box; }
body { font: 1rem/1.6 system-ui, "Apple SD Gothic Neo", "Noto Sans KR", "Malgun Gothic", sans-serif;
  max-width: 44rem; margin: 0 auto; padding: 0.75rem; word-break: keep-all; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0.5rem; }
h1 { font-size: 1.25rem; line-height: 1.3; margin: 0; overflow-wrap: normal; }
nav { display: flex; gap: 0.4rem; }
h2 { font-size: 0.9rem; margin: 1.2rem 0 0.2rem; color: var(--quiet); }
label { display: block; margin-top: 0.8rem; font-weight: 600; }
textarea, input { width: 100%; font: inherit; padding: 0.6rem; border: 1px solid var(--line); border-radius: 0.4rem; }
textarea { field-sizing: content; min-height: 7.5rem; max-height: 50vh; resize: vertical; }
button { font: inherit; min-height: 2.75rem; padding: 0.3rem 0.8rem; border: 1px solid var(--line); cursor: pointer;
  border-radius: 0.4rem; }
nav button[aria-pressed="true"] { font-weight: 700; text-decoration: underline; }
#ask { width: 100%; margin-top: 0.8rem; background: #1a56b0; color: #fff; border: 0; font-weight: 600; }
#ask:disabled { opacity: 0.6; cursor: progress; }
:focus-visible { outline: 3px solid var(--bar); outline-offset: 1px; }
#answer { font-size: 1.3rem; margin: 0; }
#others .off { color: var(--quiet); text-decoration: underline dotted; }
#removed, #figures, small { color: var(--quiet); font-size: 0.9rem; }
#figures { margin: 0; }
#marked { white-space: pre-wrap; margin: 0; }
mark { background: var(--mark); color: var(--on-mark); border-radius: 0.2rem; padding: 0.1rem 0; }
mark .particle { background: var(--particle); text-decoration: underline dotted; }
@media (prefers-color-scheme: dark) { mark .particle { color: #fff; } }
#message { min-height: 1.6rem; margin: 0.4rem 0 0; }
#message.error { color: var(--error); }
ol { list-style: none; margin: 0; padding: 0; }
#others button { display: grid; grid-template-columns: 1fr auto; gap: 0 0.6rem; width: 100%; margin-top: 0.4rem;
  padding: 0.4rem 0.7rem 0.5rem; text-align: left; background: none; color: inherit; }
#others button[aria-pressed="true"] { border-color: var(--bar); box-shadow: inset 0 0 0 1px var(--bar); }
meter { grid-column: 1 / -1; width: 100%; height: 0.35rem; border: 0; background: none; }
meter::-webkit-meter-bar { height: 0.35rem; border: 0; border-radius: 0.2rem; background: #8884; }
meter::-webkit-meter-optimum-value { background: var(--bar); border-radius: 0.2rem; }
meter::-moz-meter-bar { background: var(--bar); border-radius: 0.2rem; }
"""

_JS = """"use strict";
const TEXTS = {
  ko: { title: "한국어 기계 독해", context: "지문", question: "질문", ask: "답 찾기", answer: "답",
    inContext: "지문 속의 자리", others: "다른 후보 (누르면 지문에 표시)", asking: "찾는 중…",
    none: "지문에서 답을 찾지 못했습니다.", failed: "서버에 연결할 수 없습니다.", removed: "떼어 낸 조사·어미",
    score: "점수", probability: "확률",
    sample: ["세종대왕은 1443년에 훈민정음을 창제하고 1446년에 반포하였다.", "훈민정음은 언제 반포되었는가?"] },
  en: { title: "Korean reading comprehension", context: "Text", question: "Question", ask: "Find the answer",
    answer: "Answer", inContext: "Where it stands", others: "Other candidates (press to mark)", asking: "Looking…",
    none: "The text holds no answer.", failed: "The server cannot be reached.", removed: "particle taken off",
    score: "score", probability: "probability" },
};
const element = (id) => document.getElementById(id);
let language = "ko";
let last = null;
let chosen = 0;

function speak(wanted) {
  language = wanted in TEXTS ? wanted : "en";
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[language][node.dataset.text];
  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", String(node.dataset.language === language));
  if (last) show();
}

function say(text, isError) {
  element("message").textContent = text;
  element("message").className = isError ? "error" : "";
}

function figures(entry) {
  const percent = (100 * entry.probability).toFixed(1);
  return `${TEXTS[language].score} ${entry.score.toFixed(2)}, ${TEXTS[language].probability} ${percent} %`;
}

function removedText(entry) {
  const removed = entry.stripped ? entry.stripped.removed.filter(Boolean) : [];
  return removed.length ? ` (${TEXTS[language].removed}: ${removed.join(" … ")})` : "";
}

function span(tag, text, kind) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

const bareOf = (entry) => entry.stripped || entry;

// Candidates with text, each place once: those that differ in their particle alone look the same.
function candidates(found) {
  const seen = new Set();
  return (found.n_best || []).filter((entry) => {
    const bare = bareOf(entry);
    const place = `${bare.start} ${bare.text}`;
    return bare.text && !seen.has(place) && seen.add(place);
  });
}

// Offsets count code points, JavaScript strings UTF-16 units: `characters` is the context as an array of code points.
function show() {
  const { found, characters, entries } = last;
  element("result").hidden = !entries.length;
  element("found").hidden = !found.text;
  say(found.text ? "" : TEXTS[language].none);
  if (!entries.length) return;
  element("bare").textContent = bareOf(found).text;
  element("removed").textContent = removedText(found);
  element("figures").textContent = `${figures(found)}, ${found.milliseconds.toFixed(0)} ms`;
  element("place").hidden = chosen < 0;
  if (chosen >= 0) mark(entries[chosen], characters);
  element("more").hidden = Boolean(found.text) && entries.length < 2;
  element("others").replaceChildren(...entries.map(candidate).slice(found.text ? 1 : 0));
}

function mark(entry, characters) {
  const bare = bareOf(entry);
  const cut = (from, to) => characters.slice(from, to).join("");
  const node = span("mark", "");
  node.append(span("span", cut(entry.start, bare.start), "particle"), bare.text,
    span("span", cut(bare.end, entry.end), "particle"));
  element("marked").replaceChildren(cut(0, entry.start), node, cut(entry.end));
}

// What is marked before one is pressed: the answer, or nothing where there is none.
const first = () => (last.found.text ? 0 : -1);

function candidate(entry, place) {
  const button = span("button", "");
  button.type = "button";
  button.setAttribute("aria-pressed", String(place === chosen));
  const [before, behind] = entry.stripped ? entry.stripped.removed : ["", ""];
  const name = span("span", "");
  name.append(span("span", before, "off"), bareOf(entry).text, span("span", behind, "off"));
  const meter = document.createElement("meter");
  meter.value = entry.probability;
  button.append(name, span("small", figures(entry)), meter);
  button.addEventListener("click", () => {
    chosen = place === chosen ? first() : place;
    show();
    if (chosen >= 0) document.querySelector("#marked mark").scrollIntoView({ block: "nearest" });
  });
  const item = span("li", "");
  item.append(button);
  return item;
}

async function ask(event) {
  event.preventDefault();
  const context = element("context").value;
  const question = element("question").value;
  element("ask").disabled = true;
  say(TEXTS[language].asking);
  element("result").hidden = true;
  last = null;
  try {
    const response = await fetch("answer", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, context, n_best: 5 }) });
    const found = await response.json();
    if (!response.ok) return say(found.error, true);
    last = { found, characters: Array.from(context), entries: candidates(found) };
    chosen = first();
    show();
    if (!element("result").hidden) element("result").scrollIntoView({ block: "nearest" });
  } catch {
    say(TEXTS[language].failed, true);
  } finally {
    element("ask").disabled = false;
  }
}

for (const node of document.querySelectorAll("[data-language]"))
  node.addEventListener("click", () => speak(node.dataset.language));
element("form").addEventListener("submit", ask);
element("context").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
});
[element("context").value, element("question").value] = TEXTS.ko.sample;
speak(navigator.language.startsWith("ko") ? "ko" : "en");
"""

FILES = {
    "/": (_HTML, "text/html; charset=utf-8"),
    "/page.css": (_CSS, "text/css; charset=utf-8"),
    "/page.js": (_JS, "text/javascript; charset=utf-8"),
}
