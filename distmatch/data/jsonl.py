"""Records in and out: JSONL files, lists of dicts, `datasets` objects."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from distmatch.data.examples import REQUIRED_COLUMNS, Example
from distmatch.errors import DataError, converted, raise_all
from distmatch.files import replacing

_T = TypeVar("_T")

_MOST_SHOWN = 80


def to_examples(rows: Iterable[Any], name: str = "row") -> list[Example]:
    """Rows of any accepted kind as examples.

    Args:
        rows: Examples, records, or a `datasets.Dataset`.
        name: What a row is called in an error, followed by its number from 0.

    Raises:
        DataError: Bad rows, up to 20 of them listed with their numbers; or a single record.
    """
    if isinstance(rows, (Mapping, str)):
        raise DataError(f"expected a list of records, got {_shortened(rows)}: put it in a list")
    return converted(rows, _as_example, name)


def read_jsonl(path: str | Path) -> list[Example]:
    """The examples of a JSONL file, one record a line; blank lines are passed over.

    Raises:
        DataError: The file is missing or empty, or lines of it are malformed: up to 20 bad lines
            are listed, each with file and line number.
    """
    return json_lines(file_content(path), Example.from_record, str(path))


def file_content(path: str | Path) -> bytes:
    """What a file holds.

    Raises:
        DataError: There is no such file.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} is not a file")
    return Path(path).read_bytes()


def json_lines(content: bytes, convert: Callable[[Mapping[str, Any]], _T], source: str) -> list[_T]:
    """What every line of a JSONL file of objects holds: see `json_values`."""
    return json_values(content, lambda value: convert(_object(value)), source)


def json_values(content: bytes, convert: Callable[[Any], _T], source: str) -> list[_T]:
    """What every line of a JSONL file holds; blank lines are passed over.

    Args:
        content: The file's, read already, so that it can be hashed and read as the same.
        convert: Raises DataError for a value it refuses.
        source: What the file is called in an error.

    Raises:
        DataError: There are no lines, or malformed ones: up to 20 of them are listed, each with
            file and line number.
    """
    results, errors = [], []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            results.append(convert(_value(line)))
        except DataError as error:
            errors.append(f"{source}:{number}: {error}")
    raise_all(errors)
    if not results:
        raise DataError(f"{source} holds no records")
    return results


def value_key(value: Any) -> str:
    """A text that values have alike when they are: what rows are grouped by, lists and NaN too.

    Example:
        >>> value_key(1.0) == value_key(1), value_key(True) == value_key(1)
        (True, False)
    """
    is_whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if is_whole else value, sort_keys=True, default=repr)


def write_jsonl(path: str | Path, examples: Iterable[Example]) -> None:
    """Write the examples, one record a line, replacing the file only when all are written."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as lines:
        for example in examples:
            lines.write(json.dumps(example.to_record(), ensure_ascii=False) + "\n")


def fingerprint(content: Any) -> str:
    """What tells records from others without showing them: the SHA-256 of them as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({error.msg}, column {error.colno})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte {error.start + 1} of the line)") from error


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"expected an object, got {_shortened(value)}")
    return value


def _as_example(row: Any) -> Example:
    if isinstance(row, Example):
        return row
    if not isinstance(row, Mapping):
        raise DataError(f"expected a record with {list(REQUIRED_COLUMNS)}, got {_shortened(row)}")
    return Example.from_record(row)


def _shortened(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
