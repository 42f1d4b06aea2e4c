"""What all cells of a sweep have alike, and whether a folder holds a sweep of the same."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.examples import Example
from distmatch.data.jsonl import fingerprint, to_examples
from distmatch.data.trie import Encoder, TokenIds
from distmatch.errors import ConfigError
from distmatch.evals.outcome import write_text
from distmatch.models.base_record import base_record
from distmatch.models.trunk import Tree
from distmatch.scoring import Questions, model_encoder
from distmatch.sweeps.cells import Cell
from distmatch.sweeps.findings import TUNING, Place, place_of
from distmatch.sweeps.probe import PROBE_FILE
from distmatch.sweeps.records import BASE_FOLDER, is_worked_on, read_results
from distmatch.trainer import DistributionConfig, check_output_dir
from distmatch.trainer.distribution_trainer import Rows

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


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all cells of a sweep have alike."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Example]
    tests: Mapping[str, Sequence[Example]]
    """By name; the first is what maps are drawn of, `TUNING` what learning rates are chosen by,
    the others are transfer."""
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
        if "failed" not in row:
            key = f"{cell.name}.parameters"
            there[key], now[key] = row["parameters"], cell.parameters
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


def check_rates(folder: Path, cells: Sequence[Cell]) -> None:
    """Refuse several learning rates of one place, in a sweep that can't choose between them.

    Args:
        folder: The sweep's; what is finished there counts, but for rates at which a seed failed.
        cells: Those to be run.

    Raises:
        ConfigError: Such a place.
    """
    done, _ = read_results(folder)
    failed = {(place_of(row), row["learning_rate"]) for row in done.values() if "failed" in row}
    finished = {(place_of(row), row["learning_rate"]) for row in done.values()} - failed
    rates: dict[Place, set[float]] = {}
    for place, rate in finished | {(place_of(asdict(c)), c.learning_rate) for c in cells}:
        rates.setdefault(place, set()).add(rate)
    for place, several in sorted(rates.items()):
        if len(several) > 1:
            raise ConfigError(
                f"{place.name} of rank {place.rank} would have the learning rates "
                f"{' and '.join(map(str, sorted(several)))} in {folder}, with nothing to choose "
                "between them by: leave it one of them, give tuning_dataset ([tuning] in a run "
                "file) from the start of a sweep, or choose another output_dir; of finished ones "
                "take one's lines out of results.jsonl"
            )


def measured_examples(
    tests: Mapping[str, Rows], tuning: Rows | None, train: Sequence[Example]
) -> dict[str, list[Example]]:
    """All that cells are measured on, by name.

    Args:
        tests: Those to report on.
        tuning: Those to choose learning rates by, which get the name `TUNING`.
        train: Those to train on, none of which may choose.

    Raises:
        DataError: Records that can't be used.
        ConfigError: A name that can't be one, a set that is empty or tells nothing of control where
            it is needed, or tuning examples that are trained or reported on too.
    """
    if not tests:
        raise ConfigError("eval_datasets is empty: name one set of examples or more")
    for name in tests:
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == TUNING:
            raise ConfigError(
                f"{name!r} in eval_datasets can't be called so: give it a name of letters, digits, "
                f'spaces, "-" and "_" that is not "{TUNING}"'
            )
    checked = {name: to_examples(rows) for name, rows in tests.items()}
    if empty := [name for name, rows in checked.items() if not rows]:
        raise ConfigError(f'"{empty[0]}" in eval_datasets holds no examples: give one or more')
    first, *_ = checked
    if not _has_control(checked[first]):
        raise ConfigError(
            f'no example of "{first}" has two words, so there is no control to map: name first a '
            "set that has"
        )
    if tuning is not None:
        checked[TUNING] = _tuning_examples(tuning, {**checked, "train_dataset": train})
    return checked


def _tuning_examples(given: Rows, others: Mapping[str, Sequence[Example]]) -> list[Example]:
    """Without rotations, since control needs none."""
    called = "tuning_dataset ([tuning] in a run file)"
    tuning = [replace(example, rotations=()) for example in to_examples(given)]
    if not tuning:
        raise ConfigError(f"{called} is empty: give examples, or leave it out")
    if not _has_control(tuning):
        raise ConfigError(
            f"no example of {called} has two words, so there is no control to choose learning "
            "rates by: give some that have"
        )
    for name, rows in others.items():
        prompts = {fingerprint(row.prompt) for row in rows}
        for number, row in enumerate(tuning, start=1):
            if fingerprint(row.prompt) in prompts:
                raise ConfigError(
                    f'example {number} of {called} is in "{name}" too, so it would choose by what '
                    "is learned or reported: give others"
                )
    return tuning


def _has_control(examples: Sequence[Example]) -> bool:
    return any(len(example.target.words) > 1 for example in examples)


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its path, such as `train.max_steps`."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _hash(examples: Sequence[Example]) -> str:
    return fingerprint([example.to_record() for example in examples])
