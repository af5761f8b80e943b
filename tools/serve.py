"""Serves a reader over HTTP: POST /answer, GET /healthz, an OpenAPI page at /docs, a page to try it at /.

    pip install '.[serve]'
    python tools/serve.py --model_dir=export

    curl -H 'Content-Type: application/json' http://127.0.0.1:8080/answer \
        -d '{"question": "수도는 어디인가?", "context": "대한민국의 수도는 서울이다."}'

It listens on the loopback interface alone unless --host says otherwise: there is no login, so what is in front of it
must decide who may ask. SIGTERM: no new requests, those that came are answered, then it ends.
"""

import sys

from absl import flags

from kobert_tf2 import command_line
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "A model directory, or an export of export_model.py.", required=True)
flags.DEFINE_string("host", "127.0.0.1", "The interface to listen on; 0.0.0.0 is every one.")
flags.DEFINE_integer("port", 8080, "0 takes a free one, and says which.", lower_bound=0, upper_bound=65535)
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of a model directory; exports are float32.")
flags.DEFINE_float(
    "null_score_diff_threshold",
    None,
    "There is no answer if its score exceeds the best span's by more. Not given: as trained or exported.",
)
flags.DEFINE_integer("max_question_length", 1_000, "Characters of a question at most.", lower_bound=1)
flags.DEFINE_integer("max_context_length", 100_000, "Characters of a context at most.", lower_bound=1)
flags.DEFINE_integer("max_waiting", 256, "Requests that may wait; the next one is answered with 503.", lower_bound=1)
flags.DEFINE_integer("drain_seconds", 30, "How long SIGTERM waits for the answers that are due.", lower_bound=1)


def main() -> None:
    try:
        import uvicorn

        from kobert_tf2.serving import http
    except ImportError as error:
        raise InputError(f"serving needs {error.name}, which is not installed: pip install '.[serve]'") from None
    from kobert_tf2.serving.predictor import Predictor

    threshold = FLAGS.null_score_diff_threshold
    settings = {} if threshold is None else {"null_score_diff_threshold": threshold}
    predictor = Predictor.load(FLAGS.model_dir, precision=FLAGS.precision, **settings)
    predictor.answer("무엇인가?", "이것은 첫 질문이 기다리지 않게 한다.")
    limits = http.Limits(
        question_characters=FLAGS.max_question_length,
        context_characters=FLAGS.max_context_length,
        waiting=FLAGS.max_waiting,
    )
    print(f"{FLAGS.model_dir} is loaded", file=sys.stderr)
    uvicorn.run(
        http.make_app(predictor, limits),
        host=FLAGS.host,
        port=FLAGS.port,
        timeout_graceful_shutdown=FLAGS.drain_seconds,
        limit_concurrency=4 * FLAGS.max_waiting,
        access_log=False,
    )


if __name__ == "__main__":
    command_line.run(main)
