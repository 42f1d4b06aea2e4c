"""What a sweep's folder holds, by name, and its files of JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from distmatch.errors import ConfigError

SETTINGS_FILE = "sweep.json"
RESULTS_FILE = "results.jsonl"
PROBE_FILE = "probe.json"
BASE_FOLDER = "base"
CELLS_FOLDER = "cells"
REPORT_FOLDER = "report"
SUITES_FOLDER = "suites"
WORKERS_FOLDER = "workers"

_Content = TypeVar("_Content")


def parsed_file(path: Path, parsed: Callable[[Any], _Content]) -> _Content:
    """What a file of JSON holds.

    Args:
        path: The file.
        parsed: What is wanted of its content.

    Raises:
        ConfigError: It holds something else.
    """
    try:
        return parsed(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} can't be read ({error!r}): restore it, or remove it and start the sweep again"
        ) from error
