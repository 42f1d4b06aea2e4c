"""Which names are those of GGUF files; needs nothing that reads them."""

from pathlib import Path

MAGIC = b"GGUF"


def gguf_file(name: str | Path) -> Path | None:
    """The GGUF file of that name, whatever it ends in; None where there is none."""
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            return path if file.read(len(MAGIC)) == MAGIC else None
    except (OSError, ValueError):  # no file, or no name that one could have
        return None
