"""What the user wants: examples, and functions that make them. Imports neither torch nor models."""

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, read_jsonl, to_examples, write_jsonl

__all__ = [
    "Example",
    "WordDistribution",
    "output_control",
    "read_jsonl",
    "to_examples",
    "write_jsonl",
]


def __getattr__(name: str) -> object:
    """TEMPORARY until distmatch.data.tasks exists."""
    if name == "output_control":
        from distmatch.data.tasks import output_control

        return output_control
    raise AttributeError(f"module 'distmatch.data' has no attribute {name!r}")
