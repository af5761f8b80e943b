"""The settings of a run as dataclasses: each field is the flag of the same name.

`loop.train` takes `LoopSettings`. All four training tools have `TaskSettings`; the three that fine-tune also have
`EpochTaskSettings`, which include `TuningSettings`. A tool's own settings extend these.
`command_line.settings_from_flags` fills them all in.
"""

import dataclasses
from typing import ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How the training loop runs. Only the seed affects what is learnt.

    Attributes:
      seed: the seed of dropout; in the tools, also of initial weights and data order.
      micro_batch_size: rows of a replica whose gradients are computed at once; gradients are accumulated over
        micro-batches. None: all rows.
      recompute: stores only the inputs of encoder layers for the backward pass and recomputes the rest.
      iterations_per_loop: maximum number of steps in one call of the compiled function.
      save_checkpoints_steps: steps between two checkpoints.
      save_checkpoints_minutes: a checkpoint is also written when the last one is older than this; 0: never.
      keep_checkpoints: how many checkpoints are kept.
      log_steps: steps between the records of the log.
      jit_compile: whether to use XLA; None: depends on the device.
      eval_steps: steps between evaluations of the task's `score`; training ends with the weights of the best one. None:
        no evaluation.
      early_stopping_patience: training stops after this many evaluations without a better score. None: no early
        stopping.
    """

    seed: int = 0
    micro_batch_size: int | None = None
    recompute: bool = False
    iterations_per_loop: int = 100  # the flag has 1,000, as the original: a TPU waits for the host less often
    save_checkpoints_steps: int = 1000
    save_checkpoints_minutes: float = 10.0
    keep_checkpoints: int = 3
    log_steps: int = 100
    jit_compile: bool | None = None
    eval_steps: int | None = None
    early_stopping_patience: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategySettings:
    """The devices of a run; see `strategies.make_strategy`."""

    strategy: str = "auto"
    use_tpu: bool = False
    tpu_name: str | None = None
    tpu_zone: str | None = None
    gcp_project: str | None = None
    master: str | None = None
    num_tpu_cores: int | None = None
    worker_timeout: int = 600


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSettings(LoopSettings, StrategySettings):
    """The settings of every training tool.

    Attributes:
      output_dir: the folder for everything that the run writes.
      init_checkpoint: weights to start from, with a new schedule; None: new weights for the model of
        `bert_config_file`.
      bert_config_file: Google's bert_config.json or a model directory; not needed with `init_checkpoint`.
      vocab_file: the tokenizer's folder or a vocab.txt; None: the tokenizer in the folder of `init_checkpoint`.
      tokenizer_settings: the tokenizer flags that were given.
      do_train: whether to train.
      train_batch_size: rows in a global batch, over all replicas.
      learning_rate: the peak learning rate, at the end of the warm-up.
      optimizer: one of `optimizers.NAMES`.
      precision: one of `strategies.PRECISIONS`.
    """

    # The flag that may be raised when a run is resumed, to train for longer.
    may_grow: ClassVar[str | None] = None

    output_dir: str
    init_checkpoint: str | None = None
    bert_config_file: str | None = None
    vocab_file: str | None = None
    tokenizer_settings: dict | None = None
    do_train: bool = False
    train_batch_size: int = 32
    learning_rate: float = 5e-5
    optimizer: str = "bert_adam"
    precision: str = "float32"

    @property
    def running(self) -> dict:
        """How the run is executed, {flag: value}, as recorded in `run_config.json`."""
        names = [field.name for base in (StrategySettings, LoopSettings) for field in dataclasses.fields(base)]
        return {name: getattr(self, name) for name in (*names, "optimizer", "precision")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """Which weights of a pretrained model are trained, how fast, and with which loss weights; see `tuning.py`.

    Attributes:
      layer_decay: the learning rate of each encoder layer, as a multiple of that of the layer above it.
      head_learning_rate: the peak learning rate of everything outside the encoder; None: that of the encoder.
      freeze: parts that are not trained, such as "embeddings,0-5"; None: everything is trained.
      lora_rank: the encoder's matrices are trained through LoRA of this rank, merged into them at the end; None:
        trained in full.
      label_smoothing: the fraction of the target spread evenly over all labels.
      class_weights: "balanced", or label:weight pairs; None: all rows have equal weight.
    """

    layer_decay: float = 1.0
    head_learning_rate: float | None = None
    freeze: str | None = None
    lora_rank: int | None = None
    label_smoothing: float = 0.0
    class_weights: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochTaskSettings(TaskSettings, TuningSettings):
    """The additional settings of every fine-tuning tool.

    Attributes:
      train_file: the training data.
      predict_file: the data to predict.
      max_seq_length: maximum pieces of a row; the task decides how longer ones are handled.
      predict_batch_size: rows in a global batch, over all replicas.
      num_train_epochs: how many times each row is seen.
      warmup_proportion: the fraction of all steps during which the learning rate rises.
      num_workers: processes that tokenize.
    """

    train_file: str | None = None
    predict_file: str | None = None
    do_predict: bool = False
    max_seq_length: int = 128
    predict_batch_size: int = 8
    num_train_epochs: float = 3.0
    warmup_proportion: float = 0.1
    num_workers: int = 1

    @property
    def looks_at_score(self) -> bool:
        """Whether training evaluates the dev score."""
        return bool(self.early_stopping_patience or self.eval_steps)

    def schedule(self, num_steps: int) -> dict:
        """The learning rate schedule, as arguments of `TrainingJob.optimizer`."""
        warmup = int(num_steps * self.warmup_proportion)
        return {"num_train_steps": num_steps, "num_warmup_steps": warmup}
