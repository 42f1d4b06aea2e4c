"""`distmatch eval`, and what it shares with training: examples checked before any weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from distmatch import plots
from distmatch.cli.run_files import ModelChoice, read_data_section
from distmatch.cli.sources import refused_together, section_examples
from distmatch.data import Example, read_jsonl
from distmatch.data.trie import Encoder
from distmatch.errors import ConfigError
from distmatch.evals import Endpoint, Report, evaluate
from distmatch.evals.outcome import draw, write_text
from distmatch.models.adapters import check_adapter, load_adapter
from distmatch.scoring import model_encoder, resolve_at_most

REPORT_FILE = "report.json"


def measure(
    choice: ModelChoice | Endpoint,
    data: str | Path,
    *,
    adapter: str | Path | None = None,
    other_base: bool = False,
    out: str | Path | None = None,
    batch_size: int = 32,
) -> None:
    """Print every metric of a model, and leave the report in a folder.

    Args:
        choice: Of the model, or where one without weights is asked.
        data: Examples as JSONL, or a run file, for its test examples.
        adapter: A PEFT adapter to measure it with.
        other_base: Whether the adapter is taken on another base than it was trained on.
        out: The folder; None: the table is only printed.
        batch_size: Prompts a forward.

    Raises:
        DistmatchError: What can't be used; before the model is loaded where that can be known.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}, expected at least 1")
    if out is not None and (Path(out) / REPORT_FILE).exists():
        raise ConfigError(f"{out} holds a {REPORT_FILE} already: choose another --out")
    if adapter is not None:
        check_adapter(Path(adapter))
    test = _test_examples(Path(data))
    if isinstance(choice, Endpoint):
        report = evaluate(choice, examples=test)
    else:
        check_encodable(choice, [], {"test": test})
        model, tokenizer = choice.load()
        test = resolved_test(model, tokenizer, test)
        if adapter is not None:
            load_adapter(model, adapter, other_base=other_base)  # into the model itself
        report = evaluate(model, tokenizer, test, batch_size=batch_size)
    print(report.table())
    if out is not None:
        _save(report, Path(out))


def check_encodable(
    choice: ModelChoice, train: Sequence[Example], tests: Mapping[str, Sequence[Example]]
) -> None:
    """Refuse examples the model's tokenizer can't encode; needs no weights.

    Args:
        choice: Of the model.
        train: Examples to train on.
        tests: Examples to measure on, each with its rotations, by what their rows are called.

    Raises:
        LoadError: There is no such tokenizer.
        DataError: The examples, each with its number.
    """
    tokenizer = choice.load_tokenizer()
    encoder = Encoder(tokenizer, max_length=_context(tokenizer.name_or_path))
    named = {"train row": train}
    for name, test in tests.items():
        rotations = [rotated for example in test for rotated in example.rotated()]
        named |= {f"{name} row": test, f"{name} rotation": rotations}
    refused_together(
        [
            lambda rows=rows, what=what: encoder.encode_all(rows, what)  # type: ignore[misc]
            for what, rows in named.items()
        ]
    )


def resolved_test(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, test: list[Example]
) -> list[Example]:
    """The examples with upper bounds turned into targets, by the model without its adapter."""
    return resolve_at_most(model, model_encoder(model, tokenizer), test)


def _context(source: str) -> int | None:
    """The most tokens the model takes; None where its config doesn't say."""
    try:
        config = AutoConfig.from_pretrained(source).get_text_config()
    except (OSError, ValueError):  # what is wrong is said when the model is loaded
        return None
    return getattr(config, "max_position_embeddings", None)


def _test_examples(path: Path) -> list[Example]:
    if path.suffix == ".toml":
        return section_examples(read_data_section(path))[1]
    return read_jsonl(path)


def _save(report: Report, folder: Path) -> None:
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in report.rows())
    write_text(folder / "rows.jsonl", rows)
    print(draw(folder / "calibration.png", lambda path: plots.calibration(report, path)))
    report.save(folder / REPORT_FILE)
    print(f"wrote {folder / 'rows.jsonl'}\nwrote {folder / REPORT_FILE}")
