"""Serves a model over HTTP: POST /answer, /entities, /classify or /fill-mask, GET /healthz, /metrics, /docs, a page.

POST /attention and /search use its encoder, and are the page's other tabs; an encoder without a head has these alone.

    pip install '.[serve]'
    python tools/serve.py --model_dir=export

    curl -H 'Content-Type: application/json' http://127.0.0.1:8080/answer \
        -d '{"question": "수도는 어디인가?", "context": "대한민국의 수도는 서울이다."}'

It listens on the loopback interface alone unless --host says otherwise; then give it --api_key_file, and a proxy in
front that speaks TLS. /metrics is for Prometheus. SIGTERM: no new requests, those that came are answered, then it ends.
"""

import sys

from absl import flags

from kobert_tf2 import command_line
from kobert_tf2.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string("model_dir", None, "A model directory, or an export of export_model.py.", required=True)
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0: all interfaces.")
flags.DEFINE_integer(
    "port", 8080, "Port to listen on; 0: a free one, which is reported.", lower_bound=0, upper_bound=65535
)
flags.DEFINE_integer(
    "workers", 1, "Number of worker processes, each with the limits below; one that dies is restarted."
)
flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Precision of a model directory; exports are float32."
)
flags.DEFINE_float(
    "null_score_diff_threshold",
    None,
    "No answer is returned if its score exceeds that of the best span by more than this. Not given: as trained or "
    "exported.",
)
flags.DEFINE_string(
    "sentences_file", None, "POST /search searches these sentences, one per line; a request may bring others."
)
flags.DEFINE_enum("pooling", "mean", ["mean", "cls", "pooled"], "How a sentence becomes one vector for the search.")
flags.DEFINE_string(
    "encoder_dir",
    None,
    "A model directory, TF1 checkpoint or hub id for /attention and /search. Not given: model_dir; an export has none.",
)
flags.DEFINE_integer("max_attention_length", 128, "Maximum number of tokens in a text for /attention.")
flags.DEFINE_integer("max_question_length", 1_000, "Maximum number of characters in a question.")
flags.DEFINE_integer("max_context_length", 100_000, "Maximum number of characters in a context or a text.")
flags.DEFINE_integer(
    "max_waiting", 512, "Maximum number of requests in progress or waiting; further ones are answered with 503."
)
flags.DEFINE_integer(
    "max_connections", 1_000, "Maximum number of open connections; for a further one, the longest idle one is closed."
)
flags.DEFINE_integer(
    "max_per_address",
    64,
    "Maximum number of concurrent requests from one address. Not given: loopback, where proxies are, is not limited.",
)
flags.DEFINE_float("header_seconds", 10, "Seconds that a client may take to send a request's headers.")
flags.DEFINE_float("body_seconds", 20, "Seconds that a client may take to send a request's body.")
flags.DEFINE_float("total_seconds", 300, "Seconds that a request may take; then it is answered with 503.")
flags.DEFINE_string(
    "api_key_file", None, "File with one key per line; requests need one of them, as Authorization: Bearer KEY."
)
flags.DEFINE_list("allowed_hosts", [], "Allowed Host headers, such as example.com,*.example.com. Empty: any.")
flags.DEFINE_bool("access_log", False, "Write a line of JSON for each request to standard output, without its texts.")
flags.DEFINE_float("drain_seconds", 30, "Seconds after SIGTERM by which the service ends.")


def main() -> None:
    try:
        from kobert_tf2.serving import access, server, workers
    except ImportError as error:
        raise InputError(f"serving needs {error.name}, which is not installed: pip install '.[serve]'") from None

    threshold = FLAGS.null_score_diff_threshold
    settings = workers.WorkerSettings(
        model_dir=FLAGS.model_dir,
        precision=FLAGS.precision,
        reading={} if threshold is None else {"null_score_diff_threshold": threshold},
        encoder={
            "encoder_dir": FLAGS.encoder_dir,
            "sentences_file": FLAGS.sentences_file,
            "pooling": FLAGS.pooling,
        },
        limits=workers.Limits(
            question_characters=FLAGS.max_question_length,
            context_characters=FLAGS.max_context_length,
            attention_tokens=FLAGS.max_attention_length,
            waiting=FLAGS.max_waiting,
            connections=FLAGS.max_connections,
            per_address=FLAGS.max_per_address,
            count_loopback=FLAGS["max_per_address"].present > 0,
            header_seconds=FLAGS.header_seconds,
            body_seconds=FLAGS.body_seconds,
            total_seconds=FLAGS.total_seconds,
        ),
        keys=tuple(access.read_keys(FLAGS.api_key_file)) if FLAGS.api_key_file else (),
        allowed_hosts=tuple(FLAGS.allowed_hosts),
        access_log=FLAGS.access_log,
        drain_seconds=FLAGS.drain_seconds,
    )
    listener = server.bind(FLAGS.host, FLAGS.port)
    if FLAGS.workers > 1:
        workers.serve(settings, listener, FLAGS.workers)
    else:
        _serve_here(settings, listener)


def _serve_here(settings, listener) -> None:
    """Serves in this process."""
    from kobert_tf2.serving import server, worker

    app = worker.load_app(settings)
    listener.listen(
        server.BACKLOG
    )  # What is said next is true: clients can connect, and wait until the server has started.
    print(f"{settings.model_dir} is loaded and served on {server.url_of(listener)}", file=sys.stderr)
    server.Server(app, limits=settings.limits, drain_seconds=settings.drain_seconds).run(sockets=[listener])


if __name__ == "__main__":
    command_line.run(main)
