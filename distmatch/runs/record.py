"""What a run was told, as plain JSON, and what differs between two of them."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import partial
from typing import Any

from peft import PeftConfig

from distmatch.data.examples import Example, Prompt, plain_prompt
from distmatch.data.jsonl import fingerprint
from distmatch.models.lora import LoraTarget
from distmatch.own_chats import OwnChats
from distmatch.trainer import DistributionConfig

_PASSING = frozenset(
    {"output_dir", "logging_dir", "disable_tqdm", "report_to", "run_name", "project", "log_level"}
    | {"hub_token", "push_to_hub_token", "use_cpu", "per_device_eval_batch_size"}
    | {"save_total_limit", "dataloader_num_workers", "resume_from_checkpoint"}
)
"""Of the settings, what no result depends on."""
_SHOWN = 16  # of a hash


def config_record(config: DistributionConfig, also_passing: Collection[str] = ()) -> dict[str, Any]:
    """The settings that results depend on, where they aren't the defaults.

    Args:
        config: All of them.
        also_passing: Names of more settings that no result depends on.
    """
    # The same device as of the run, or accelerate's state, which is global, would change
    plain = DistributionConfig(output_dir="", use_cpu=config.use_cpu).to_dict()
    given = config.to_dict() | {"loss": config.loss}
    return plain_json(
        {
            name: value
            for name, value in given.items()
            if name not in {*_PASSING, *also_passing} and value != plain.get(name)
        }
    )


def lora_record(lora: LoraTarget | PeftConfig | None) -> dict[str, Any] | None:
    """What is attached, without what is left to its default."""
    if lora is None:
        return None
    given = asdict(lora) if isinstance(lora, LoraTarget) else lora.to_dict()
    given.pop("base_model_name_or_path", None)  # which PEFT writes there
    return plain_json({name: value for name, value in given.items() if value is not None})


def rows_record(rows: Sequence[Example] | Sequence[Prompt] | Callable[..., Any]) -> Any:
    """How many examples or texts, and a hash of them; of what draws them its name and settings."""
    if isinstance(rows, OwnChats):
        name, told = plain_json(replace(rows, beside=()))
        told["questions"] = rows_record(rows.questions)
        del told["beside"]
        return [name, told | ({"beside": rows_record(rows.beside)} if rows.beside else {})]
    if callable(rows):
        return plain_json(rows)
    plain = [row.to_record() if isinstance(row, Example) else plain_prompt(row) for row in rows]
    return f"{len(rows)} rows, {fingerprint(plain)[:_SHOWN]}"


def plain_json(value: Any) -> Any:
    """Anything as JSON has it: a function by its name, a set in its order."""
    return json.loads(json.dumps(value, default=_plain))


def changes(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A line for every value that isn't the same in both, by its path: `train.max_steps`."""
    old, new = dict(_flat(there)), dict(_flat(here))
    return [
        f"{path}: {_told(old, path)} there, {_told(new, path)} here"
        for path in {**old, **new}
        if _told(old, path) != _told(new, path)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, partial):
        return [_name(value.func), list(value.args), value.keywords]
    if is_dataclass(value) and not isinstance(value, type):
        return [_name(type(value)), {f.name: getattr(value, f.name) for f in fields(value)}]
    if callable(value):
        return _name(value)
    text = str(value)
    return _name(type(value)) if " at 0x" in text else text


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{function.__module__}.{name}"


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _told(values: Mapping[str, Any], path: str) -> str:
    value = values.get(path)
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
