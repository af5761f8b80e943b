"use strict";
// A pre-trained model: what may stand where the text has a mask.
let last = null;

const VIEW = {
  path: "fill-mask",
  more: { n_best: 5 },
  sample: { text: "대한민국의 수도는 [MASK]이다." },
  texts: {
    ko: { title: "한국어 빈칸 채우기", text: "글 (빈칸은 [MASK])", ask: "빈칸 채우기", mask: "빈칸" },
    en: { title: "Korean fill-mask", text: "Text, with [MASK] where a word is missing", ask: "Fill in", mask: "Mask" },
  },

  begin(found, values) {
    last = { found, characters: Array.from(values.text) };
  },

  show() {
    const { found, characters } = last;
    element("result").hidden = false;
    const nodes = [];
    let position = 0;
    for (const mask of found.masks) {
      const best = mask.candidates[0].piece.replace(/^##/, "");
      nodes.push(characters.slice(position, mask.start).join(""), span("mark", best));
      position = mask.end;
    }
    element("marked").replaceChildren(...nodes, characters.slice(position).join(""));
    element("masks").replaceChildren(...found.masks.map(candidates));
    element("figures").textContent = `${found.milliseconds.toFixed(0)} ms`;
    return "";
  },
};

function candidates(mask, place) {
  const list = document.createElement("ol");
  for (const { piece, score } of mask.candidates) {
    const item = span("li", "", "share");
    item.append(span("span", piece), span("small", percent(score)), meter(score));
    list.append(item);
  }
  const node = document.createElement("div");
  node.append(span("h2", `${TEXTS[language].mask} ${place + 1}`), list);
  return node;
}
