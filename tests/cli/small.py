"""A run of a tiny model, and what commands leave and say."""

import json
from pathlib import Path

from distmatch.cli import main
from distmatch.tables import to_toml


def run_file(folder: Path, model_folder: Path, /, **changes) -> Path:
    """A run file with sections' keys changed; None takes a key or section out."""
    tables = {
        "model": {"name": str(model_folder)},
        "data": {"task": "output_control", "n": 16, "n_test": 6, "words": 2},
        "lora": {"target": "all", "rank": 4},
        "train": {
            "output_dir": str(folder / "run"),
            "max_steps": 4,
            "save_steps": 2,
            "logging_steps": 1,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "disable_tqdm": True,
            "use_cpu": True,
        },
    }
    return write_changed(folder / "run_file.toml", tables, changes)


def write_changed(path: Path, tables: dict, changes: dict) -> Path:
    """A TOML file of these tables with sections' keys changed; None empties a section."""
    for section, keys in changes.items():
        tables[section] = {} if keys is None else tables.get(section, {}) | keys
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_toml(tables), encoding="utf-8")
    return path


def refusal(capsys, *argv) -> str:
    """What the command says when it refuses."""
    assert main([str(item) for item in argv]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert told.count("distmatch: error: ") == 1
    return told[told.index("distmatch: error: ") :]  # progress bars may come before


def metrics(folder: Path) -> dict:
    """Of both reports of a run on its test examples."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["suites"]["examples"]
