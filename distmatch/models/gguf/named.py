"""Which names are those of GGUF files; needs nothing that reads them."""

from pathlib import Path

MAGIC = b"GGUF"


def gguf_file(name: str | Path) -> Path | None:
    """The GGUF file of that name, whatever it ends in; None where there is none."""
    try:
        path = Path(name).expanduser()
        with path.open("rb") as file:
            return path if file.read(len(MAGIC)) == MAGIC else None
    except (OSError, ValueError, RuntimeError):  # no file, or no name that one could have
        return None
