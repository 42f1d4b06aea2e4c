"""What watches a run of `learning_race.py`: averaged weights, a line an evaluation, the finish."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

BATCH, IN_A_ROW = 8, 3
_FILE = "average.safetensors"

Measure = Callable[[nn.Module], dict[str, float]]


def finished(lines: Sequence[dict[str, Any]], finish: float) -> int | None:
    """Which line is the first of enough in a row below the finish."""
    below = [line["control_tvd"] <= finish for line in lines]
    starts = range(len(below) - IN_A_ROW + 1)
    return next((i for i in starts if all(below[i : i + IN_A_ROW])), None)


class Average:
    """The weights that learn, averaged over a run with more weight on the later steps.

    After step t the newest weigh 4 / (t + 3), so most of it is of the last quarter of the steps so
    far, wherever that is: polynomial-decay averaging (Shamir and Zhang, 2013), which needs no
    horizon.
    """

    def __init__(self) -> None:
        """Of nothing yet."""
        self.weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, model: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        for name, weight in learning(model).items():
            mean = self.weights.setdefault(name, weight.detach().clone())
            mean.lerp_(weight, 4 / (step + 3))

    @contextmanager
    def installed(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has these weights, if there are any."""
        weights = {name: learning(model)[name] for name in self.weights}
        last = {name: weight.detach().clone() for name, weight in weights.items()}
        _copy(self.weights, weights)
        try:
            yield
        finally:
            _copy(last, weights)

    def save(self, folder: Path) -> None:
        """Leave them in a checkpoint."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.weights, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        self.weights = load_file(folder / _FILE)


def learning(model: nn.Module) -> dict[str, Tensor]:
    """The weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, weight in target.items():
        weight.copy_(source[name])


class Watch(TrainerCallback):
    """Averages and measures between steps, a line each time, and stops at the finish.

    Args:
        name: Of the run.
        path: Of its lines.
        measure: What is measured of a model.
    """

    every = 40
    """Examples from one evaluation to the next."""
    first = 0
    """The number of examples before which nothing is measured."""
    finish: float | None = None
    """The control TVD to get to, if the run is to end there."""

    def __init__(self, name: str, path: Path, measure: Measure) -> None:
        """Nothing is counted yet."""
        self.name, self.path, self.measure = name, path, measure
        self.average = Average()
        self.lines: list[dict[str, Any]] = []
        self.seconds = self.start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what a killed run measured after its last checkpoint; measure where there is none.

        The seconds go on from the last line that counts.
        """
        done = state.global_step * BATCH
        there = self.path.read_text().splitlines() if self.path.exists() else []
        self.lines = [line for text in there if (line := json.loads(text))["examples"] <= done]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self.seconds = self.lines[-1]["seconds"] if self.lines else 0.0
        if done:
            self.average.load(_checkpoint(args, state))
        elif self.first == 0:
            self._note(done, kwargs["model"])
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Average; measure, if it is time."""
        self.average.add(kwargs["model"], state.global_step)
        done = state.global_step * BATCH
        if done % self.every == 0:
            self.seconds += time.process_time() - self.start
            if done >= self.first:
                self._note(done, kwargs["model"])
            if self.finish is not None and finished(self.lines, self.finish) is not None:
                control.should_training_stop = True
            self.start = time.process_time()
        if control.should_save:  # theirs comes after, and is whole once its last file is there
            self.average.save(_checkpoint(args, state))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writing a checkpoint is no training."""
        self.start = time.process_time()

    def _note(self, done: int, model: nn.Module) -> None:
        with self.average.installed(model):
            measured = self.measure(model)
        self.lines.append({"examples": done, "seconds": round(self.seconds, 1), **measured})
        with self.path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")
        shown = f"control_tvd {measured['control_tvd']:.3f}, tvd {measured['tvd']:.3f}"
        print(f"{self.name}: {done} examples, {self.seconds:.0f} s, {shown}", flush=True)


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
