"""Run files: what a training run or a layer sweep is told, from TOML and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_type_hints

from distmatch.cli.sources import resolved_data, resolved_transfer
from distmatch.cli.suite_settings import named_suites
from distmatch.data.tasks.negatives import negatives, short_questions
from distmatch.errors import ConfigError
from distmatch.evals import Suite
from distmatch.files import write_text
from distmatch.models.choice import ModelChoice
from distmatch.models.lora import LoraTarget
from distmatch.own_chats import OwnChats
from distmatch.sweeps import Grid
from distmatch.sweeps.plan import NUM_TEXTS
from distmatch.sweeps.sets import NAME, TUNING
from distmatch.tables import (
    Tables,
    check_keys,
    read_tables,
    read_toml,
    require_keys,
    to_toml,
)
from distmatch.trainer import DistributionConfig, divergence

SECTIONS = ("model", "data", "lora", "train", "measure", "suite.*", "retention")
SWEEP_SECTIONS = ("model", "data", "tuning", "transfer.*", "sweep", "suite.*", "train")
_ALWAYS = ("model", "data", "lora", "train")
_OF_RUNS = ("measure", "retention")
TEST = "test"
"""What a sweep calls the test rows of [data]."""

_PACKAGES = ("distmatch", "torch", "transformers", "peft")
_NEEDS_CODE = {
    "refresh_steps": "needs a function",
    "resume_from_checkpoint": "is what --resume is for",
}
"""Settings of the trainer that a run file can't serve."""
_RETENTION = ("retention_weight", "retention_per_step")
"""Settings of the trainer that are nothing without texts."""
_OWN = ("own_chats", "negatives", "short_questions")
"""How many texts of either kind the base is to write itself."""
_CUT = "answer_tokens"
"""Where its answers are cut off."""
_OF_CELLS = {
    "seed": "is each cell's own: give sweep.seeds",
    "data_seed": "is each cell's own: give sweep.seeds",
    "save_strategy": "has no use, a cell is done again from its start: leave it out",
    "eval_strategy": "has no use, a cell is measured at its end: leave it out",
}
"""Settings of the trainer that a sweep decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """What every run file says, checked, with its defaults filled in."""

    model: ModelChoice
    data: Mapping[str, Any]
    """The section [data], resolved."""
    config: DistributionConfig
    tables: Tables
    """All of it as it is written to `run.toml`."""

    @property
    def folder(self) -> Path:
        """Where the run leaves what it makes."""
        return Path(str(self.config.output_dir))

    @property
    def text(self) -> str:
        """All of it as a run file again, with the versions in its first line."""
        return f"# {_versions()}\n\n{to_toml(self.tables)}"

    def save(self, path: Path) -> None:
        """Write it as a run file, replacing the file only when all is written."""
        write_text(path, self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRun(RunFile):
    """A run file of `distmatch train`."""

    lora: LoraTarget
    suites: tuple[Suite, ...]
    """To be asked beside the test examples."""
    texts: Path | None
    """A file of ordinary ones."""
    own_chats: OwnChats | None
    """Those that the base is to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun(RunFile):
    """A run file of `distmatch sweep`."""

    transfers: Mapping[str, Mapping[str, Any]]
    """By name, each as the section [data], resolved."""
    tuning: Mapping[str, Any] | None
    """As the section [data], resolved."""
    grid: Grid
    num_texts: int
    suites: tuple[Suite, ...]
    """To be asked of the base and of each place's adapters."""


def read_run(path: str | Path, overrides: Iterable[str] = ()) -> TrainRun:
    """The run a file describes.

    Args:
        path: A TOML file with the sections model, data, lora and train, maybe measure, any number
            of suite.NAME, and retention.
        overrides: Settings instead of the file's, each as `section.key=value`.

    Raises:
        ConfigError: Anything that can be seen to be wrong without data and model.
        DataError: A value the task refuses.
        TargetingError: A layer expression that can't be read.
    """
    tables = read_tables(path, SECTIONS, overrides)
    model = _model(tables.get("model", {}))
    data = resolved_data(tables.get("data", {}))
    lora = _lora(tables.get("lora", {}))
    measure = tables.get("measure", {})
    check_keys("measure", measure, {"suites": list[str]})
    suites = _suites(tables, measure.get("suites", []))
    retention = _retention(tables)
    train = _in_order(tables.get("train", {}), data)
    config = _config(_with_retention(train, retention))
    resolved = {
        "model": asdict(model),
        "data": data,
        "lora": {
            "target": lora.expression,
            "rank": lora.rank,
            "alpha": lora.alpha,
            "dropout": lora.dropout,
        },
        **{name: table for name, table in tables.items() if name not in _ALWAYS},
        "train": {**_own_defaults(), **train},
    }
    if retention:
        del resolved["train"]["retention_weight"]  # the other section's
    return TrainRun(
        model=model,
        data=data,
        lora=lora,
        config=config,
        suites=suites,
        texts=Path(retention["path"]) if "path" in retention else None,
        own_chats=_own_chats(retention, data.get("seed", 0)),
        tables=_set_ones(resolved),
    )


