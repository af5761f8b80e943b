"use strict";
// How much each token attends to each other one: of one layer, by one head or the mean of all.
const STRONGEST = 5;
// The most colour of a token's background, so that its text stays legible.
const MOST_COLOUR = 0.45;
let last = null;
let layer = -1;
let head = -1;
let from = 0;

const VIEW = {
  path: "attention",
  get more() { return { layer }; },
  sample: { text: "세종대왕은 1443년에 훈민정음을 만들었다.", text_pair: "" },
  texts: {
    ko: { title: "한국어 BERT의 어텐션", text: "글", second: "둘째 글 (없어도 됩니다)", ask: "어텐션 보기", layer: "층",
      head: "헤드", mean: "모든 헤드의 평균", tokens: "토큰 (가리키거나 탭 키로 고르세요)", from: "가장 주목하는 토큰",
      matrix: "행렬 (행의 토큰이 열의 토큰에 주목하는 정도)" },
    en: { title: "Attention of a Korean BERT", text: "Text", second: "Second text (optional)", ask: "Show attention",
      layer: "Layer", head: "Head", mean: "Mean of all heads", tokens: "Tokens (point at one, or use Tab)",
      from: "attends most to", matrix: "Matrix (how much the row's token attends to the column's)" },
  },

  begin(found) {
    last = found;
    layer = found.layer;
    if (head >= found.heads.length) head = -1;
    from = Math.min(from, found.tokens.length - 1);
  },

  show() {
    element("result").hidden = element("choices").hidden = false;
    choose("layer", last.layers, layer, []);
    choose("head", last.heads.length, head, [[-1, TEXTS[language].mean]]);
    element("tokens").replaceChildren(...last.tokens.map(token));
    element("matrix").setAttribute("aria-label", TEXTS[language].matrix);
    element("figures").textContent = `${last.milliseconds.toFixed(0)} ms`;
    const rows = weights();
    draw(rows);
    point(from, rows);
    return "";
  },
};

// Fills a list with the numbers from 1, as people count, whose values count from 0.
function choose(id, count, chosen, before) {
  const numbers = Array.from({ length: count }, (_, i) => [i, String(i + 1)]);
  element(id).replaceChildren(...[...before, ...numbers].map(([value, name]) => {
    const option = span("option", name);
    option.value = value;
    option.selected = value === chosen;
    return option;
  }));
}

// [from][to] of the chosen head, or the mean of all.
function weights() {
  if (head >= 0) return last.attentions[head];
  const mean = (i, j) => last.attentions.reduce((sum, one) => sum + one[i][j], 0) / last.attentions.length;
  return last.tokens.map((_, i) => last.tokens.map((__, j) => mean(i, j)));
}

function token({ piece, segment }, place) {
  const button = span("button", piece, segment ? "second" : "");
  button.type = "button";
  for (const event of ["focus", "pointerenter", "click"]) button.addEventListener(event, () => point(place, weights()));
  return button;
}

function point(place, rows) {
  from = place;
  const row = rows[place];
  const top = Math.max(...row);
  [...element("tokens").children].forEach((node, to) => {
    node.style.backgroundColor = `rgb(58 134 255 / ${(MOST_COLOUR * row[to]) / top})`;
    node.setAttribute("aria-pressed", String(to === place));
  });
  element("from").textContent = `${last.tokens[place].piece}: ${TEXTS[language].from}`;
  const order = row.map((weight, to) => [weight, to]).sort(([a, i], [b, j]) => b - a || i - j);
  element("strongest").replaceChildren(...order.slice(0, STRONGEST).map(([weight, to]) => {
    const item = span("li", "", "share");
    item.append(span("span", `${last.tokens[to].piece} (${to + 1})`), span("small", percent(weight)), meter(weight));
    return item;
  }));
}

function draw(rows) {
  const canvas = element("matrix");
  const size = (canvas.width = canvas.height = rows.length);
  canvas.style.width = `min(100%, ${Math.max(8 * size, 160)}px)`;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, size, size);
  rows.forEach((row, i) => {
    const top = Math.max(...row);
    row.forEach((weight, j) => {
      context.fillStyle = `rgb(58 134 255 / ${weight / top})`;
      context.fillRect(j, i, 1, 1);
    });
  });
}

element("matrix").addEventListener("pointermove", (event) => {
  const box = event.target.getBoundingClientRect();
  const size = last.tokens.length;
  const place = (offset, length) => Math.min(size - 1, Math.max(0, Math.floor((size * offset) / length)));
  const [row, column] = [place(event.clientY - box.top, box.height), place(event.clientX - box.left, box.width)];
  const rows = weights();
  point(row, rows);
  const weight = percent(rows[row][column]) || "0 %";
  element("figures").textContent = `${last.tokens[row].piece} → ${last.tokens[column].piece}: ${weight}`;
});
element("layer").addEventListener("change", (event) => {
  layer = Number(event.target.value);
  ask();
});
element("head").addEventListener("change", (event) => {
  head = Number(event.target.value);
  VIEW.show();
});
