"use strict";
// Search: the sentences nearest to a query, of the service's file or of the page.
// A file larger than any request may be is not read.
const LARGEST_FILE = 5_000_000;
let last = null;

const VIEW = {
  path: "search",
  more: { top_k: 10 },
  sample: {
    query: "배는 언제 떠나나요?",
    // With a file of the service's own, the page's sentences may stay empty.
    sentences: element("sentences").required ? "배는 아침 일찍 떠난다.\n배가 고파서 밥을 먹었다.\n사과나무를 심었다." : "",
  },
  texts: {
    ko: { title: "한국어 문장 검색", query: "찾을 말", sentences: "문장 (한 줄에 하나)", file: "파일에서 불러오기",
      own: "다른 문장에서 찾기", ask: "검색", found: "가까운 문장 (코사인 점수)", line: "줄", among: "문장",
      tooLarge: "파일이 너무 큽니다. 서버를 --sentences_file로 시작하세요." },
    en: { title: "Korean sentence search", query: "Query", sentences: "Sentences, one per line", file: "Load from a file",
      own: "Search other sentences", ask: "Search", found: "Nearest sentences (cosine)", line: "line", among: "sentences",
      tooLarge: "The file is too large: start the service with --sentences_file." },
  },

  body({ query, sentences }) {
    const lines = (sentences || "").split("\n").map((line) => line.trim());
    return { query, ...(lines.some(Boolean) && { sentences: lines.filter(Boolean) }) };
  },

  // The lines of the page's text are counted with the empty ones, which are not sent.
  begin(found, values) {
    const lines = values.sentences.split("\n").flatMap((line, i) => (line.trim() ? [i + 1] : []));
    last = { found, line: (number) => (lines.length ? lines[number - 1] : number) };
  },

  show() {
    const { found, line } = last;
    element("result").hidden = false;
    element("matches").replaceChildren(...found.matches.map((match) => {
      const item = span("li", "", "share");
      const where = `${match.score.toFixed(3)} · ${TEXTS[language].line} ${line(match.line)}`;
      item.append(span("span", match.text), span("small", where), meter(Math.max(0, match.score)));
      return item;
    }));
    const among = `${found.sentences.toLocaleString()} ${TEXTS[language].among}`;
    element("figures").textContent = `${among}, ${found.milliseconds.toFixed(0)} ms`;
    return "";
  },
};

element("file").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  if (file.size > LARGEST_FILE) return say(TEXTS[language].tooLarge, true);
  element("sentences").value = await file.text();
  say("");
});
