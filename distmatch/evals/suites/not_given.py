"""Words not given: does the model say two rare words of its own choice, as often as asked?

Its likely answers are searched whole; spellings and inflections of a word count as one. Which word
is "the first" only the model knows, so the likelier one is held against the larger number. Whether
it chooses at all is in `same_pair`: a model that always says the same two words has 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from types import ModuleType

import numpy as np

from distmatch.data.examples import plain_prompt
from distmatch.data.tasks.not_given import OwnWords, not_given
from distmatch.data.vocabulary import stem
from distmatch.errors import import_extra
from distmatch.evals.items import Items
from distmatch.evals.subject import LocalModel
from distmatch.scoring import model_encoder
from distmatch.search import LikelyAnswers, distinct_words, likely_answers

_NUM_PROMPTS = 200
_UNEXPLORED = 0.05
_MOST_OPENED = 64
_RARE = (1.0, 3.5)  # log10 of occurrences in a billion words of wordfreq's lists


def check() -> dict[str, str]:
    """What the scores depend on besides the model.

    Raises:
        MissingExtraError: wordfreq, which says how rare a word is, isn't installed.
    """
    import_extra("wordfreq", "words")
    return {"wordfreq": metadata.version("wordfreq")}


def measure(subject: LocalModel) -> Items:
    """The scores of 200 prompts.

    Raises:
        MissingExtraError: wordfreq, which says how rare a word is, isn't installed.
    """
    frequencies = import_extra("wordfreq", "words")
    asked = not_given(_NUM_PROMPTS, subject.seed)
    found = likely_answers(
        subject.model,
        model_encoder(subject.model, subject.tokenizer),
        [question.prompt for question in asked],
        unexplored=_UNEXPLORED,
        most_opened=_MOST_OPENED,
        batch_size=subject.batch_size,
        progress="not_given" if subject.progress else None,
    )
    return scores(asked, found, frequencies)


def scores(
    asked: Sequence[OwnWords], found: Sequence[LikelyAnswers], frequencies: ModuleType
) -> Items:
    """What was asked held against what was found.

    Args:
        asked: The prompts.
        found: The likely answers to each.
        frequencies: wordfreq.
    """
    tops = [two_words(answers.probs) for answers in found]
    larger = np.array([max(question.p, 1 - question.p) for question in asked])
    given = np.array([[prob for _, prob in top] for top in tops])
    kept = np.minimum(given, np.stack([larger, 1 - larger], axis=1)).sum(1)
    pairs = [frozenset(stem(word) for word, _ in top if word) for top in tops]
    counts = Counter(pairs)
    ones = np.ones(len(asked))
    metrics = {
        "tvd": 1 - kept,
        "other": 1 - given.sum(1),
        "policy_tvd": np.abs(larger - np.median(larger)),
        "rare": np.array([all(_is_rare(word, frequencies) for word, _ in top) for top in tops]),
        "same_pair": np.array([counts[pair] - 1 for pair in pairs]) / max(len(asked) - 1, 1),
        "unexplored": np.array([answers.unexplored for answers in found]),
    }
    return Items(
        metadata=tuple(
            {"group": question.wording, "p": question.p, "seed": question.seed}
            for question in asked
        ),
        ratios={name: (values.astype(float), ones) for name, values in metrics.items()},
        prompts=tuple(plain_prompt(question.prompt) for question in asked),
        said=tuple({"first": [*top[0]], "second": [*top[1]]} for top in tops),
    )


def two_words(probs: Mapping[str, float]) -> list[tuple[str, float]]:
    """The two likeliest words and their probabilities, spellings and inflections taken together.

    Args:
        probs: Of whole answers. Where there is no second word, it is empty, of probability 0.
    """
    best = distinct_words(probs)[:2]
    return [*best, *[("", 0.0)] * (2 - len(best))]


def _is_rare(word: str, frequencies: ModuleType) -> bool:
    low, high = _RARE
    return word.isalpha() and low <= frequencies.zipf_frequency(word, "en") < high
