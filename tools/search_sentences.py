"""Finds the sentences of a file that are nearest to a query, by the cosine of their vectors.

    python tools/search_sentences.py --input_file=sentences.txt --init_checkpoint=pretrained/model \\
        --query="배는 언제 떠나나요?"

The vectors are those of kb.embed. From Python: kb.SentenceIndex(sentences, kb.Embedder.load("pretrained/model")).
"""

import sys

from absl import flags

from kobert_tf2 import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("input_file", None, "One sentence per line.")
    flags.DEFINE_multi_string("query", None, "A query; may be given several times.")
    flags.DEFINE_string("init_checkpoint", None, "The weights: a model directory, TF1 checkpoint or hub id.")
    flags.DEFINE_integer("top_k", 5, "Number of sentences to return for each query.")
    flags.DEFINE_enum("pooling", "mean", ["mean", "cls", "pooled"], "How the vector of a sentence is computed.")
    flags.DEFINE_integer(
        "max_seq_length", None, "Pieces of a window of a long sentence. Not given: the model's positions."
    )
    flags.DEFINE_integer("batch_size", 32, "Sentences per batch.")
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Precision of the computation.")


def main() -> dict:
    from kobert_tf2.features import search
    from kobert_tf2.features.embedder import Embedder

    texts, numbers, empty = search.read_sentences(FLAGS.input_file)
    if empty:
        print(f"{FLAGS.input_file}: {empty:,} empty lines are passed over", file=sys.stderr)
    embedder = Embedder.load(FLAGS.init_checkpoint, precision=FLAGS.precision)
    index = search.SentenceIndex(
        texts, embedder, pooling=FLAGS.pooling, max_seq_length=FLAGS.max_seq_length, batch_size=FLAGS.batch_size
    )
    results = []
    for query, matches in zip(FLAGS.query, index.search_batch(FLAGS.query, FLAGS.top_k), strict=True):
        print(query, *(f"  {match.score:6.3f}  {match.text}" for match in matches), sep="\n", file=sys.stderr)
        found = [
            {"line": numbers[match.position], "score": round(match.score, 6), "text": match.text} for match in matches
        ]
        results.append({"query": query, "matches": found})
    return {"sentences": len(texts), "results": results}


if __name__ == "__main__":
    define_flags()
    flags.mark_flags_as_required(["input_file", "init_checkpoint", "query"])
    command_line.run(main)
