"""Questions as an endpoint is asked them."""

from distmatch.data import Example, WordDistribution
from distmatch.evals.backends.questions import WordQuestion


def question(*words, boundary="end_of_word", **changes):
    example = Example(
        prompt=[{"role": "user", "content": "Say one."}],
        target=WordDistribution.normalised(dict.fromkeys(words, 1.0)),
        boundary=boundary,
        **changes,
    )
    return WordQuestion.of(example, as_text=False)
