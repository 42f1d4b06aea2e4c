"""What happens between steps: progress is shown, log lines, new examples when they are due."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Protocol, runtime_checkable

from torch import nn
from transformers.trainer_callback import ProgressCallback, TrainerCallback

from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.processes import of_the_first
from distmatch.progress import Phase, phase
from distmatch.trainer.running_means import SHOWN

TRAINING = "training"
"""What it is called where progress is shown."""

Refresh = Callable[[nn.Module, list[Example]], list[Example]]
"""Given the model and its examples, as many new ones."""


@runtime_checkable
class Trains(Protocol):
    """What the refresh needs of a trainer."""

    @property
    def adapted(self) -> nn.Module:
        """The model in training."""

    @property
    def train_examples(self) -> list[Example]:
        """What it trains on."""

    def use_examples(self, examples: Sequence[Example]) -> None:
        """Train on these from the next step on."""


class ShownTraining(ProgressCallback):
    """In place of their bar: a phase, with the latest numbers beside it."""

    def __init__(self) -> None:
        """Nothing goes on yet."""
        super().__init__()
        self._stack = ExitStack()
        self._training: Phase | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From here on steps are shown."""
        self.close()
        if state.is_world_process_zero:
            steps = phase(TRAINING, state.max_steps, done=state.global_step, stays=True)
            self._training = self._stack.enter_context(steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One more."""
        if self._training is not None:
            self._training.move_to(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show loss, TVD, slope and other of the steps since the last line."""
        shown = [f"{k}={logs[k]:.3g}" for k in ("loss", *SHOWN) if k in (logs or {})]
        if self._training is not None and shown:
            self._training.told = ", ".join(shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """All steps are done."""
        self.close()

    def close(self) -> None:
        """Training is over, also where an error ended it."""
        self._training = None
        self._stack.close()


@runtime_checkable
class Logs(Protocol):
    """What log lines need of a trainer."""

    def go_on_logging(self) -> None:
        """Count what was counted before the checkpoint that training goes on from."""


class LogLines(TrainerCallback):
    """Each line is of all steps since the last, also across a resume; a run has at least one."""

    def __init__(self, trainer: Logs) -> None:
        """Keep the trainer, which counts."""
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count on, once the trainer has begun at zero."""
        self.trainer.go_on_logging()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log at the end, if nothing has been."""
        is_last = state.global_step >= state.max_steps and args.logging_strategy != "no"
        if is_last and not any("loss" in line for line in state.log_history):
            control.should_log = True


class RefreshExamples(TrainerCallback):
    """Asks for new examples every so many steps, before a checkpoint of that step is written."""

    def __init__(self, trainer: Trains, refresh: Refresh) -> None:
        """Keep the trainer to hand the examples to."""
        self.trainer = trainer
        self.refresh = refresh

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refresh, if it is time.

        Raises:
            ConfigError: The number of examples changed.
        """
        if state.global_step % args.refresh_steps:
            return
        before = self.trainer.train_examples
        examples = of_the_first(lambda: self.refresh(self.trainer.adapted, list(before)))
        if len(examples) != len(before):
            raise ConfigError(
                f"refresh returned {len(examples)} examples for {len(before)}: "
                "it must keep their number"
            )
        self.trainer.use_examples(examples)
