"""The common part of the training programs: devices, and the order in which a run is set up.

    job = TrainingJob.start(settings)
    model = job.make(lambda: models.BertForQuestionAnswering.from_pretrained(settings.init_checkpoint))
    optimizer = job.optimizer(num_train_steps=1000, num_warmup_steps=100)
    summary = job.train(model, optimizer, dataset, task, num_steps=1000, must_not_change={}, save=model.save_pretrained)

The loop itself is `loop.train`. Nothing here depends on a task, a data file or a flag.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kobert_tf2 import files, outputs, pages, screen
from kobert_tf2.bert import pretrained
from kobert_tf2.errors import InputError
from kobert_tf2.training import checkpoints, loop, optimizers, report, tuning, unchanging
from kobert_tf2.training import log as training_log
from kobert_tf2.training.settings import EpochTaskSettings, StrategySettings, TaskSettings, TuningSettings
from kobert_tf2.training.strategies import describe, is_chief, make_strategy, require_remote_paths, set_precision

Recognizer = Callable[[str], bool]
_WRITTEN: dict[str, Recognizer | None] = {
    "run_config.json": lambda path: outputs.is_signed(path) or _is_run_config_of_0_1(path),
    "checkpoints/step-*": lambda path: checkpoints.are_ours(path.removesuffix("/step-*")),
    "best/step-*": None,
    "train_log.jsonl": training_log.is_ours,
    report.FILE: pages.is_ours,
    "eval_results.txt": None,
}


def _is_run_config_of_0_1(path: str) -> bool:
    """run_config.json of version 0.1, which had no signature yet."""
    return {"model", "parameters", "running", "strategy"} <= files.read_json(path, dict).keys()


def _is_run(folder: str, recognizers: Mapping[str, Recognizer | None]) -> bool:
    """Whether any file there certainly belongs to a run; if so, the ambiguous ones are taken to belong to it too."""
    for name, is_ours in recognizers.items():
        with contextlib.suppress(InputError, OSError):
            if is_ours is not None and is_ours(f"{folder}/{name}"):
                return True
    return False


def job_inputs(settings: Any) -> dict[str, str | None]:
    """The input paths in a task's settings (a dataclass): the fields named like the input flags."""
    names = [field.name for field in dataclasses.fields(settings)]
    read = [name for name in names if name.endswith("_file") or name in ("data_dir", "init_checkpoint")]
    return {name: getattr(settings, name) for name in read}


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A run with these settings on this strategy."""

    settings: TaskSettings
    strategy: tf.distribute.Strategy
    _locks: list = dataclasses.field(default_factory=list, repr=False)

    @classmethod
    def start(cls, settings: TaskSettings, **paths: str | None) -> "TrainingJob":
        """Sets seeds, precision and devices. Call it before any other TensorFlow operation runs.

        `paths` are keyed by flag name. A TPU on another machine must be able to read them and the paths in the
        settings.
        """
        place = {field.name: getattr(settings, field.name) for field in dataclasses.fields(StrategySettings)}
        place["name"] = place.pop("strategy")
        paths = {"output_dir": settings.output_dir, "init_checkpoint": settings.init_checkpoint, **paths}
        require_remote_paths(place, **paths)
        keras.utils.set_random_seed(settings.seed)
        set_precision(settings.precision)
        return cls(settings, make_strategy(**place))

    @property
    def output_dir(self) -> str:
        return self.settings.output_dir

    def claim(
        self, inputs: Mapping[str, str | None], written: Mapping[str, Recognizer | None], *, trains: bool
    ) -> None:
        """Claims `output_dir` for this run until the job ends. Raises `InputError` if that is not possible.

        Args:
            inputs: the paths that the run reads, keyed by flag name.
            written: names of the files that the task writes into `output_dir` in addition to those of every run. Each
              is mapped to a function that recognises our file of that name, or to None if ours cannot be told from
              others.
            trains: whether `output_dir/model` is written.
        """
        if not self.is_chief:
            return
        folder = self.output_dir
        recognizers = {**_WRITTEN, **written}
        paths = {"output_dir": [folder, *(f"{folder}/{name}" for name in recognizers)]}
        model = {"output_dir/model": f"{folder}/model"} if trains else {}
        outputs.refuse_inputs(paths, inputs, replaced=model)
        outputs.check_folder(
            folder, recognizers, what="a run of this kind", is_ours=lambda _: _is_run(folder, recognizers)
        )
        if trains:
            pretrained.check_folder(f"{folder}/model")
            self._check_flags()
        self._locks.append(outputs.FolderLock(folder, make=True))

    def _check_flags(self) -> None:
        """Raises `InputError` if the flags differ from those that the run in `output_dir` was started with, before any
        data is read. A value of None depends on the data and is checked later.
        """
        saved = checkpoints.newest_settings(f"{self.output_dir}/checkpoints")
        given = {name: value for name, value in unchanging.flags_of(self.settings).items() if value is not None}
        unchanging.check(saved, given, place=self.output_dir, settings=self.settings)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return is_chief(self.strategy)

    def make(self, model: Callable[[], keras.Model]) -> keras.Model:
        """Creates the model within the strategy's scope; a model to be trained is also prepared by `tuning`."""
        with self.strategy.scope():
            made = model()
            if self.settings.do_train and isinstance(self.settings, TuningSettings):
                tuning.apply(made, self.settings)
            return made

    def optimizer(self, *, num_train_steps: int, num_warmup_steps: int) -> keras.optimizers.Optimizer:
        """Creates the optimizer named in the settings. Create the model first."""
        with self.strategy.scope():
            return optimizers.create_optimizer(
                self.settings.optimizer,
                learning_rate=self.settings.learning_rate,
                **self._factors(),
                num_train_steps=num_train_steps,
                num_warmup_steps=num_warmup_steps,
            )

    def _factors(self) -> dict[str, float]:
        settings = self.settings
        if not isinstance(settings, TuningSettings):
            return {}
        head = 1.0
        if settings.head_learning_rate is not None:
            if not settings.learning_rate:
                raise InputError("--head_learning_rate: expected a --learning_rate above 0 with it, but got 0")
            head = settings.head_learning_rate / settings.learning_rate
        return {"layer_decay": settings.layer_decay, "head_factor": head}

    def weighted(self, dataset: tf.data.Dataset, labels: Sequence[str], ids: np.ndarray) -> tf.data.Dataset:
        """The dataset with the weights of `--class_weights`. `ids` are the labels of all rows, -1 for none."""
        asked = getattr(self.settings, "class_weights", None)
        if not asked:
            return dataset
        if not np.issubdtype(ids.dtype, np.integer):
            raise InputError(f"--class_weights={asked}: expected a task whose labels exclude each other")
        weights = tuning.parse_class_weights(asked, labels, ids)
        shown = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(labels, weights, strict=True))
        print(f"class weights: {shown}", file=sys.stderr)
        return dataset.map(tuning.class_weights(weights))

    def train(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        dataset: tf.data.Dataset,
        task: loop.Task,
        *,
        num_steps: int,
        must_not_change: dict,
        save: Callable[[str], None],
        on_record: Callable[[int, dict], None] | None = None,
        resolved: Mapping[str, object] | None = None,
    ) -> dict:
        """`loop.train` until `num_steps`; then the chief calls `save(output_dir/model)` and writes a report.

        `resolved` is written to run_config.json in addition to the settings.

        `must_not_change` is added to the flags that determine the result and to the relevant part of the model's
        configuration.

        Returns the summary of `loop.train` with `model_dir` and, for a model from `tasks.start`, `new_parts`: the parts
        that were initialised at random.
        """
        must_not_change = {
            **unchanging.flags_of(self.settings),
            **unchanging.config_used(getattr(model, "config", None)),
            **must_not_change,
        }
        # Checked before any file is written: a rejected run leaves everything unchanged.
        saved = checkpoints.newest_settings(f"{self.output_dir}/checkpoints")
        unchanging.check(saved, must_not_change, place=self.output_dir, settings=self.settings)
        self.report_settings(model, {"num_steps": num_steps, **(resolved or {})})
        tuned = self.settings if isinstance(self.settings, TuningSettings) else None
        if tuned and tuned.label_smoothing:
            task = tuning.with_label_smoothing(task, tuned.label_smoothing)
        summary = loop.train(
            model,
            optimizer,
            dataset,
            task,
            num_steps=num_steps,
            output_dir=self.output_dir,
            strategy=self.strategy,
            settings=self._looking_each_epoch(task, num_steps),
            must_not_change=must_not_change,
            on_record=on_record,
        )
        if tuned and tuned.lora_rank:
            tuning.merge_lora(model)
        if hasattr(model, "parts_at_random"):
            summary["new_parts"] = list(model.parts_at_random)
        if self.is_chief:
            save(f"{self.output_dir}/model")
            summary["model_dir"] = f"{self.output_dir}/model"
            self.write_report([report.scores(summary)])
        return summary

    def _looking_each_epoch(self, task: loop.Task, num_steps: int) -> TaskSettings:
        """The settings, with `eval_steps` set to one epoch if early stopping is on and no `eval_steps` were given."""
        settings = self.settings
        looks = settings.early_stopping_patience or settings.eval_steps
        if looks and task.score is None:
            flag = "early_stopping_patience" if settings.early_stopping_patience else "eval_steps"
            raise InputError(f"--{flag}: expected data with answers to evaluate on, but there is none")
        if not looks or settings.eval_steps or not isinstance(settings, EpochTaskSettings):
            return settings
        return dataclasses.replace(settings, eval_steps=max(1, round(num_steps / settings.num_train_epochs)))

    def report_settings(self, model: keras.Model, resolved: Mapping[str, object]) -> None:
        """Writes run_config.json, and prints the settings that differ from the defaults to stderr."""
        if not self.is_chief:
            return
        parameters = model.count_params()
        config = {
            "model": model.config.to_dict(),
            "parameters": parameters,
            "strategy": type(self.strategy).__name__,
            "replicas": self.strategy.num_replicas_in_sync,
            **resolved,
            "settings": dataclasses.asdict(self.settings),
            "running": self.settings.running,
        }
        files.write_json(f"{self.output_dir}/run_config.json", outputs.signed(config, "a run"))
        shown: dict[str, object] = {
            "model": f"{type(model).__name__}, {parameters:,} parameters",
            "runs on": f"{describe(self.strategy)}, {self.settings.precision}",
        }
        if "num_steps" in resolved:
            shown["steps"] = resolved["num_steps"]
        title = f"settings that differ from the defaults (all: {self.output_dir}/run_config.json)"
        print(f"\n{title}\n{screen.table(shown | _differing(self.settings))}\n", file=sys.stderr)

    def write_report(self, sections: Sequence[pages.Section]) -> None:
        """Writes report.html with these sections and the run's curves; on the chief only."""
        if self.is_chief:
            report.write(self.output_dir, sections)


def _differing(settings: TaskSettings) -> dict[str, object]:
    """The settings that differ from their defaults, by name."""
    differing = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        # The flag has a different default, that of the original scripts.
        if field.name != "iterations_per_loop" and value != field.default and value not in ({}, None):
            differing[field.name] = value
    return differing
