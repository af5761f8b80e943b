"""Scores a file of predictions as the official KorQuAD and SQuAD scripts do, and shows where they went wrong.

With --ceiling it scores no predictions, but says what a reader that makes no mistake could reach through a tokenizer:
before any training, and beside it what eojeols allow, with their particles and without.

With --josa_report and a --data_file of analysed sentences (.tsv in the format of KLUE's dependency set) it scores josa
stripping against the gold morphemes: how many words with particles and without are left as they should be.
"""

import os
import sys

from absl import flags

from kobert_tf2 import command_line, files, screen
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "data_file",
        None,
        "The gold answers: KorQuAD 1.0 or 2, SQuAD or KLUE-MRC JSON, or rows of Hugging Face datasets (JSON Lines, "
        "parquet); for --josa_report also KLUE's dependency TSV.",
    )
    flags.DEFINE_string("predictions_file", None, "predictions.json: an object of ids and answers.")
    flags.DEFINE_enum(
        "metric",
        None,
        ["korquad1", "squad1", "squad2", "korquad2", "klue_mrc"],
        "The official metric to compute. Not given: determined from the data: klue_mrc by question types, korquad2 by "
        "HTML, squad2 by questions without an answer, else korquad1.",
    )
    flags.DEFINE_string("null_odds_file", None, "squad2: null_odds.json, from which the best thresholds are computed.")
    flags.DEFINE_float(
        "null_score_diff_threshold", 1.0, "squad2 with null odds: a question with higher odds counts as unanswered."
    )
    flags.DEFINE_string("report", None, "Write an HTML page that shows every question.")
    flags.DEFINE_string(
        "nbest_file",
        None,
        "nbest_predictions.json, for --report and --josa_report. Not given: the one in the predictions' folder.",
    )
    flags.DEFINE_string("per_question_file", None, "Write the scores of each question as JSON.")
    flags.DEFINE_bool("ceiling", False, "Compute the EM/F1 that a perfect reader could reach.")
    flags.DEFINE_string("vocab_file", None, "--ceiling: the tokenizer's folder, or a vocab.txt and tokenizer flags.")
    flags.DEFINE_string("misses_file", None, "--ceiling: write every unreachable answer as JSON.")
    flags.DEFINE_string(
        "josa_report",
        None,
        "Write as JSON what each rule of josa_rules.py fixes and breaks: on the predictions, or with --ceiling on the "
        "eojeols around the gold answers and on the gold answers themselves. With a TSV of analysed sentences: the "
        "words that are left otherwise than the gold analysis says, by particle.",
    )
    flags.DEFINE_integer("num_workers", 1, "Number of processes that tokenize.")
    command_line.define_tokenizer_flags()


def main() -> dict:
    from kobert_tf2.reading import evaluation, josa_gold, report, squad_files

    for kind in ("per_question_file", "misses_file", "josa_report"):
        evaluation.check_output(kind, FLAGS[kind].value)
    if FLAGS.report:
        report.check_output(FLAGS.report)
    if josa_gold.is_gold_file(FLAGS.data_file):
        return score_josa()
    questions = squad_files.read_squad(FLAGS.data_file)
    if FLAGS.metric is None:
        FLAGS.metric = evaluation.metric_of(questions)
        print(f"metric: {FLAGS.metric}, by what {FLAGS.data_file} holds; --metric names another", file=sys.stderr)
    return ceiling(questions) if FLAGS.ceiling else evaluate(questions)


def score_josa() -> dict:
    from kobert_tf2.reading import evaluation, josa_gold

    if not FLAGS.josa_report:
        raise InputError(f"{FLAGS.data_file}: expected --josa_report beside a file of analysed sentences")
    report = josa_gold.josa_gold_report(josa_gold.read_gold_words(FLAGS.data_file))
    evaluation.write("josa_report", FLAGS.josa_report, {"gold_words": report})
    for line in josa_gold.report_lines(report):
        print(line, file=sys.stderr)
    return josa_gold.gold_summary(report)


