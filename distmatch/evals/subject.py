"""Whatever suites can ask, and what it can do.

A suite asks a `Subject` alone: how a prompt becomes tokens or a request is inside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from distmatch.data.examples import Example, Prompt
from distmatch.errors import ConfigError, DataError
from distmatch.evals.items import Answers
from distmatch.evals.ways import Thought, Way
from distmatch.search import LikelyAnswers


class Capability(Enum):
    """What suites may need of a subject, as messages call it."""

    WORDS = "words' probabilities"
    NEXT_TOKENS = "the likeliest next tokens"
    DISTRIBUTIONS = "whole distributions of next tokens"
    WRITING = "writing"
    THOUGHTS = "going on behind a thought"
    BASE = "being asked without its adapter"
    TOKENS = "exact numbers of its tokens"


IsEnough = Callable[[int, str], bool]
"""Whether no more is needed of what is written: its prompt's number, and the text so far."""


Drift = Mapping[str, tuple[float, float]]
"""Of a text or prompt, how far a model is from its base there: each metric's numerator and
denominator."""


class Written(NamedTuple):
    """What was written after a prompt."""

    prompt: Prompt
    text: str
    ends: tuple[int, ...]
    """Where the text ends before each of its tokens, and after the last."""
    is_cut: bool
    """Whether it was cut off by its length; else it ended, or no more was needed."""
    tokens: tuple[int, ...] = ()
    """Where there is a tokenizer."""


class Subject(ABC):
    """Whatever is asked; it has the methods of its capabilities, and refuses the others."""

    seed: int = 0
    """Of all that is drawn: a suite's held-out words are those of training data of this seed."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """What it can do."""

    @property
    @abstractmethod
    def ends_turns(self) -> bool:
        """Whether the end of a turn completes a word; else the end of the word does."""

    def answers(self, examples: Iterable[Example], name: str) -> Answers:
        """`WORDS`: the probabilities of each example's words.

        Args:
            examples: One or more.
            name: What the progress bar is called, here and below.

        Raises:
            DataError: Examples that can't be asked, each with its number.
        """
        raise self._lacks(Capability.WORDS)

    def first_tokens(
        self, prompts: Sequence[Prompt], k: int, name: str
    ) -> list[list[tuple[str, float]]]:
        """`NEXT_TOKENS`: the likeliest first tokens of an answer to each prompt.

        Args:
            prompts: Texts or messages.
            k: How many of each.
            name: See `answers`.

        Returns:
            Texts and probabilities.
        """
        raise self._lacks(Capability.NEXT_TOKENS)

    def ranks(
        self, spans: Sequence[tuple[Written, int, int]], most: int, name: str
    ) -> list[list[int]]:
        """`NEXT_TOKENS`: how many tokens are likelier than each that was written, at its place.

        Args:
            spans: What was written, and of which of its tokens to ask: the first, and behind the
                last.
            most: It need not be known beyond this number.
            name: See `answers`.
        """
        raise self._lacks(Capability.NEXT_TOKENS)

    def likely_answers(
        self, prompts: Sequence[Prompt], unexplored: float, most_opened: int, name: str
    ) -> list[LikelyAnswers]:
        """`DISTRIBUTIONS`: the likeliest answers to each prompt, whole: see `distmatch.search`."""
        raise self._lacks(Capability.DISTRIBUTIONS)

    def drift(
        self,
        texts: Sequence[Prompt],
        slots: Sequence[Prompt],
        name: str,
        answers: Sequence[Written] = (),
    ) -> list[Drift]:
        """`DISTRIBUTIONS` and `BASE`: how far it is from its base.

        Args:
            texts: After every token of these.
            slots: And where these are answered.
            name: See `answers`.
            answers: And before every token of these, as `write` returned them, and before the end
                of those that weren't cut off.

        Returns:
            Of texts, slots and answers in turn: `kl`, `accuracy` and `base_accuracy`, sums over
            tokens, of slots `kl` and `slot_tvd`.
        """
        raise self._lacks(Capability.DISTRIBUTIONS)

    def write(
        self,
        prompts: Sequence[Prompt],
        max_tokens: Sequence[int],
        is_enough: IsEnough,
        name: str,
    ) -> list[Written]:
        """`WRITING`: what it writes after each prompt at temperature 1, by a seed of its own.

        Args:
            prompts: One that stands there twice is answered twice.
            max_tokens: Where each text is cut off.
            is_enough: Asked every few tokens; may be asked of whole texts alone.
            name: See `answers`.
        """
        raise self._lacks(Capability.WRITING)

    def num_tokens(self, texts: Sequence[str]) -> list[int]:
        """`WRITING`: how many tokens each text takes, or about as many."""
        raise self._lacks(Capability.WRITING)

    def exact_num_tokens(self, texts: Sequence[str]) -> list[int]:
        """`TOKENS`: how many tokens each text takes by itself."""
        raise self._lacks(Capability.TOKENS)

    def ways(self) -> list[Way]:
        """`THOUGHTS`: the ways in which it can be asked with and without a thought."""
        raise self._lacks(Capability.THOUGHTS)

    def think(
        self,
        asked: Sequence[tuple[Way, Example]],
        num_thoughts: int,
        max_tokens: Callable[[Way], int],
        name: str,
    ) -> list[list[Thought]]:
        """`THOUGHTS`: what it thinks about each question, drawn by a seed of its own.

        Args:
            asked: The questions, each as its way asks it.
            num_thoughts: About each; one that is empty where nothing is thought.
            max_tokens: Where a thought is cut off.
            name: See `answers`.
        """
        raise self._lacks(Capability.THOUGHTS)

    def base(self) -> "Subject":
        """`BASE`: itself without its adapter."""
        raise self._lacks(Capability.BASE)

    def _lacks(self, capability: Capability) -> ConfigError:
        return ConfigError(f"{type(self).__name__} can't be asked for {capability.value}")


def checked_examples(examples: Iterable[Example]) -> list[Example]:
    """The examples, if they can be asked.

    Raises:
        DataError: There are none, or some hold upper bounds, which only a base model turns into
            targets; with their numbers.
    """
    examples = list(examples)
    if not examples:
        raise DataError("there are no examples to evaluate: give at least one")
    bounded = [i for i, example in enumerate(examples) if example.target.other == "at_most"]
    if bounded:
        raise DataError(
            f'other is "at_most" in rows {bounded[:10]}, so their targets depend on the base '
            "model: replace them by what distmatch.scoring.resolve_at_most(base, encoder, "
            "examples) returns"
        )
    return examples
