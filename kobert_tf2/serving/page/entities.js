"use strict";
// A tagger: the entities of a text, each type in a colour of its own and with its name, for those who see no colours.
const HUES = 8;
let last = null;

const VIEW = {
  path: "entities",
  more: {},
  sample: { text: "세종대왕은 한양에서 태어나 1443년에 훈민정음을 만들었다." },
  texts: {
    ko: { title: "한국어 개체명 인식", text: "글", ask: "개체명 찾기", found: "글 속의 개체명", types: "종류",
      none: "개체명을 찾지 못했습니다.", count: "개" },
    en: { title: "Korean named entities", text: "Text", ask: "Find entities", found: "Entities in the text",
      types: "Types", none: "The text holds no entity.", count: "" },
  },

  // Offsets count code points: the text as an array of these.
  begin(found, values) {
    const types = [...new Set(found.entities.map((entity) => entity.type))].sort();
    last = { found, characters: Array.from(values.text), types };
  },

  show() {
    const { found, characters, types } = last;
    element("result").hidden = !found.entities.length;
    element("marked").replaceChildren(...marked(found.entities, characters, types));
    element("legend").replaceChildren(...types.map((type, place) => legend(type, place, found.entities)));
    element("figures").textContent = `${found.milliseconds.toFixed(0)} ms`;
    return found.entities.length ? "" : TEXTS[language].none;
  },
};

function marked(entities, characters, types) {
  const nodes = [];
  let position = 0;
  for (const entity of entities) {
    const start = Math.max(position, entity.start);
    const node = span("mark", characters.slice(start, entity.end).join(""), `entity hue${types.indexOf(entity.type) % HUES}`);
    node.title = `${entity.type} ${percent(entity.score)}`;
    node.append(span("small", entity.type));
    nodes.push(characters.slice(position, start).join(""), node);
    position = Math.max(position, entity.end);
  }
  return [...nodes, characters.slice(position).join("")];
}

function legend(type, place, entities) {
  const count = entities.filter((entity) => entity.type === type).length;
  const node = span("span", "");
  node.append(span("span", "", `swatch hue${place % HUES}`), `${type} ${count}${TEXTS[language].count}`);
  return node;
}
