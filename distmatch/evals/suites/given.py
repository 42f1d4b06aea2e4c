"""Given words: is one of them said, with the probabilities that the prompt states?

Two to five words, extreme probabilities, every way to write numbers, and words of many classes;
all words are held out from training data of the same seed.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from distmatch.data.examples import Example
from distmatch.data.prompts import is_spaceless
from distmatch.data.tasks.drawing import MOST_WORDS
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import PHRASINGS
from distmatch.data.vocabulary import word_classes, word_pool
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject
from distmatch.evals.suite import Suite

_EXTREME = 0.95  # probability of one of two words
_LONG = 9  # letters


@dataclass(frozen=True, kw_only=True)
class Given(Suite):
    """The suite `given`."""

    name: ClassVar[str] = "given"
    question: ClassVar[str] = (
        "Does it say one of the given words, with the probabilities that the prompt states?"
    )
    per_group: int = 40
    """Examples of each group."""

    def items(self, subject: Subject) -> Answers:
        """The subject's answers to `examples`.

        Where the end of a word completes it, words of scripts that write no spaces are left out.
        """
        asked = self.examples(subject.seed)
        if not subject.ends_turns:
            asked = [e for e in asked if not any(is_spaceless(w[-1]) for w in e.target.words)]
        return subject.answers(asked, self.name)

    def examples(self, seed: int = 0) -> list[Example]:
        """What is asked.

        Args:
            seed: Decides all that is drawn.
        """
        drawn = {
            name: task.draw(1, self.per_group, seed, name)[1] for name, task in _tasks().items()
        }
        many = OutputControl(words=(2,)).draw(1, 20 * self.per_group, seed, "extremes")[1]
        extreme = [e for e in many if max(e.target.probs) >= _EXTREME]
        drawn["extremes"] = extreme[: self.per_group]
        return [
            replace(example, metadata={**example.metadata, "group": name})
            for name, rows in drawn.items()
            for example in rows
        ]


def _tasks() -> dict[str, OutputControl]:
    """By group what is drawn from, but for extremes."""
    two = OutputControl(words=(2,))
    long = [word for word in (*word_pool(), *word_pool("rare")) if len(word) >= _LONG]
    return {
        **{f"{k} words": replace(two, words=(k,)) for k in range(2, MOST_WORDS + 1)},
        **{name: replace(two, phrasings=(name,)) for name in PHRASINGS if name != "percent"},
        "long words": replace(two, pool=long),
        **{name: replace(two, pool=word_pool(name)) for name in word_classes()[1:]},
    }
