"""Records in and out: JSONL files, lists of dicts, `datasets` objects."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from distmatch.data.examples import REQUIRED_COLUMNS, Example
from distmatch.errors import DataError, converted, raise_all, shown, some
from distmatch.files import replacing

_T = TypeVar("_T")

_OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
"""By what they begin with."""


def to_examples(rows: Iterable[Any], name: str = "row") -> list[Example]:
    """Rows of any accepted kind as examples.

    Args:
        rows: Examples, records, or a `datasets.Dataset`.
        name: What a row is called in an error, followed by its number from 0.

    Raises:
        DataError: Bad rows, up to 20 of them listed with their numbers; or a single record.
    """
    if isinstance(rows, str | Path):
        raise DataError(
            f'expected a list of records, got "{rows}": read a file first, '
            f'distmatch.data.read_jsonl("{rows}")'
        )
    if isinstance(rows, Mapping):
        if rows and all(hasattr(split, "column_names") for split in rows.values()):
            raise DataError(
                f"expected one list of records, got splits by name ({some(map(str, rows))}): name "
                f'the split, as in rows["{next(iter(rows))}"]'
            )
        raise DataError(f"expected a list of records, got {shown(rows)}: put it in a list")
    return converted(_records(rows), _as_example, name)


def _records(rows: Iterable[Any]) -> Iterable[Any]:
    """The rows of a table of pandas', polars' or pyarrow's.

    Pandas has NaN where a cell is empty; of `other` it may be a number gone wrong, and is refused.
    """
    if hasattr(rows, "iterrows"):
        return [
            {k: v for k, v in row.items() if k == "other" or not _is_nan(v)}
            for row in rows.to_dict("records")  # type: ignore[attr-defined]
        ]
    for name in ("to_dicts", "to_pylist"):
        if hasattr(rows, name):
            return list(getattr(rows, name)())
    if not hasattr(rows, "__iter__"):
        raise DataError(f"expected a list of records, got {shown(rows)}")
    return rows


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


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
    _check_kind(content, source)
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


def _check_kind(content: bytes, source: str) -> None:
    """Refuse what isn't JSON lines as a whole."""
    for sign, kind in _OTHER_KINDS.items():
        if content.startswith(sign):
            raise DataError(f"{source} is {kind}, expected JSON lines: unpack or convert it first")
    first, _, rest = content.strip().partition(b"\n")
    if first[:1] in (b"[", b"{") and rest:
        try:
            json.loads(first)
        except ValueError:
            pass
        else:
            return
        try:
            whole = json.loads(content)
        except ValueError:
            return
        kind = "a JSON array" if isinstance(whole, list) else "one JSON object"
        raise DataError(
            f"{source} holds {kind} over several lines, expected a record a line: write each with "
            "json.dumps, without indent"
        )


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
        raise DataError(f"expected an object, got {shown(value)}")
    return value


def _as_example(row: Any) -> Example:
    if isinstance(row, Example):
        return row
    if not isinstance(row, Mapping):
        raise DataError(f"expected a record with {list(REQUIRED_COLUMNS)}, got {shown(row)}")
    return Example.from_record(row)
