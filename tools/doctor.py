"""Says what is installed, which Mecab dictionary is used, and what to type if something is missing. 설치 상태를
점검합니다.

    python tools/doctor.py
    python tools/doctor.py --tpu
    python tools/doctor.py --model=klue/bert-base     what a folder or a hub id is, and what it can do / 모델 점검
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys

try:
    from absl import flags

    from kobert_tf2 import command_line
    from kobert_tf2.errors import InputError
    from kobert_tf2.processor import Processor, this_processor
    from kobert_tf2.tokenization.mecab import MorphemeAnalyser
except ImportError as error:
    sys.exit(f"error: {error.name}: 설치되지 않았습니다. Not installed; in the project's folder type: pip install -e .")

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "model",
    None,
    "Inspect this folder, TF1 checkpoint or hub id instead: what it is, which files are read, what is missing and "
    "which tasks it can do. No weights are downloaded.",
)
flags.DEFINE_bool("tpu", False, "Check for a TPU and for a run on it (only on a machine that should have one).")
flags.DEFINE_string("tpu_name", None, "For --tpu: the --tpu_name of the run.")
flags.DEFINE_string("tpu_zone", None, "For --tpu: the TPU's zone.")
flags.DEFINE_string(
    "input_file", None, "For --tpu: TFRecords for pre-training, whose reading is timed on this machine."
)
flags.DEFINE_string("output_dir", None, "For --tpu: the run's output folder; a TPU over the network needs gs://.")
flags.DEFINE_integer("train_batch_size", 32, "For --tpu: rows of a batch.")
flags.DEFINE_string("dictionary", None, "Folder of a mecab-ko dictionary, in place of the one found.")
flags.DEFINE_string("user_dictionary", None, "A compiled Mecab user dictionary.")

SENTENCE = "아버지가 방에서 사과나무를 그리셨다."
EXPECTED = "아버지/NNG 가/JKS 방/NNG 에서/JKB 사과나무/NNG 를/JKO 그리/VV 셨/EP+EP 다/EF ./SF"

# What needs it: (package, in Korean, in English).
REQUIRED = (
    ("mecab-python3", "형태소 분석기", "morpheme analyser"),
    ("python-mecab-ko-dic", "한국어 사전", "Korean dictionary"),
    ("numpy", "배열", "arrays"),
    ("tensorflow", "학습과 추론", "training and inference"),
    ("tensorflow-text", "어휘 학습, 그래프 안 토크나이저", "learning vocabularies, tokenizer in a graph"),
    ("keras", "모델", "models"),
    ("keras-nlp", "KerasHub 모델 교환", "exchange with KerasHub"),
    ("safetensors", "가중치 파일", "weight files"),
    ("huggingface-hub", "허브에서 내려받기", "downloads from the hub"),
    ("tokenizers", "tokenizer.json 읽기", "tokenizer.json"),
    ("sentencepiece", "KoBERT 등의 토크나이저", "tokenizers such as KoBERT's"),
    ("absl-py", "명령줄", "command lines"),
)
OPTIONAL = (
    ("torch", "torch", "PyTorch로 옮기기", "moving to PyTorch"),
    ("transformers", "torch", "PyTorch로 옮기기", "moving to PyTorch"),
    ("apache-beam", "beam", "분산 데이터 생성", "data creation on a cluster"),
    ("kiwipiepy", "sentences", "문장 나누기", "sentence splitting"),
    ("fastapi", "serve", "HTTP 서비스", "HTTP service"),
)


def main() -> dict:
    if FLAGS.model:
        return check_model(FLAGS.model)
    problems: list[str] = []
    versions = check_packages(problems)
    analyser = check_mecab(problems)
    devices = check_tensorflow(versions, problems)
    processor = {"name": this_processor().name, "instruction_sets": this_processor().instruction_sets()}
    found = {"problems": problems, "versions": versions, **analyser, "devices": devices, "processor": processor}
    return conclude(found | (check_tpu_run(problems) if FLAGS.tpu else {}))


def conclude(summary: dict) -> dict:
    """The last lines: every problem, or that there is none. With a problem the process ends with status 1."""
    problems = summary["problems"]
    summary = {"ok": not problems, **summary}
    say("")
    for problem in problems:
        say(f"[!] {problem}")
    if problems:
        print(json.dumps(summary, ensure_ascii=False))
        raise InputError(f"문제 {len(problems)}개를 찾았습니다. Problems found: {len(problems)}, see above.")
    say("모두 정상입니다. Everything is in order.")
    return summary


def say(line: str) -> None:
    print(line, file=sys.stderr)


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_packages(problems: list[str]) -> dict[str, str]:
    """Versions of all packages that are there; what is required and missing is a problem."""
    say(f"Python {platform.python_version()} ({sys.executable})")
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        problems.append(
            f"Python 3.11 또는 3.12가 필요합니다. Python 3.11 or 3.12 is needed, this is {platform.python_version()}."
        )
    say("필수 패키지 / required packages")
    found = {package: version_of(package) for package, *_ in (*REQUIRED, *OPTIONAL)}
    for package, korean, english in REQUIRED:
        say(f"  {package:20} {found[package] or '없음 / missing':16} {korean} / {english}")
        if not found[package] and not stands_in(package):
            problems.append(f"{package}이(가) 없습니다. {package} is missing: pip install {package}")
    say("선택 패키지 / optional packages")
    for package, extra, korean, english in OPTIONAL:
        state = found[package] or f"없음 / missing: pip install 'kobert_tf2[{extra}]'"
        say(f"  {package:20} {state:16} {korean} / {english}")
    return found


def stands_in(package: str) -> bool:
    """TensorFlow has other names for other machines."""
    return package == "tensorflow" and any(map(version_of, ("tensorflow-cpu", "tensorflow-tpu")))


def check_mecab(problems: list[str]) -> dict:
    """Which dictionary, from where, and whether a fixed sentence comes out as it should."""
    say("Mecab")
    try:
        analyser = MorphemeAnalyser(FLAGS.dictionary, FLAGS.user_dictionary)
        found = " ".join(f"{morpheme.surface}/{morpheme.tag}" for morpheme in analyser.analyse(SENTENCE))
    except InputError as error:
        problems.append(f"Mecab을 쓸 수 없습니다. Mecab cannot be used: {error}")
        return {"dictionary": None, "analysis": None}
    entries = analyser.fingerprint()["dictionary_entries"]
    say(f"  사전 / dictionary     {analyser.dictionary} ({analyser.dictionary_source}, {entries:,} entries)")
    if os.environ.get("MECAB_KO_DIC"):
        say(f"  MECAB_KO_DIC         {os.environ['MECAB_KO_DIC']}")
    say(f"  문장 / sentence       {SENTENCE}")
    say(f"  분석 / analysis       {found}")
    if found != EXPECTED:
        problems.append(
            "분석이 다릅니다: 다른 사전이나 Mecab입니다. The analysis differs, so this is another dictionary or Mecab; "
            f"expected {EXPECTED}; for the usual one: pip install mecab-python3 python-mecab-ko-dic"
        )
    return {"dictionary": analyser.dictionary, "dictionary_source": analyser.dictionary_source, "analysis": found}


def check_tensorflow(versions: dict[str, str], problems: list[str]) -> list[str]:
    """Whether TensorFlow and tensorflow-text fit together, and which devices there are."""
    say("TensorFlow")
    core = next(filter(None, map(version_of, ("tensorflow", "tensorflow-cpu", "tensorflow-tpu"))), "")
    text = versions["tensorflow-text"]
    if core and text and core.split(".")[:2] != text.split(".")[:2]:
        minor = ".".join(core.split(".")[:2])
        problems.append(
            f"tensorflow {core}와 tensorflow-text {text}가 맞지 않습니다. "
            f"tensorflow {core} and tensorflow-text {text} do not fit: pip install 'tensorflow-text=={minor}.*'"
        )
    try:
        import tensorflow as tf

        devices = [f"{device.device_type}: {device.name}" for device in tf.config.list_physical_devices()]
    except Exception as error:
        problems.append(f"tensorflow를 불러올 수 없습니다. tensorflow cannot be imported: {error!r}")
        return []
    if FLAGS.tpu:
        everything = {d.metadata["Name"] or "": d.version for d in importlib.metadata.distributions()}
        devices += check_tpu(problems, everything)
    for device in devices:
        say(f"  {device}")
    say_processor(this_processor())
    return devices


def say_processor(processor: Processor) -> None:
    """Name, instruction sets, and the precision to train with."""
    say(f"  {processor.name}: {' '.join(processor.instruction_sets()) or 'instruction sets unknown'}")
    if processor.has_bfloat16 is False:
        say("  bfloat16 명령이 없어 float32가 빠릅니다. No bfloat16 instructions: train with --precision=float32.")


# ----------------------------------------------------------------------------------------------------------------------
# A model
# ----------------------------------------------------------------------------------------------------------------------


def check_model(path: str) -> dict:
    """What `conversion.inspection` found, a line for each thing."""
    from kobert_tf2.conversion import inspection

    found = inspection.inspect(path)
    say(f"{found.path}: {found.kind}")
    for title, value in model_lines(found):
        say(f"  {title:32} {value}")
    return conclude(dataclasses.asdict(found))


def model_lines(found) -> list[tuple[str, str]]:
    """(title in both languages, what was found), without what there is nothing of."""
    config, tokenizer = found.config or {}, found.tokenizer or {}
    sizes = ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings", "type_vocab_size")
    settings = ", ".join(f"{name}={value}" for name, value in (tokenizer.get("settings") or {}).items())
    lines = [
        ("폴더 / folder", found.folder if found.folder != found.path else ""),
        ("읽는 파일 / files read", ", ".join(found.reads)),
        ("읽지 않는 파일 / not read", ", ".join(found.not_read)),
        ("크기 / sizes", ", ".join(f"{name} {config[name]:,}" for name in sizes if name in config)),
        ("구조 / architecture", found.architecture or ""),
        ("가중치 / weights hold", ", ".join(found.parts or [])),
        ("쓰지 않는 가중치 / weights not used", ", ".join(found.unknown_weights[:8])),
        ("라벨 / labels", ", ".join(found.labels or [])),
        ("문제 유형 / problem type", found.problem_type or ""),
        ("토크나이저 / tokenizer", f"{tokenizer.get('file')}, {tokenizer.get('pieces')} pieces, {settings}"),
        *[("할 수 있는 일 / it can", use) for use in found.can],
        *[("학습이 필요한 일 / to be trained for", what) for what in found.needs_training],
        *[("알아 둘 것 / note", note) for note in found.notes],
    ]
    return [line for line in lines if line[1] and not (line[0].startswith("토크나이저") and not tokenizer)]


def check_tpu(problems: list[str], found: dict[str, str]) -> list[str]:
    """Whether this machine, with the packages `found`, is fit for a TPU, and the TPU of this machine.

    Starting one where there is none asks the network and may hang, with other versions of libtpu it ends the process:
    hence the flag, and the versions come first.
    """
    from kobert_tf2.tpu import host
    from kobert_tf2.training import strategies

    say("TPU VM에 설치할 버전 / the versions to install on a TPU VM (not verified on hardware)")
    for command in host.INSTALL:
        say(f"  {command}")
    say("하드웨어 없이는 확인할 수 없는 것 / what stays unproved without the hardware")
    for line in host.NOT_PROVED:
        say(f"  {line}")
    mismatched = host.version_problems(found)
    problems += [f"TPU용 버전이 맞지 않습니다. {sentence}" for sentence in mismatched]
    if mismatched:
        say("  버전이 맞지 않아 TPU를 시작하지 않습니다. The TPU is not started: the versions do not fit.")
        return []
    try:
        strategy = strategies.make_strategy("tpu", tpu_name="local")
    except InputError as error:
        problems.append(f"TPU를 쓸 수 없습니다. No TPU can be used: {str(error)[:300]}")
        return []
    return [f"TPU: {strategy.num_replicas_in_sync} cores"]


def check_tpu_run(problems: list[str]) -> dict:
    """The run that the flags name: form of name and zone, gs:// paths, static shapes, how fast it can be fed here."""
    from kobert_tf2.tpu import host
    from kobert_tf2.training import strategies

    wrong = host.name_problems(FLAGS.tpu_name, FLAGS.tpu_zone)
    try:
        asked = {"use_tpu": True, "tpu_name": FLAGS.tpu_name}
        strategies.require_remote_paths(asked, input_file=FLAGS.input_file, output_dir=FLAGS.output_dir)
    except InputError as error:
        wrong.append(str(error))
    rate = None
    if FLAGS.input_file and not wrong:
        from kobert_tf2.tasks import pretrain

        dataset = pretrain.training_batches(FLAGS.input_file, FLAGS.train_batch_size)
        wrong += host.shape_problems(dataset.element_spec)
        rate = host.batches_per_second(dataset)
        say(
            f"  이 컴퓨터가 읽는 속도 / this machine reads {rate:,.1f} batches of {FLAGS.train_batch_size} a second: "
            "a TPU makes at most as many steps (compare with --preflight --tpu_compiler)"
        )
    problems += [f"TPU 실행 설정이 잘못되었습니다. {sentence}" for sentence in wrong]
    return {"batches_per_second": rate} if rate is not None else {}


if __name__ == "__main__":
    command_line.run(main)