def read_sweep_run(path: str | Path, overrides: Iterable[str] = ()) -> SweepRun:
    """The sweep a file describes.

    Args:
        path: A TOML file with the sections model, data, sweep and train, maybe tuning, and any
            number of transfer.NAME and suite.NAME.
        overrides: Settings instead of the file's, each as `section.key=value`.

    Raises:
        ConfigError: Anything that can be seen to be wrong without data and model.
        DataError: A value the task refuses.
        TargetingError: A site that is unknown.
    """
    for section in read_toml(path):
        if section in _OF_RUNS:
            raise ConfigError(
                f"[{section}] is for distmatch train: a sweep measures the test rows of [data] and "
                "of [transfer.NAME], texts of its own, and the suites of sweep.maps. Leave it out"
            )
    tables = read_tables(path, SWEEP_SECTIONS, overrides)
    model = _model(tables.get("model", {}))
    given = tables.get("data", {})
    data = resolved_data(given)
    transfers = {}
    for section, table in tables.items():
        if section.startswith("transfer."):
            name = section.removeprefix("transfer.")
            _check_transfer_name(name)
            transfers[name] = resolved_transfer(given, table, section)
    tuning = None
    if "tuning" in tables:
        tuning = resolved_transfer(given, tables["tuning"], "tuning")
    grid, num_texts, maps = _grid(tables.get("sweep", {}))
    suites = _suites(tables, maps)
    train = _in_order(tables.get("train", {}), data)
    config = _sweep_config(train)
    resolved = {
        "model": asdict(model),
        "data": data,
        **{
            section: table
            for section, table in tables.items()
            if section == "tuning" or section.startswith(("transfer.", "suite."))
        },
        "sweep": {field.name: getattr(grid, field.name) for field in fields(grid)}
        | {"num_texts": num_texts, "maps": maps},
        "train": {**_own_defaults(), **train},
    }
    return SweepRun(
        model=model,
        data=data,
        config=config,
        tables=_set_ones(resolved),
        transfers=transfers,
        tuning=tuning,
        grid=grid,
        num_texts=num_texts,
        suites=suites,
    )


def read_data_section(path: str | Path) -> dict[str, Any]:
    """The resolved section [data] of a run file; the other sections may be missing.

    Raises:
        ConfigError: A file, section or key that can't be used.
        DataError: A value the task refuses.
    """
    tables = read_tables(path, [*dict.fromkeys([*SECTIONS, *SWEEP_SECTIONS])])
    return resolved_data(tables.get("data", {}))


def _set_ones(tables: Tables) -> Tables:
    """Without what is None."""
    return {
        section: {key: value for key, value in table.items() if value is not None}
        for section, table in tables.items()
    }


def _model(table: Mapping[str, Any]) -> ModelChoice:
    check_keys("model", table, get_type_hints(ModelChoice))
    require_keys("model", table, ["name"])
    return ModelChoice(**table)


def _lora(table: Mapping[str, Any]) -> LoraTarget:
    hints = get_type_hints(LoraTarget)
    check_keys("lora", table, {"target": hints.pop("expression")} | hints)
    require_keys("lora", table, ["target"])
    return LoraTarget(table["target"], **{k: v for k, v in table.items() if k != "target"})


def _suites(tables: Tables, names: Sequence[str]) -> tuple[Suite, ...]:
    """Those of these names, as their sections set them."""
    given = {
        name.removeprefix("suite."): table
        for name, table in tables.items()
        if name.startswith("suite.")
    }
    return tuple(named_suites(names, given)) if names or given else ()


