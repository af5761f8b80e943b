"use strict";
// A reader: a question, a text, the answer marked in it.
let last = null;
let chosen = 0;

const VIEW = {
  path: "answer",
  more: { n_best: 5 },
  sample: { context: "세종대왕은 1443년에 훈민정음을 창제하고 1446년에 반포하였다.", question: "훈민정음은 언제 반포되었는가?" },
  texts: {
    ko: { title: "한국어 기계 독해", context: "지문", question: "질문", ask: "답 찾기", answer: "답",
      inContext: "지문 속의 자리", others: "다른 후보 (누르면 지문에 표시)", none: "지문에서 답을 찾지 못했습니다.",
      removed: "떼어 낸 조사·어미" },
    en: { title: "Korean reading comprehension", context: "Text", question: "Question", ask: "Find the answer",
      answer: "Answer", inContext: "Where it stands", others: "Other candidates (press to mark)",
      none: "The text holds no answer.", removed: "particle taken off" },
  },

  // Offsets count code points, JavaScript strings UTF-16 units: `characters` is the context as an array of code points.
  begin(found, values) {
    last = { found, characters: Array.from(values.context), entries: candidates(found) };
    chosen = first();
  },

  show() {
    const { found, characters, entries } = last;
    element("result").hidden = !entries.length;
    element("found").hidden = !found.text;
    if (entries.length) {
      element("bare").textContent = bareOf(found).text;
      element("removed").textContent = removedText(found);
      element("figures").textContent = `${figures(found)}, ${found.milliseconds.toFixed(0)} ms`;
      element("place").hidden = chosen < 0;
      if (chosen >= 0) mark(entries[chosen], characters);
      element("more").hidden = Boolean(found.text) && entries.length < 2;
      element("others").replaceChildren(...entries.map(candidate).slice(found.text ? 1 : 0));
    }
    return found.text ? "" : TEXTS[language].none;
  },
};

function figures(entry) {
  const share = percent(entry.probability);
  return `${TEXTS[language].score} ${entry.score.toFixed(2)}${share && `, ${TEXTS[language].probability} ${share}`}`;
}

function removedText(entry) {
  const removed = entry.stripped ? entry.stripped.removed.filter(Boolean) : [];
  return removed.length ? ` (${TEXTS[language].removed}: ${removed.join(" … ")})` : "";
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
  button.append(name, span("small", figures(entry)), meter(entry.probability));
  button.addEventListener("click", () => {
    chosen = place === chosen ? first() : place;
    VIEW.show();
    if (chosen >= 0) document.querySelector("#marked mark").scrollIntoView({ block: "nearest" });
  });
  const item = span("li", "");
  item.append(button);
  return item;
}
