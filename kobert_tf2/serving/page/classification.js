"use strict";
// A classifier: the label of a text or of a pair, several labels, or a number.
let last = null;

const VIEW = {
  path: "classify",
  more: {},
  sample: { text: "이 영화는 처음부터 끝까지 재미있었다.", text_pair: "" },
  texts: {
    ko: { title: "한국어 문장 분류", text: "문장", first: "첫째 문장", second: "둘째 문장", ask: "분류하기",
      none: "해당하는 레이블이 없습니다." },
    en: { title: "Korean text classification", text: "Text", first: "First text", second: "Second text",
      ask: "Classify", none: "No label applies." },
  },

  begin(found) {
    last = found;
  },

  show() {
    const isNumber = !last.scores;
    const chosen = isNumber ? [] : last.labels ? last.labels.map((one) => one.label) : [last.label];
    element("result").hidden = false;
    element("bare").textContent = isNumber ? last.score.toFixed(2) : chosen.join(", ");
    element("figures").textContent = `${last.milliseconds.toFixed(0)} ms`;
    const shares = Object.entries(last.scores || {}).sort(([, a], [, b]) => b - a);
    element("shares").replaceChildren(...shares.map(([label, share]) => bar(label, share, chosen.includes(label))));
    return isNumber || chosen.length ? "" : TEXTS[language].none;
  },
};

function bar(label, share, isChosen) {
  const node = span("li", "", "share");
  node.append(span(isChosen ? "strong" : "span", label), span("small", percent(share)), meter(share));
  return node;
}
