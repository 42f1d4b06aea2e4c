"""`distmatch eval --suite` and `distmatch compare`: each suite is kept as soon as it is done."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from distmatch import plots
from distmatch.cli.run_files import ModelChoice
from distmatch.errors import ConfigError, DataError
from distmatch.evals import SUITES, Endpoint, Report, difference_table, evaluate
from distmatch.evals.comparing import on_shared_items, ways_apart
from distmatch.evals.evaluate import checked_suites
from distmatch.evals.outcome import draw, write_text
from distmatch.models.adapters import check_adapter, load_adapter

REPORT_FILE = "report.json"
_SETTINGS_FILE = "settings.json"


def measure_suites(
    choice: ModelChoice | Endpoint,
    names: Sequence[str],
    *,
    adapter: str | None = None,
    other_base: bool = False,
    out: str | Path | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, Report]:
    """Print a table of each suite's groups; leave each suite's report in a folder of its name.

    Started again with the same settings, it goes on with the suites that aren't done.

    Args:
        choice: Of the model, or where one without weights is asked.
        names: Of the suites.
        adapter: A PEFT adapter to measure it with.
        other_base: Whether the adapter is taken on another base than it was trained on.
        out: Where the folders go; None: tables are only printed.
        batch_size: Prompts a forward.
        seed: Of what suites draw.

    Returns:
        The reports by suite.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}, expected at least 1")
    names = checked_suites(names, weights=isinstance(choice, ModelChoice))
    settings = _settings(choice, adapter) | {"seed": seed}
    asked = {name: settings | SUITES[name].check() for name in names}
    for name in names:
        if SUITES[name].is_drawn:
            asked[name] |= {"batch_size": batch_size}
    kept = {} if out is None else _kept(Path(out), asked)
    loaded: tuple[nn.Module | Endpoint, PreTrainedTokenizerBase | None] | None = None
    reports: dict[str, Report] = {}
    for name in names:
        report = kept.get(name)
        if report is None:
            loaded = loaded or _load(choice, adapter, other_base=other_base)
            report = evaluate(*loaded, suites=[name], batch_size=batch_size, seed=seed)[name]
            if out is not None:
                _keep(report, asked[name], Path(out) / name)
        print(f"{name}{', measured before' if name in kept else ''}\n{report.group_table()}\n")
        if out is not None:
            print(_show(report, Path(out) / name))
        reports[name] = report
    return reports


def compare_folders(folders: Sequence[str | Path], out: str | Path | None = None) -> None:
    """Print how later runs differ from the first, suite by suite, and draw them side by side.

    Of one folder, suites that ask the same in several ways: how later ways differ from the first.

    Args:
        folders: As `measure_suites` and `measure` leave them.
        out: Where comparison.txt and a figure of each suite go; None: tables are only printed.

    Raises:
        DistmatchError: One folder without reports, or no suite to compare.
    """
    paths = [Path(folder) for folder in folders]
    are_told_apart = len({path.name for path in paths}) == len(paths)
    found = {path.name if are_told_apart else str(path): _reports(path) for path in paths}
    compared = _ways(*found.values()) if len(found) == 1 else _side_by_side(found)
    told = []
    for name, reports in compared.items():
        told.append(f"{name}\n{difference_table(reports)}\n")
        print(told[-1])
        if out is not None:
            print(_draw(reports, Path(out) / f"{name.partition(',')[0]}.png"))
    if out is not None:
        write_text(Path(out) / "comparison.txt", "\n".join(told))


def _ways(kept: Mapping[str, Path]) -> dict[str, dict[str, Report]]:
    """Of suites that ask the same in several ways a report a way."""
    compared = {}
    for name, path in kept.items():
        report = Report.load(path)
        with suppress(DataError):  # of the suites that ask something else in each group
            compared[name] = ways_apart(report)
    if not compared:
        raise ConfigError(
            f"a comparison needs two folders or more, or one with a suite that asks the same in "
            f"several ways, such as thinking; this one has {', '.join(kept)}"
        )
    return compared


