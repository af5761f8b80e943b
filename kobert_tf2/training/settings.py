"""What a run is asked for, as dataclasses: each field is the flag of that name.

`LoopSettings` is what `loop.train` takes, `TaskSettings` what all four training tools have, `EpochTaskSettings` what
the three that fine-tune have besides, `TuningSettings` among it. A tool's own settings add to these;
`command_line.settings_from_flags` fills all of them.
"""

import dataclasses
from typing import ClassVar


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How the training loop runs. None of it changes what is learnt, but for the seed.

    Attributes:
      seed: of dropout, and in the tools of initial weights and data order too.
      micro_batch_size: rows of a replica whose gradients are taken at once; the rest is accumulated. None: all.
      recompute: keeps only the inputs of encoder layers for the gradient and computes the rest again.
      iterations_per_loop: steps in one call of the compiled function, at most.
      save_checkpoints_steps: steps between two checkpoints.
      save_checkpoints_minutes: a checkpoint is written too when the last one is older than this; 0: never.
      keep_checkpoints: how many of them are kept.
      log_steps: steps between the records of the log.
      jit_compile: XLA; None leaves it to the device.
      eval_steps: steps between two looks at the task's `score`; the weights of the best one are what the training ends
        with. None: it is not looked at.
      early_stopping_patience: the training ends after so many looks without a better score. None: it never does.
    """

    seed: int = 0
    micro_batch_size: int | None = None
    recompute: bool = False
    iterations_per_loop: int = 100
    save_checkpoints_steps: int = 1000
    save_checkpoints_minutes: float = 10.0
    keep_checkpoints: int = 3
    log_steps: int = 100
    jit_compile: bool | None = None
    eval_steps: int | None = None
    early_stopping_patience: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategySettings:
    """Where a run takes place; see `strategies.make_strategy`."""

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
    """What every training tool is asked for.

    Attributes:
      output_dir: gets everything that the run writes.
      init_checkpoint: weights to start from, with a new schedule; None: new ones by `bert_config_file`.
      bert_config_file: Google's bert_config.json or a model directory; not needed with `init_checkpoint`.
      vocab_file: the tokenizer's folder or a vocab.txt; None: the tokenizer beside `init_checkpoint`.
      tokenizer_settings: the tokenizer flags that were given.
      do_train: whether anything is trained.
      train_batch_size: rows of all replicas together.
      learning_rate: the peak, at the end of the warm-up.
      optimizer: one of `optimizers.NAMES`.
      precision: one of `strategies.PRECISIONS`.
    """

    # The flag that may be raised when a run goes on, to train for longer.
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
        """How the run runs, {flag: value}: what `run_config.json` says of it."""
        names = [field.name for base in (StrategySettings, LoopSettings) for field in dataclasses.fields(base)]
        return {name: getattr(self, name) for name in (*names, "optimizer", "precision")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningSettings:
    """Which weights of a pretrained model learn, how fast, and from what; see `tuning.py`.

    Attributes:
      layer_decay: the learning rate of each encoder layer is this times that of the layer above it.
      head_learning_rate: the peak of what is not of the encoder; None: that of the encoder.
      freeze: parts that do not learn, such as "embeddings,0-5"; None: all learn.
      lora_rank: the encoder's matrices learn through LoRA of this rank, merged into them at the end; None: whole.
      label_smoothing: the share of the loss that asks for all labels alike.
      class_weights: "balanced", or label:weight pairs; None: all rows count alike.
    """

    layer_decay: float = 1.0
    head_learning_rate: float | None = None
    freeze: str | None = None
    lora_rank: int | None = None
    label_smoothing: float = 0.0
    class_weights: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochTaskSettings(TaskSettings, TuningSettings):
    """What every fine-tuning tool is asked for besides.

    Attributes:
      train_file: what is trained on.
      predict_file: what is predicted.
      max_seq_length: pieces of a row; what happens to longer ones is the task's.
      predict_batch_size: rows of all replicas together.
      num_train_epochs: how often each row is seen.
      warmup_proportion: the part of all steps in which the learning rate rises.
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
        """Whether the training looks at the dev score."""
        return bool(self.early_stopping_patience or self.eval_steps)

    def schedule(self, num_steps: int) -> dict:
        """The learning rate's course, as `TrainingJob.optimizer` takes it."""
        warmup = int(num_steps * self.warmup_proportion)
        return {"num_train_steps": num_steps, "num_warmup_steps": warmup}
