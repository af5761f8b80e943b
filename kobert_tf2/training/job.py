"""What the three programs that train have in common: where the run takes place, and the order of its making.

    job = TrainingJob.start(output_dir, running, init_checkpoint=init_checkpoint)
    model = job.make(lambda: modeling.BertForQuestionAnswering.from_pretrained(init_checkpoint))
    optimizer = job.optimizer(learning_rate=3e-5, num_train_steps=1000, num_warmup_steps=100)
    summary = job.train(model, optimizer, dataset, task, num_steps=1000, settings={}, save=model.save_pretrained)

The loop itself is `loop.train`; nothing here knows a task, a file of data or a flag.
"""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from kobert_tf2.training import loop, optimizers
from kobert_tf2.training.strategies import is_chief, make_strategy, require_remote_paths, set_precision


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A run that writes into `output_dir`. `running` is what `command_line.running_settings` makes of the flags."""

    output_dir: str
    running: dict
    strategy: tf.distribute.Strategy

    @classmethod
    def start(cls, output_dir: str, running: dict, **paths: str | None) -> "TrainingJob":
        """Seeds, precision and devices, before anything else of TensorFlow runs.

        `paths` are named as their flags: a TPU on another machine must be able to read them.
        """
        require_remote_paths(running["strategy"], output_dir=output_dir, **paths)
        keras.utils.set_random_seed(running["seed"])
        set_precision(running["precision"])
        return cls(output_dir, running, make_strategy(**running["strategy"]))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return is_chief(self.strategy)

    def make(self, model: Callable[[], keras.Model]) -> keras.Model:
        """The model, with its variables where the strategy wants them."""
        with self.strategy.scope():
            return model()

    def optimizer(self, *, learning_rate: float, num_train_steps: int, num_warmup_steps: int):
        """The optimizer that was asked for by name. Make the model first."""
        with self.strategy.scope():
            return optimizers.create_optimizer(
                self.running["optimizer"],
                learning_rate=learning_rate,
                num_train_steps=num_train_steps,
                num_warmup_steps=num_warmup_steps,
            )

    def train(
        self,
        model: keras.Model,
        optimizer,
        dataset: tf.data.Dataset,
        task: loop.Task,
        *,
        num_steps: int,
        settings: dict,
        save: Callable[[str], None],
        **more,
    ) -> dict:
        """`loop.train`, which `more` goes to, until `num_steps`; then the chief calls `save(output_dir/model)`.

        Returns its summary, with `model_dir`.
        """
        summary = loop.train(
            model,
            optimizer,
            dataset,
            task,
            num_steps=num_steps,
            output_dir=self.output_dir,
            strategy=self.strategy,
            settings=settings,
            **more,
            **self.running["train"],
        )
        if self.is_chief:
            save(f"{self.output_dir}/model")
            summary["model_dir"] = f"{self.output_dir}/model"
        return summary