def _side_by_side(found: Mapping[str, Mapping[str, Path]]) -> dict[str, dict[str, Report]]:
    """Of the suites that were measured in all folders a report a folder, of the same items."""
    first, *others = found.values()
    shared = [name for name in first if all(name in other for other in others)]
    if not shared:
        have = "; ".join(f"{folder}: {', '.join(kept)}" for folder, kept in found.items())
        raise ConfigError(f"no suite was measured in all folders ({have})")
    compared = {}
    for name in shared:
        reports = {folder: Report.load(kept[name]) for folder, kept in found.items()}
        asked = max(report.num_examples for report in reports.values())
        try:
            reports = on_shared_items(reports)
        except DataError as error:
            print(f"{name}: {error}\n")
            continue
        num = next(iter(reports.values())).num_examples
        of = "" if num == asked else f", the {num} of {asked} items that all were asked"
        compared[name + of] = reports
    if not compared:
        raise ConfigError("nothing to compare: the folders' suites asked different items")
    return compared


def _settings(choice: ModelChoice | Endpoint, adapter: str | None) -> dict[str, Any]:
    """What the scores depend on, but for the suites."""
    if isinstance(choice, Endpoint):
        return choice.settings()
    settings = {**asdict(choice), "adapter": adapter}
    if adapter is not None:
        check_adapter(Path(adapter))
        weights = (Path(adapter) / "adapter_model.safetensors").read_bytes()
        settings["adapter_sha256"] = hashlib.sha256(weights).hexdigest()
    return settings


def _load(
    choice: ModelChoice | Endpoint, adapter: str | None, *, other_base: bool
) -> tuple[nn.Module | Endpoint, PreTrainedTokenizerBase | None]:
    if isinstance(choice, Endpoint):
        return choice, None
    model, tokenizer = choice.load()
    if adapter is None:
        return model, tokenizer
    return load_adapter(model, adapter, other_base=other_base), tokenizer


def _kept(out: Path, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Report]:
    """The reports of suites that were measured before; refuses any measured otherwise."""
    kept = {}
    for name, settings in asked.items():
        if not (out / name / REPORT_FILE).exists():
            continue
        path = out / name / _SETTINGS_FILE
        if not path.exists():
            raise ConfigError(f"{out / name} holds a report of other making: choose another --out")
        there = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in {**settings, **there} if there.get(key) != settings.get(key)]
        if other:
            told = ", ".join(f"{k} {there.get(k)!r}, not {settings.get(k)!r}" for k in other)
            raise ConfigError(f"{out / name} was measured with {told}: choose another --out")
        kept[name] = Report.load(out / name / REPORT_FILE)
    return kept


def _keep(report: Report, settings: Mapping[str, Any], folder: Path) -> None:
    write_text(folder / _SETTINGS_FILE, json.dumps(settings, indent=1) + "\n")
    report.save(folder / REPORT_FILE)


def _show(report: Report, folder: Path) -> str:
    """Write what the report can be read by; the text says what was written."""
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_text(folder / "rows.jsonl", rows)
    return f"{_draw({'': report}, folder / 'groups.png')}\nin {folder}\n"


def _draw(reports: Mapping[str, Report], path: Path) -> str:
    first = next(iter(reports.values()))
    metric = next(iter(first.metrics))
    parts = {name: {**report.groups(), "all": report} for name, report in reports.items()}
    series = {
        name: {group: part.metrics[metric] for group, part in groups.items()}
        for name, groups in parts.items()
    }
    policies = {
        group: part.metrics["policy_tvd"].mean
        for group, part in next(iter(parts.values())).items()
        if metric == "tvd"
    }
    return draw(path, lambda path: plots.groups(series, metric, marks=policies, path=path))


def _reports(folder: Path) -> dict[str, Path]:
    """The reports of a folder by suite; of a measurement without suites under "examples"."""
    found = {path.parent.name: path for path in sorted(folder.glob(f"*/{REPORT_FILE}"))}
    if (folder / REPORT_FILE).exists():
        found["examples"] = folder / REPORT_FILE
    if not found:
        raise DataError(f"{folder} holds no {REPORT_FILE}: measure with --out {folder} first")
    return found