def _retention(tables: Tables) -> Mapping[str, Any]:
    table = tables.get("retention", {})
    check_keys(
        "retention",
        table,
        {"path": str, "weight": float, "thinks": bool} | dict.fromkeys((*_OWN, _CUT), int),
    )
    if "retention" in tables:
        is_own = any(key in table for key in _OWN)
        require_keys("retention", table, ["weight"] if is_own else ["path", "weight"])
        answers = any(table.get(key) for key in _OWN[1:])
        own = [key for key in (_OWN[0], *(() if answers else (_CUT, "thinks"))) if key in table]
        if own and "path" in table:
            raise ConfigError(
                f"[retention] has both path, a file of texts, and {own[0]}, of texts that the base "
                "is to write in their place: leave one out"
            )
    return table


def _own_chats(table: Mapping[str, Any], seed: int) -> OwnChats | None:
    drawn = {"negatives": negatives, "short_questions": short_questions}
    questions = [
        one for key, draw in drawn.items() if table.get(key) for one in draw(table[key], seed)
    ]
    if not table or ("path" in table and not questions):
        return None
    return OwnChats(
        n=table.get("own_chats", 0),
        questions=questions,
        thinks=table.get("thinks", False),
        answer_tokens=table.get(_CUT, OwnChats.answer_tokens),
        seed=seed,
    )


def _with_retention(table: Mapping[str, Any], retention: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section [train] with what [retention] sets."""
    for key in _RETENTION:
        if table.get(key) and not retention:
            raise ConfigError(f"train.{key} needs ordinary texts: name them in [retention]")
    if not retention:
        return table
    if table.get("retention_weight"):
        raise ConfigError("train.retention_weight is the weight of [retention]: set it there alone")
    return {**table, "retention_weight": retention["weight"]}


def _in_order(table: Mapping[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section [train], with rows kept in order where [data] draws them so."""
    if not data.get("narrow_first"):
        return table
    given = table.get("train_sampling_strategy", "sequential")
    if given != "sequential":
        raise ConfigError(
            f'train.train_sampling_strategy is "{given}", which undoes the order of '
            "data.narrow_first: leave one of them out"
        )
    return {**table, "train_sampling_strategy": given}


def _grid(table: Mapping[str, Any]) -> tuple[Grid, int, Sequence[str]]:
    """The grid, the number of ordinary texts, and the suites to map."""
    hints = get_type_hints(Grid) | {"num_texts": int, "maps": list[str]}
    check_keys("sweep", table, hints)
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    num_texts, maps = settings.pop("num_texts", NUM_TEXTS), settings.pop("maps", ())
    return Grid(**settings), num_texts, maps


def _check_transfer_name(name: str) -> None:
    """Refuse a name that can't be told from another, or that no file can have."""
    if name in (TEST, TUNING) or not NAME.fullmatch(name):
        raise ConfigError(
            f'the transfer "{name}" can\'t be called so: give it a name of letters, digits, '
            f'spaces, "-" and "_" that is not "{TEST}" or "{TUNING}"'
        )


def _sweep_config(table: Mapping[str, Any]) -> DistributionConfig:
    for key in table:
        if table[key] and key in _RETENTION:
            raise ConfigError(f"train.{key} is for distmatch train, with [retention]: leave it out")
        if key in _OF_CELLS:
            raise ConfigError(f"train.{key} {_OF_CELLS[key]}")
    return _config(table)


def _config(table: Mapping[str, Any]) -> DistributionConfig:
    names = {field.name for field in fields(DistributionConfig) if field.init}
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1, cutoff=0.5)
            raise ConfigError(
                f'unknown key of [train] "{key}", expected a field of DistributionConfig or '
                "transformers.TrainingArguments." + (f' Did you mean "{near[0]}"?' if near else "")
            )
        if table[key] and key in _NEEDS_CODE:
            raise ConfigError(
                f"train.{key} {_NEEDS_CODE[key]}, which a run file can't give: leave it out"
                + ("" if key.startswith("resume") else ", or use DistributionTrainer in Python")
            )
    check_keys("train", table, get_type_hints(DistributionConfig))
    require_keys("train", table, ["output_dir"])
    try:
        config = DistributionConfig(**table)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"[train] can't be used: {error}") from error
    divergence(config)
    return config


def _own_defaults() -> dict[str, Any]:
    """Defaults of ours, which may differ between versions; not those of transformers."""
    return {
        field.name: field.default
        for field in fields(DistributionConfig)
        if field.name in DistributionConfig.__annotations__ and field.default is not MISSING
    }


def _versions() -> str:
    return ", ".join(f"{package} {_version(package)}" for package in _PACKAGES)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        from distmatch import __version__

        return __version__
