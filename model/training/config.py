"""Training configuration: TrainConfig decides the weights, RunConfig how the training is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from features.errors import FunnelError, nearest
from features.settings import Settings
from features.spec import Spec
from model.optimizers import RULES
from model.registry import entry_params, named
from model.settings.base import RuleParams
from model.settings.dense import DenseParams
from model.settings.schedules import Constant, Schedule

Precision = Literal["auto", "float32", "bfloat16", "float16"]
# The default learning rate of tables, by their optimizer.
RATES = {"adagrad": 0.05, "rowwise_adagrad": 0.05, "ftrl": 0.05, "lazy_adam": 0.001, "sgd": 0.05}


class TableOptions(Settings):
    """Training options of one feature's rows.

    Args:
        learning_rate: instead of the common one.
        l2: λ of λ·w² over the rows that a batch reads.
    """

    learning_rate: float | None = Field(None, gt=0)
    l2: float = Field(0.0, ge=0)


class TrainConfig(Settings):
    """What decides the weights of a training. A training cannot be resumed with other values.

    What is left open follows from the number of training rows; see model.training.defaults.

    Args:
        batch_size: global; replicas share it out.
        steps: how long to train; or
        epochs: the same in passes over the training rows.
        learning_rate: of the dense weights.
        embedding_learning_rate: of the embedding tables; the default depends on their optimizer.
        wide_learning_rate: of the wide part's tables; default: twice that of the embeddings.
        optimizer: of the dense weights, one of Keras', with its options.
        embedding_optimizer: of all tables, an entry of RULES with its options.
        schedule: multiplies all learning rates, by the step.
        scale_learning_rate: "linear" multiplies them by the number of replicas. "none", the
            default, leaves them: the batch is global, so more replicas change nothing.
        clip_norm: bounds the norm of all gradients together, summed over replicas.
        features: options of single features.
        precision: of matrix products; see model.training.precision.
        xla: compiles the steps.
        early_stop: holds out rows and ends the training where their loss stops falling; see
            model.estimator.callbacks.held_out_loss.
        held_out: the share of the training rows that is held out.
        seed: of initial values and of shuffling.
        shuffle_buffer: rows.

    Example:
        TrainConfig.parse({"batch_size": 4096, "epochs": 2, "optimizer": "adamw"})
    """

    batch_size: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    learning_rate: float = Field(0.001, gt=0)
    embedding_learning_rate: float = Field(gt=0)
    wide_learning_rate: float = Field(gt=0)
    optimizer: DenseParams = DenseParams()
    embedding_optimizer: SerializeAsAny[RuleParams] = Field(named("adagrad"))
    schedule: Schedule = Constant()
    scale_learning_rate: Literal["none", "linear"] = "none"
    clip_norm: float | None = Field(None, gt=0)
    features: dict[str, TableOptions] = Field({})
    precision: Precision = "auto"
    xla: bool = False
    early_stop: bool = False
    held_out: float = Field(0.1, gt=0, lt=1)
    seed: int = 1
    shuffle_buffer: int = Field(10_000, ge=1)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer(cls, value: Any) -> Any:
        return named(value)

    @field_validator("embedding_optimizer", mode="before")
    @classmethod
    def _embedding_optimizer(cls, value: Any) -> Any:
        return entry_params(value, RULES)

    @field_validator("schedule", mode="before")
    @classmethod
    def _schedule(cls, value: Any) -> Any:
        value = named(value)
        return {"name": "constant"} | value if isinstance(value, dict) else value

    @model_validator(mode="before")
    @classmethod
    def _table_rates(cls, data: Any) -> Any:
        """Sets the learning rates of tables that are left open, by their optimizer."""
        if not isinstance(data, Mapping):
            return data
        optimizer = data.get("embedding_optimizer")
        name = (
            optimizer.get("name")
            if isinstance(optimizer, Mapping)
            else getattr(optimizer, "name", optimizer)
        )
        rate = data.get("embedding_learning_rate", RATES.get(str(name or "adagrad"), 0.05))
        own = {
            "embedding_learning_rate": rate,
            "wide_learning_rate": 2 * rate if isinstance(rate, int | float) else 0.1,
        }
        return own | {
            key: value for key, value in data.items() if value is not None or key not in own
        }

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.epochs:
            raise ValueError(
                f"steps = {self.steps} and epochs = {self.epochs} both say how long to train: give "
                "one of them"
            )
        return self

    def check(self, spec: Spec, *, wide: bool = True) -> None:
        """Raises FunnelError where an option does not fit the features and tasks.

        Args:
            spec: features, labels and tasks.
            wide: whether the model has a wide part.
        """
        self._check_features(spec)
        self._check_tables(spec, wide=wide)
        calibrated = any(task.calibrate for task in spec.tasks.values())
        if self.changed("held_out") and not self.early_stop and not calibrated:
            raise FunnelError(
                f"train.held_out = {self.held_out:g}: no rows are held out, since nothing reads "
                "them: give early_stop = true or a task's calibrate, or leave it out"
            )

    def _check_tables(self, spec: Spec, *, wide: bool) -> None:
        rule, common = self.embedding_optimizer, self.embedding_learning_rate
        if not spec.embedded and (rule.name != "adagrad" or common != RATES["adagrad"]):
            key = "embedding_learning_rate" if rule.name == "adagrad" else "embedding_optimizer"
            raise FunnelError(
                f"train.{key} is for embedding tables, and no feature has one: leave it out"
            )
        if self.wide_learning_rate != 2 * common and not (wide and spec.embedded):
            missing = "no feature has one" if wide else "model.wide = false leaves them out"
            raise FunnelError(
                f"train.wide_learning_rate = {self.wide_learning_rate:g} is for the tables of the "
                f"wide part, and {missing}: leave it out"
            )

    def _check_features(self, spec: Spec) -> None:
        owners = [name for name in spec.embedded if spec.owner(name) == name]
        for name in self.features:
            if name in spec.embedded and name not in owners:
                raise FunnelError(
                    f"train.features.{name}: '{name}' shares the table of '{spec.owner(name)}'; "
                    "give the options to that one"
                )
            if name not in owners:
                raise FunnelError(
                    f"train.features names '{name}', which has no embedding table: "
                    f"{nearest(name, owners)}"
                )

    def total_steps(self, rows: int) -> int:
        """The number of steps for `rows` training rows; batch size and length must be set."""
        if self.steps:
            return self.steps
        if self.epochs is None or self.batch_size is None:
            raise FunnelError("train.epochs and train.batch_size are open: give them, or steps")
        return max(1, round(self.epochs * rows / self.batch_size))


Positive = Annotated[int, Field(ge=1)]


class RunConfig(Settings):
    """How a training is run. None of it changes the weights.

    Args:
        cpu_devices: makes that many logical CPU devices, and a replica on each. Without it all
            GPUs are used, or else one device.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: minutes between checkpoints, besides.
        keep_checkpoints: how many of the latest stay.
        async_checkpoints: writes them from a copy of all variables while the training continues.
            Without it nothing is copied, and the training waits.
        log_every: steps between reports.
        tensorboard: writes events for TensorBoard.
        profile: [first, last], the steps to trace.
        cache_gib: how much remote data is kept on this machine.
        verify: compares shards with the manifest's checksums before they are first read.
    """

    cpu_devices: int | None = Field(default=None, ge=1)
    checkpoint_every: Positive = 1000
    checkpoint_minutes: float | None = Field(default=None, gt=0)
    keep_checkpoints: Positive = 3
    async_checkpoints: bool = True
    log_every: Positive = 100
    tensorboard: bool = True
    profile: tuple[int, int] | None = None
    cache_gib: float = Field(default=50.0, gt=0)
    verify: bool = False

    @model_validator(mode="after")
    def _profile_forward(self) -> Self:
        if self.profile and not 1 <= self.profile[0] <= self.profile[1]:
            raise ValueError(
                f"profile = {list(self.profile)}: must be [first step, last step], with 1 ≤ first "
                "≤ last"
            )
        return self

    def check_steps(self, steps: int) -> None:
        """Raises FunnelError where `profile` begins after the last step."""
        if self.profile and self.profile[0] > steps:
            raise FunnelError(
                f"train.profile = {list(self.profile)}: the training ends at step {steps}, before "
                "the first step to trace: lower it, or leave it out"
            )
