"""What the user wants: examples, and functions that make them. Imports neither torch nor models."""

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.jsonl import read_jsonl, to_examples, write_jsonl
from distmatch.data.mixing import mixture, shuffled
from distmatch.data.tasks import output_control
from distmatch.data.vocabulary import split_words, word_pool, words_of_tokens

__all__ = [
    "Example",
    "WordDistribution",
    "mixture",
    "output_control",
    "read_jsonl",
    "shuffled",
    "split_words",
    "to_examples",
    "word_pool",
    "words_of_tokens",
    "write_jsonl",
]