def ceiling(questions) -> dict:
    from kobert_tf2.reading import evaluation
    from kobert_tf2.reading.josa import JosaStripper
    from kobert_tf2.tokenization import pretrained
    from kobert_tf2.tokenization.tokenizer import Tokenizer

    stripper = JosaStripper()
    units = {
        "eojeol": evaluation.eojeol_ceiling(questions, FLAGS.metric),
        "eojeol_stripped": evaluation.eojeol_ceiling(questions, FLAGS.metric, stripper=stripper),
    }
    if FLAGS.vocab_file:
        given = command_line.tokenizer_settings(given_only=True)
        tokenizer = pretrained.from_flags(Tokenizer, FLAGS.vocab_file, given=given)
        units["tokenizer"] = evaluation.tokenizer_ceiling(
            questions, tokenizer, FLAGS.metric, num_workers=FLAGS.num_workers
        )
    asked = units["tokenizer" if FLAGS.vocab_file else "eojeol"]
    if FLAGS.misses_file:
        evaluation.write(
            "misses_file",
            FLAGS.misses_file,
            {name: [miss._asdict() for miss in unit.misses] for name, unit in units.items()},
        )
    if FLAGS.josa_report:
        gold = {q.id: (a.start, a.end) for q in questions for a in q.answers[:1] if a.start >= 0}
        spans = {"eojeols": units["eojeol"].spans, "gold": gold}
        evaluation.write(
            "josa_report",
            FLAGS.josa_report,
            {
                name: evaluation.josa_report(questions, part, FLAGS.metric, stripper=stripper)
                for name, part in spans.items()
            },
        )
    return {**asked.summary(), "total": len(questions), **{name: unit.summary() for name, unit in units.items()}}


def evaluate(questions) -> dict:
    from kobert_tf2.reading import evaluation

    if not FLAGS.predictions_file:
        raise InputError("expected --predictions_file, or --ceiling, but got neither")
    predictions = evaluation.read_predictions(FLAGS.predictions_file, questions)
    odds = evaluation.read_null_odds(FLAGS.null_odds_file, questions) if FLAGS.null_odds_file else None
    result = evaluation.scores_of(
        FLAGS.metric, questions, predictions, null_odds=odds, null_threshold=FLAGS.null_score_diff_threshold
    )
    if FLAGS.per_question_file:
        evaluation.write(
            "per_question_file", FLAGS.per_question_file, evaluation.per_question(FLAGS.metric, questions, predictions)
        )
    if FLAGS.report or FLAGS.josa_report:
        _look_closer(questions, predictions)
    return result


def _look_closer(questions, predictions) -> None:
    from kobert_tf2.reading import evaluation
    from kobert_tf2.reading import report as mrc_report

    beside = f"{os.path.dirname(FLAGS.predictions_file) or '.'}/nbest_predictions.json"
    path = FLAGS.nbest_file or (beside if files.exists(beside) else None)
    nbest = evaluation.read_nbest(path, questions) if path else {}
    spans = mrc_report.predicted_spans(questions, predictions, nbest)
    if FLAGS.josa_report:
        report = evaluation.josa_report(questions, spans, FLAGS.metric)
        evaluation.write("josa_report", FLAGS.josa_report, {"predictions": report})
    if FLAGS.report:
        mrc_report.write(FLAGS.report, questions, predictions, spans, FLAGS.metric, nbest=nbest)


def ending(result: dict) -> command_line.Ending:
    made = {name: FLAGS[name].value for name in ("report", "per_question_file", "misses_file", "josa_report")}
    model = f"{os.path.dirname(os.path.abspath(FLAGS.predictions_file or ''))}/model"
    look = {name: FLAGS[name].value for name in ("data_file", "predictions_file", "metric", "nbest_file")}
    export = {"model_dir": model, "output_dir": f"{os.path.dirname(model)}/export"}
    if FLAGS.predictions_file and not FLAGS.report:
        page = {**look, "report": f"{os.path.dirname(model)}/report.html"}
        return command_line.Ending(made, screen.command("evaluate_mrc.py", page))
    has_model = FLAGS.predictions_file and files.exists(f"{model}/config.json")
    return command_line.Ending(made, screen.command("export_model.py", export) if has_model else None)


if __name__ == "__main__":
    define_flags()
    flags.mark_flags_as_required(["data_file"])
    command_line.run(main, ending)
