"""Examples held against a model's tokenizer, before any weights are loaded."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from transformers import AutoConfig, PreTrainedTokenizerBase

from distmatch.data.examples import Example, Prompt
from distmatch.data.trie import Encoder
from distmatch.errors import refused_together


@runtime_checkable
class HasTokenizer(Protocol):
    """A model that isn't loaded yet, such as a `ModelChoice`."""

    def load_tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer, which needs no weights."""


def check_encodable(
    choice: HasTokenizer,
    train: Sequence[Example],
    tests: Mapping[str, Sequence[Example]],
    texts: Sequence[Prompt] = (),
    text_tokens: int = 256,
) -> None:
    """Refuse examples and texts the model's tokenizer can't encode; needs no weights.

    Args:
        choice: Of the model.
        train: Examples to train on.
        tests: Examples to measure on, each with its rotations, by what their rows are called.
        texts: Ordinary ones.
        text_tokens: Where each of them is cut.

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
    steps = [
        lambda rows=rows, what=what: encoder.encode_all(rows, what) for what, rows in named.items()
    ]
    refused_together([*steps, lambda: encoder.encode_texts(texts, text_tokens)])


def _context(source: str) -> int | None:
    """The most tokens the model takes; None where its config doesn't say."""
    try:
        config = AutoConfig.from_pretrained(source).get_text_config()
    except (OSError, ValueError):  # what is wrong is said when the model is loaded
        return None
    return getattr(config, "max_position_embeddings", None)
