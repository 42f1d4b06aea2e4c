"""What all cells of a sweep have alike, and whether a folder holds a sweep of the same."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.examples import Example, fingerprint
from distmatch.data.trie import Encoder
from distmatch.data.trie import Path as TokenIds
from distmatch.errors import ConfigError
from distmatch.evals.outcome import write_text
from distmatch.models.base_record import base_record
from distmatch.models.trunk import Tree
from distmatch.scoring import Questions, model_encoder
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.probe import PROBE_FILE
from distmatch.sweeps.records import BASE_FOLDER, is_worked_on, read_results
from distmatch.trainer import DistributionConfig, check_output_dir

SETTINGS_FILE = "sweep.json"
NAME = re.compile(r"[\w-]+(?: [\w-]+)*")
"""What a set of examples may be called, since its report is a file of that name."""

# Of the settings, what no result depends on
_PASSING = frozenset(
    {"output_dir", "logging_dir", "seed", "disable_tqdm", "report_to", "run_name", "logging_steps"}
    | {"learning_rate", "save_strategy", "eval_strategy", "per_device_eval_batch_size"}
    | {"logging_strategy", "save_steps", "eval_steps", "hub_token", "push_to_hub_token"}
    | {"use_cpu", "eval_on_start"}
)
_VARIED = {"rank", "learning_rate", "parameters"}  # of a cell, beside its name


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all cells of a sweep have alike."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Example]
    tests: Mapping[str, Sequence[Example]]
    """By name; the first is what maps are drawn of, the others are transfer."""
    texts: Sequence[TokenIds]
    """Ordinary ones, on which the base is to be kept."""
    args: DistributionConfig
    """`output_dir` is the sweep's folder; seed and learning rate are the cells'."""

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return Path(str(self.args.output_dir))

    @cached_property
    def encoder(self) -> Encoder:
        """The model's."""
        return model_encoder(self.model, self.tokenizer)

    @cached_property
    def trees(self) -> list[Tree]:
        """Of all that any cell is trained or measured on, always in the same order."""
        encoder = self.encoder
        tries = encoder.encode_all(self.train)
        for asked in self.tests.values():
            questions = Questions.encode(encoder, asked)
            tries += [*questions.tries, *questions.rotations]
        examples = (make_batch([trie], encoder) for trie in tries)
        texts = (make_text_batch([text]) for text in self.texts)
        return [Tree(b.ids, b.depths, b.ends) for b in (*examples, *texts)]

    @cached_property
    def record(self) -> dict[str, dict[str, Any]]:
        """What every cell's result depends on, as the folder's `sweep.json` holds it."""
        # The same device as of the run, or accelerate's state, which is global, would change
        plain = DistributionConfig(output_dir="", use_cpu=self.args.use_cpu).to_dict()
        given = {
            name: _described(value)
            for name, value in self.args.to_dict().items()
            if name not in _PASSING and value != plain.get(name)
        }
        base = base_record(self.model) | {
            "dtype": str(self.model.dtype),
            "attention": self.model.config.get_text_config()._attn_implementation,
        }
        tests = {f"test {name}": _hash(examples) for name, examples in self.tests.items()}
        data = {"train": _hash(self.train), **tests, "tests": list(self.tests)}
        tokens = fingerprint([tree.ids.tolist() for tree in self.trees])
        del base["name"]  # where it was loaded from
        return {
            "base": json.loads(json.dumps(base, default=str)),
            "train": json.loads(json.dumps(given, default=str)),
            "data": data | {"tokens": tokens},
        }


def _described(value: Any) -> Any:
    """A function by its name, with what a partial one is given; anything else as it is."""
    if isinstance(value, partial):
        return [_described(value.func), list(value.args), value.keywords]
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return value


def check_folder(setting: Setting, cells: Sequence[Cell]) -> None:
    """Leave the settings in the sweep's folder, or hold them against those that are there.

    Args:
        setting: What all cells have alike.
        cells: Those to be run; finished ones are held against their results.

    Raises:
        ConfigError: The folder's cells were made of something else; with what differs.
    """
    path = setting.folder / SETTINGS_FILE
    done, _ = read_results(setting.folder)
    if not path.exists():
        check_output_dir(setting.folder, resume=False)
        write_text(path, json.dumps(setting.record, indent=1) + "\n")
    try:
        there = dict(_flat(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} can't be read ({error}): restore it, or choose another output_dir"
        ) from error
    now = dict(_flat(setting.record))
    if there != now and not done and not is_worked_on(setting.folder):  # nothing is lost by it
        shutil.rmtree(setting.folder / BASE_FOLDER, ignore_errors=True)
        (setting.folder / PROBE_FILE).unlink(missing_ok=True)
        write_text(path, json.dumps(setting.record, indent=1) + "\n")
        there = dict(now)
    for cell in cells:
        row = done.get(cell.name, {"failed": ""})
        for name in () if "failed" in row else _VARIED:
            key = f"{cell.name}.{name}"
            there[key], now[key] = row[name], getattr(cell, name)
    different = [
        f"{key}: {there.get(key)!r} there, {now.get(key)!r} now"
        for key in {**there, **now}
        if there.get(key) != now.get(key)
    ]
    if different:
        raise ConfigError(
            f"{setting.folder} holds a sweep of other settings ({'; '.join(different)}): "
            "choose another output_dir, or set them as they were"
        )


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its path, such as `train.max_steps`."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _hash(examples: Sequence[Example]) -> str:
    return fingerprint([example.to_record() for example in examples])
