"""The initial configuration and weights of a task: one rule for `--bert_config_file` and `--init_checkpoint` in all
tools.

The configuration is that of `--bert_config_file` (Google's file, a Hugging Face `config.json`, a model directory or a
hub id), otherwise the one in the folder of `--init_checkpoint`. The weights are those of `--init_checkpoint`, unless
the run is resumed. The tokenizer's rule is in `tokenization/pretrained.py`.
"""

import sys
from typing import Any

import keras

from kobert_tf2 import files
from kobert_tf2.bert import pretrained
from kobert_tf2.bert.config import BertConfig
from kobert_tf2.errors import InputError
from kobert_tf2.training.checkpoints import steps_in


def find_config(
    bert_config_file: str | None, init_checkpoint: str | None = None, *, vocab_size: int | None = None
) -> BertConfig:
    """The configuration that the flags select; prints one line to stderr that says which.

    "gelu" means the tanh form in Google's format and the erf form in Hugging Face's. A Google file without `vocab_size`
    gets the given one.
    """
    path = bert_config_file or init_checkpoint
    if not path:
        raise InputError("expected --bert_config_file, or --init_checkpoint with a configuration beside its weights")
    is_file = files.exists(path) and not files.is_folder(path) and bert_config_file
    config = _config_in_file(path, vocab_size) if is_file else BertConfig.from_pretrained(path)
    sizes = f"{config.num_hidden_layers} layers, width {config.hidden_size}, vocab_size {config.vocab_size:,}"
    print(f"configuration: {path}, {sizes}, hidden_act {config.hidden_act}", file=sys.stderr)
    return config


def _config_in_file(path: str, vocab_size: int | None) -> BertConfig:
    values = files.read_json(path, dict)
    if {"model_type", "architectures"} & values.keys():
        return BertConfig.from_json(path)
    return BertConfig.from_google_json(path, vocab_size=vocab_size)


def check_fits(config: BertConfig, source: str | None, *, vocab_size: int, max_seq_length: int) -> None:
    """Checks a configuration, from `source`, against the vocabulary and the requested length."""
    if vocab_size > config.vocab_size:
        raise InputError(f"{source}: vocab_size is {config.vocab_size}, but the vocabulary has {vocab_size} pieces")
    if max_seq_length > config.max_position_embeddings:
        raise InputError(
            f"{source}: expected --max_seq_length of at most max_position_embeddings, "
            f"{config.max_position_embeddings}, but got {max_seq_length}"
        )


def trained_model(output_dir: str) -> str | None:
    """The model directory that a run wrote into its `output_dir`; None if it has not."""
    path = f"{output_dir}/model"
    return path if files.exists(f"{path}/config.json") else None


def model_to_predict_with(output_dir: str, init_checkpoint: str | None) -> str:
    """The model trained earlier in this `output_dir`, otherwise `--init_checkpoint`."""
    path = trained_model(output_dir) or init_checkpoint
    if not path:
        raise InputError(
            f"{output_dir}/model: expected a trained model there, or --init_checkpoint, but there is neither"
        )
    print(f"the weights of {path}", file=sys.stderr)
    return path


def model_to_train(
    cls: Any, config: BertConfig, init_checkpoint: str | None, output_dir: str, **kwargs: Any
) -> keras.Model:
    """A model with the weights of `--init_checkpoint`. The weights are random if there is none, or if the run is
    resumed, because its checkpoint has all weights.

    `TrainingJob.train` reports its `parts_at_random`: the parts that were random at the start of the run.
    """
    resumes = steps_in(f"{output_dir}/checkpoints")
    if init_checkpoint and not resumes:
        print(f"starting from the weights of {init_checkpoint}, with a new schedule from step 0", file=sys.stderr)
        model = cls.from_pretrained(init_checkpoint, config=config, **kwargs)
    else:
        # A run that started with an untied decoder continues with one.
        config = pretrained.config_as_tied(config, init_checkpoint) if init_checkpoint else config
        model = cls(config, **kwargs)
    model.parts_at_random = tuple(pretrained.parts_not_in(model, init_checkpoint))
    return model
