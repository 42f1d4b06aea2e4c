"""Given words: is one of them said, with the probabilities that the prompt states?

Two to five words, extreme probabilities, every way to write numbers, and words of many classes;
all words are held out from training data of the same seed.
"""

from dataclasses import replace

from distmatch.data.examples import Example
from distmatch.data.prompts import is_spaceless
from distmatch.data.tasks.output_control import MOST_WORDS, OutputControl
from distmatch.data.tasks.wordings import PHRASINGS
from distmatch.data.vocabulary import word_classes, word_pool
from distmatch.evals.items import Answers
from distmatch.evals.subject import Subject

_PER_GROUP = 40
_EXTREME = 0.95  # probability of one of two words
_LONG = 9  # letters


def measure(subject: Subject) -> Answers:
    """The model's answers to `examples`.

    Where the end of a word completes it, words of scripts that write no spaces are left out.
    """
    asked = examples(subject.seed)
    if not subject.ends_turns:
        asked = [e for e in asked if not any(is_spaceless(w[-1]) for w in e.target.words)]
    return subject.answers(asked, "given")


def examples(seed: int = 0) -> list[Example]:
    """The suite's examples, 40 of each group.

    Args:
        seed: Decides all that is drawn.
    """
    two = OutputControl(words=(2,))
    long = [word for word in (*word_pool(), *word_pool("rare")) if len(word) >= _LONG]
    groups = {
        **{f"{k} words": replace(two, words=(k,)) for k in range(2, MOST_WORDS + 1)},
        **{name: replace(two, phrasings=(name,)) for name in PHRASINGS if name != "percent"},
        "long words": replace(two, pool=long),
        **{name: replace(two, pool=word_pool(name)) for name in word_classes()[1:]},
    }
    drawn = {name: task.draw(1, _PER_GROUP, seed, name)[1] for name, task in groups.items()}
    many = two.draw(1, 20 * _PER_GROUP, seed, "extremes")[1]
    drawn["extremes"] = [e for e in many if max(e.target.probs) >= _EXTREME][:_PER_GROUP]
    return [
        replace(example, metadata={**example.metadata, "group": name})
        for name, rows in drawn.items()
        for example in rows
    ]
