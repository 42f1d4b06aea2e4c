"""`distmatch eval --suite` and `distmatch compare`: each suite is kept as soon as it is done."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distmatch import plots
from distmatch.cli.run_files import ModelChoice
from distmatch.errors import ConfigError, DataError
from distmatch.evals import Report, difference_table, evaluate
from distmatch.evals.evaluate import checked_suites
from distmatch.evals.outcome import draw, write_text
from distmatch.models.adapters import check_adapter, load_adapter

REPORT_FILE = "report.json"
_SETTINGS_FILE = "settings.json"


def measure_suites(
    choice: ModelChoice,
    names: Sequence[str],
    *,
    adapter: str | None = None,
    other_base: bool = False,
    out: str | Path | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> None:
    """Print a table of each suite's groups; leave each suite's report in a folder of its name.

    Started again with the same settings, it goes on with the suites that aren't done.

    Args:
        choice: Of the model.
        names: Of the suites.
        adapter: A PEFT adapter to measure it with.
        other_base: Whether the adapter is taken on another base than it was trained on.
        out: Where the folders go; None: tables are only printed.
        batch_size: Prompts a forward.
        seed: Of what suites draw.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    names = checked_suites(names)
    if adapter is not None:
        check_adapter(Path(adapter))
    folders = {} if out is None else {name: Path(out) / name for name in names}
    if out is not None:
        settings = {**asdict(choice), "adapter": adapter, "seed": seed}
        _check_settings(Path(out) / _SETTINGS_FILE, settings)
    loaded = None
    for name in names:
        kept = folders[name] / REPORT_FILE if folders else None
        if kept is not None and kept.exists():
            report = Report.load(kept)
        else:
            if loaded is None:
                loaded = choice.load()
                if adapter is not None:
                    load_adapter(loaded[0], adapter, other_base=other_base)
            report = evaluate(*loaded, suites=[name], batch_size=batch_size, seed=seed)[name]
        print(f"{name}\n{report.group_table()}\n")
        if kept is not None and not kept.exists():
            _save(report, folders[name])


def compare_folders(folders: Sequence[str | Path], out: str | Path | None = None) -> None:
    """Print how later runs differ from the first, suite by suite, and draw them side by side.

    Args:
        folders: As `measure_suites` and `measure` leave them.
        out: Where comparison.txt and a figure of each suite go; None: tables are only printed.

    Raises:
        DistmatchError: Fewer than two folders, one without reports, or no suite that all have.
    """
    if len(folders) < 2:
        raise ConfigError("a comparison needs two folders or more")
    paths = [Path(folder) for folder in folders]
    are_told_apart = len({path.name for path in paths}) == len(paths)
    found = {path.name if are_told_apart else str(path): _reports(path) for path in paths}
    first, *others = found.values()
    shared = [name for name in first if all(name in other for other in others)]
    if not shared:
        have = "; ".join(f"{folder}: {', '.join(kept)}" for folder, kept in found.items())
        raise ConfigError(f"no suite was measured in all folders ({have})")
    told = []
    for name in shared:
        reports = {folder: Report.load(kept[name]) for folder, kept in found.items()}
        told.append(f"{name}\n{difference_table(reports)}\n")
        print(told[-1])
        if out is not None:
            print(_draw(reports, Path(out) / f"{name}.png"))
    if out is not None:
        write_text(Path(out) / "comparison.txt", "\n".join(told))


def _save(report: Report, folder: Path) -> None:
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_text(folder / "rows.jsonl", rows)
    print(_draw({"": report}, folder / "groups.png"))
    report.save(folder / REPORT_FILE)  # last: it says that the suite is done
    print(f"wrote {folder / REPORT_FILE}\n")


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


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write them; or, where suites were measured before, refuse others."""
    if not path.exists():
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name in settings if there.get(name) != settings[name]]
    if other:
        told = ", ".join(f"{name} {there.get(name)!r}, not {settings[name]!r}" for name in other)
        raise ConfigError(f"{path.parent} holds suites measured with {told}: choose another --out")


def _reports(folder: Path) -> dict[str, Path]:
    """The reports of a folder by suite; of a measurement without suites under "examples"."""
    found = {path.parent.name: path for path in sorted(folder.glob(f"*/{REPORT_FILE}"))}
    if (folder / REPORT_FILE).exists():
        found["examples"] = folder / REPORT_FILE
    if not found:
        raise DataError(f"{folder} holds no {REPORT_FILE}: measure with --out {folder} first")
    return found
