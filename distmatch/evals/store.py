"""Reports kept in a folder, each by all that it depends on.

A suite's report is `NAME/report.json`, and beside it, in `settings.json`, stands what it depends
on: model and adapter by their bytes, the suite with its settings and the bytes it read, the seed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from distmatch.errors import ConfigError, listed, shown
from distmatch.evals.report import Report
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suite import Suite, check_suites, measure
from distmatch.files import alone_in, check_folder, write_json
from distmatch.processes import is_first
from distmatch.progress import is_at_work, leave_out, phase

REPORT_FILE = "report.json"
SETTINGS_FILE = "settings.json"


@runtime_checkable
class Source(Protocol):
    """Who is to be asked, before anything is loaded, such as a `LocalSource`."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the subject will be able to do."""

    @property
    def seed(self) -> int:
        """The subject's."""

    @property
    def batch_size(self) -> int | None:
        """How many prompts it answers at once; None: it doesn't matter."""

    def subject(self) -> Subject:
        """Whom suites ask; loaded when first needed."""

    def record(self) -> Mapping[str, Any]:
        """What its answers depend on, as plain JSON."""


class Kept(NamedTuple):
    """A suite's report, and whether it was there already."""

    suite: Suite
    report: Report
    was_there: bool


@dataclass(frozen=True)
class Store:
    """A folder of reports.

    Args:
        folder: Where they are, or are to be.
    """

    folder: Path

    def find(self, name: str, settings: Mapping[str, Any]) -> Report | None:
        """The report of that name, if there is one.

        Args:
            name: Of a suite.
            settings: What it depends on.

        Raises:
            ConfigError: One is there that depends on something else; with what differs.
            DataError: It can't be read.
        """
        if not (self.folder / name / REPORT_FILE).exists():
            return None
        there = self.settings(name)
        here = json.loads(json.dumps(settings))
        if other := [key for key in {**here, **there} if there.get(key) != here.get(key)]:
            told = listed(f"{k} {shown(there.get(k))}, not {shown(here.get(k))}" for k in other)
            raise ConfigError(
                f"{self.folder / name} was measured with {told}: remove it, or choose another "
                "folder (--out)"
            )
        return Report.load(self.folder / name / REPORT_FILE)

    def keep(self, name: str, report: Report, settings: Mapping[str, Any]) -> None:
        """Write a report, and what it depends on; of processes at work together the first does."""
        if not is_first():
            return
        write_json(self.folder / name / SETTINGS_FILE, dict(settings))
        report.save(self.folder / name / REPORT_FILE)

    def settings(self, name: str) -> dict[str, Any]:
        """What the report of that name depends on, as it was kept beside it.

        Raises:
            ConfigError: Nothing is there that says so.
        """
        path = self.folder / name / SETTINGS_FILE
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"{self.folder / name} holds a report of other making: remove it, or choose "
                "another folder (--out)"
            ) from error


def settings_of(source: Source, suite: Suite, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a suite's report of a source depends on.

    Args:
        source: Who is asked.
        suite: What.
        record: The source's; hashed once for all suites.
    """
    asked = {f"{suite.name}.{key}": value for key, value in suite.record().items()}
    drawn = {"batch_size": source.batch_size} if suite.draws_text else {}
    return {**record, **asked, "seed": source.seed, **drawn}


def measuring(suite: Suite) -> str:
    """What it is called where progress is shown."""
    return f"measuring {suite.name}"


def measure_all(
    source: Source, suites: Sequence[Suite], folder: str | Path | None = None
) -> Iterator[Kept]:
    """Each suite's report, measured unless it is there, and kept as soon as it is done.

    Everything that can be checked is checked before the subject is loaded.

    Args:
        source: Who is asked.
        suites: What; each once.
        folder: Where reports are kept; None: nowhere.

    Raises:
        ConfigError: A suite that can't be asked, or a report that depends on something else.
        DistmatchError: What suites or subject refuse.
    """
    check_suites(suites, source.capabilities)
    if folder is None:
        for suite in suites:
            with phase(measuring(suite), shown=is_at_work()):
                report = measure(source.subject(), suite)
            yield Kept(suite, report, was_there=False)
        return
    store, record = Store(Path(folder)), source.record()
    settings = {suite.name: settings_of(source, suite, record) for suite in suites}
    found = {suite.name: store.find(suite.name, settings[suite.name]) for suite in suites}
    if None in found.values():
        check_folder(folder, "the folder of reports (--out)")
    for suite in suites:
        if (there := found[suite.name]) is not None:
            leave_out(measuring(suite))
            yield Kept(suite, there, was_there=True)
            continue
        with alone_in(store.folder / suite.name), phase(measuring(suite), shown=is_at_work()):
            report = measure(source.subject(), suite)
            store.keep(suite.name, report, settings[suite.name])
        yield Kept(suite, report, was_there=False)
