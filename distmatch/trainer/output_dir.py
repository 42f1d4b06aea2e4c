"""The output directory: whether it is another run's, and where a run in it goes on."""

import json
import re
from pathlib import Path
from typing import Any

from distmatch.errors import ConfigError
from distmatch.models.checkpoints import check_safetensors

LOGGED_FILE = "logged.json"
"""In a checkpoint, what was counted since the last log line."""

_NAME = re.compile("checkpoint-([1-9][0-9]*)")


def check_output_dir(path: str | Path | None, *, resume: bool) -> None:
    """Refuse to write over another run.

    Raises:
        ConfigError: The directory holds checkpoints or an adapter, and this isn't to resume.
    """
    folder = Path(path) if path is not None else None
    if resume or folder is None or not folder.is_dir():
        return
    held = sorted(
        path.name
        for path in folder.iterdir()
        if path.name.startswith(("checkpoint-", "adapter_")) or path.suffix == ".safetensors"
    )
    if held:
        raise ConfigError(
            f"{folder} holds another run ({', '.join(held[:3])}): resume it "
            "(resume_from_checkpoint=True), delete it, or choose another output_dir"
        )


def checkpoint_to_begin_at(folder: str | Path, resume: str | bool | None) -> str | None:
    """Where training begins; None: at the beginning.

    Args:
        folder: The output directory.
        resume: A checkpoint's directory; True: the newest whole one in the folder, if any; None or
            False: none, and the folder is to hold no run.

    Raises:
        ConfigError: It holds one.
    """
    check_output_dir(folder, resume=bool(resume))
    if resume is not True:
        return resume or None
    checkpoint = last_checkpoint(folder)
    return None if checkpoint is None else str(checkpoint)


def last_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None.

    The trainer writes a checkpoint's `trainer_state.json` last, so one that a kill left unfinished
    has none, or half of it. What has another name than the trainer gives, such as a copy, is none.
    """
    steps = {
        int(found[1]): path
        for path in Path(folder).glob("checkpoint-*")
        if (found := _NAME.fullmatch(path.name)) and _is_json(path / "trainer_state.json")
    }
    return steps[max(steps)] if steps else None


def check_checkpoint(folder: str | Path) -> None:
    """Refuse a checkpoint from which training wouldn't go on as it was.

    Raises:
        ConfigError: It was left without the optimiser's state.
        LoadError: Its adapter is corrupt or cut short.
    """
    folder = Path(folder)
    if (folder / "adapter_model.safetensors").is_file():
        check_safetensors(folder / "adapter_model.safetensors")
    if not any(folder.glob("optimizer*")):
        raise ConfigError(
            f"{folder} holds no optimiser (save_only_model), so training can't go on as it was: "
            "begin anew with its adapter, load_adapter(model, path, trainable=True)"
        )


def logged_before(path: Path | None) -> dict[str, Any] | None:
    """What a checkpoint says was counted; None: at the beginning, or of an earlier version."""
    if path is None or not path.is_file():
        return None
    counted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return counted


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
