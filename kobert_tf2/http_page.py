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
    <textarea id="context" rows="9" required></textarea>
    <label for="question" data-text="question"></label>
    <input id="question" required autocomplete="off">
    <button id="ask" type="submit" data-text="ask"></button>
  </form>
  <p id="message" role="status" aria-live="polite"></p>
  <section id="result" hidden>
    <h2 data-text="answer"></h2>
    <p id="answer"><strong id="bare"></strong><span id="removed"></span></p>
    <p id="figures"></p>
    <h2 data-text="inContext"></h2>
    <p id="marked"></p>
    <h2 data-text="others"></h2>
    <ol id="others"></ol>
  </section>
</main>
<script src="page.js"></script>
</body>
</html>
"""

_CSS = """:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { font: 1rem/1.6 system-ui, "Apple SD Gothic Neo", "Noto Sans KR", "Malgun Gothic", sans-serif;
  max-width: 44rem; margin: 0 auto; padding: 0.75rem; }
header { display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0.5rem; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1rem; margin: 1.2rem 0 0.2rem; }
label { display: block; margin-top: 0.8rem; font-weight: 600; }
textarea, input { width: 100%; font: inherit; padding: 0.6rem; border: 1px solid #888; border-radius: 0.4rem; }
button { font: inherit; min-height: 2.75rem; padding: 0.3rem 0.9rem; border-radius: 0.4rem; border: 1px solid #888;
  cursor: pointer; }
button[aria-pressed="true"] { font-weight: 700; text-decoration: underline; }
#ask { width: 100%; margin-top: 0.8rem; background: #1a56b0; color: #fff; border: 0; }
#ask:disabled { opacity: 0.6; }
#answer { font-size: 1.25rem; margin: 0; overflow-wrap: anywhere; }
#removed { color: #767676; }
#marked { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
#marked .particle { opacity: 0.7; text-decoration: underline dotted; }
#message { color: #b00020; min-height: 1.6rem; margin: 0.4rem 0 0; }
ol { margin: 0; padding-left: 1.6rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { #removed { color: #a0a0a0; } #message { color: #ff8a80; } }
"""

_JS = """"use strict";
const TEXTS = {
  ko: { title: "한국어 기계 독해", context: "지문", question: "질문", ask: "답 찾기", answer: "답",
    inContext: "지문 속의 답", others: "다른 후보", asking: "찾는 중…", none: "지문에서 답을 찾지 못했습니다.",
    failed: "서버에 연결할 수 없습니다.", removed: "떼어 낸 조사·어미", score: "점수", probability: "확률",
    sample: ["세종대왕은 1443년에 훈민정음을 창제하고 1446년에 반포하였다.", "훈민정음은 언제 반포되었는가?"] },
  en: { title: "Korean reading comprehension", context: "Text", question: "Question", ask: "Find the answer",
    answer: "Answer", inContext: "Where it stands", others: "Other candidates", asking: "Looking…",
    none: "The text holds no answer.", failed: "The server cannot be reached.", removed: "particle taken off",
    score: "score", probability: "probability" },
};
const element = (id) => document.getElementById(id);
let language = "ko";
let last = null;

function speak(chosen) {
  language = chosen in TEXTS ? chosen : "en";
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[language][node.dataset.text];
  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", String(node.dataset.language === language));
  if (last) show(last.found, last.characters);
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

// Offsets count code points, JavaScript strings UTF-16 units: `characters` is the context as an array of code points.
function show(found, characters) {
  last = { found, characters };
  element("result").hidden = !found.text;
  element("message").textContent = found.text ? "" : TEXTS[language].none;
  if (!found.text) return;
  const bare = found.stripped || found;
  const cut = (from, to) => characters.slice(from, to).join("");
  element("bare").textContent = bare.text;
  element("removed").textContent = removedText(found);
  element("figures").textContent = `${figures(found)}, ${found.milliseconds.toFixed(0)} ms`;
  const mark = span("mark", "");
  mark.append(span("span", cut(found.start, bare.start), "particle"), bare.text,
    span("span", cut(bare.end, found.end), "particle"));
  element("marked").replaceChildren(cut(0, found.start), mark, cut(found.end));
  element("others").replaceChildren(...found.n_best.slice(1).map((entry) => {
    const item = span("li", (entry.stripped || entry).text);
    item.append(span("small", `${removedText(entry)} ${figures(entry)}`));
    return item;
  }));
}

async function ask(event) {
  event.preventDefault();
  const context = element("context").value;
  const question = element("question").value;
  element("ask").disabled = true;
  element("message").textContent = TEXTS[language].asking;
  element("result").hidden = true;
  try {
    const response = await fetch("answer", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, context, n_best: 5 }) });
    const found = await response.json();
    if (response.ok) show(found, Array.from(context));
    else element("message").textContent = found.error;
  } catch {
    element("message").textContent = TEXTS[language].failed;
  } finally {
    element("ask").disabled = false;
  }
}

for (const node of document.querySelectorAll("[data-language]"))
  node.addEventListener("click", () => speak(node.dataset.language));
element("form").addEventListener("submit", ask);
[element("context").value, element("question").value] = TEXTS.ko.sample;
speak(navigator.language.startsWith("ko") ? "ko" : "en");
"""

FILES = {
    "/": (_HTML, "text/html; charset=utf-8"),
    "/page.css": (_CSS, "text/css; charset=utf-8"),
    "/page.js": (_JS, "text/javascript; charset=utf-8"),
}
