"use strict";
// What the pages of all models have in common. `VIEW`, from view.js, is what this model's page has of its own:
//   path    where requests go to
//   texts   {ko, en}: its words, over those below
//   sample  {field: text}: what stands in the form at the beginning; its keys are the ids of the form's fields
//   more    what else a request has
//   body(given)  a request's fields, from those of the form; without it they are the same
//   begin(found, values)  remembers an answer
//   show()  shows it in the language of now, and returns what there is to say about it; nothing to say is ""
const TEXTS = {
  ko: { asking: "찾는 중…", failed: "서버에 연결할 수 없습니다.", score: "점수", probability: "확률",
    key: "API 키", needsKey: "이 서버는 API 키가 필요합니다.", ...VIEW.texts.ko },
  en: { asking: "Looking…", failed: "The server cannot be reached.", score: "score", probability: "probability",
    key: "API key", needsKey: "This server needs an API key.", ...VIEW.texts.en },
};
// The tabs, by the kinds of services.
const TABS = {
  ko: { reading: "독해", entities: "개체명", sentence: "분류", pair: "분류", fill_mask: "빈칸 채우기",
    attention: "어텐션", attention_pair: "어텐션", search: "문장 검색", search_file: "문장 검색" },
  en: { reading: "Reading", entities: "Entities", sentence: "Classes", pair: "Classes", fill_mask: "Fill-mask",
    attention: "Attention", attention_pair: "Attention", search: "Search", search_file: "Search" },
};
// A link can hold a text of this length; browsers and mail programs cut longer ones.
const LONGEST_LINK = 8000;
// A page may lack a field of its view: a classifier of single texts has no second one.
const fields = Object.keys(VIEW.sample).filter(element);
let language = "ko";
let hasAnswer = false;

function speak(wanted) {
  language = wanted in TEXTS ? wanted : "en";
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = TEXTS[language][node.dataset.text];
  for (const node of document.querySelectorAll("[data-tab]")) node.textContent = TABS[language][node.dataset.tab];
  for (const node of document.querySelectorAll("[data-language]"))
    node.setAttribute("aria-pressed", String(node.dataset.language === language));
  if (hasAnswer) say(VIEW.show());
}

function say(text, isError) {
  element("message").textContent = text;
  element("message").className = isError ? "error" : "";
}

function span(tag, text, kind) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

// A share that would round to 0.0 % says nothing, and is not shown.
function percent(share) {
  return share < 0.0005 ? "" : `${(100 * share).toFixed(1)} %`;
}

function meter(share) {
  const node = document.createElement("meter");
  node.value = share;
  return node;
}

// Without the fields that may be left empty and are.
function given(values) {
  return Object.fromEntries(Object.entries(values).filter(([id, value]) => value || element(id).required));
}

function headers() {
  const key = element("key").value;
  return { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
}

async function ask(event) {
  if (event) event.preventDefault();
  const values = Object.fromEntries(fields.map((id) => [id, element(id).value]));
  element("ask").disabled = true;
  say(TEXTS[language].asking);
  element("result").hidden = true;
  hasAnswer = false;
  link(values);
  try {
    const sent = VIEW.body ? VIEW.body(given(values)) : given(values);
    const body = JSON.stringify({ ...sent, ...VIEW.more });
    const response = await fetch(VIEW.path, { method: "POST", headers: headers(), body });
    const found = await response.json();
    if (response.status === 401) {
      element("key-row").hidden = false;
      element("key").focus();
      return say(TEXTS[language].needsKey, true);
    }
    if (!response.ok) return say(found.error, true);
    VIEW.begin(found, values);
    hasAnswer = true;
    say(VIEW.show());
    if (!element("result").hidden) element("result").scrollIntoView({ block: "nearest" });
  } catch {
    say(TEXTS[language].failed, true);
  } finally {
    element("ask").disabled = false;
  }
}

// The part of the address behind # stays in the browser: a link that holds the question does not send it anywhere.
function link(values) {
  const fragment = new URLSearchParams(values).toString();
  history.replaceState(null, "", fragment.length <= LONGEST_LINK ? `#${fragment}` : " ");
}

function readLink() {
  const linked = new URLSearchParams(location.hash.slice(1));
  const isLink = fields.some((id) => linked.has(id));
  for (const id of fields) element(id).value = isLink ? linked.get(id) ?? "" : VIEW.sample[id];
  if (isLink) ask();
}

for (const node of document.querySelectorAll("[data-language]"))
  node.addEventListener("click", () => speak(node.dataset.language));
element("form").addEventListener("submit", ask);
for (const node of document.querySelectorAll("textarea"))
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element("form").requestSubmit();
  });
window.addEventListener("hashchange", readLink);
speak(navigator.language.startsWith("ko") ? "ko" : "en");
readLink();
