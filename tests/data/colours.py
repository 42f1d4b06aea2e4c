"""An example with everything set, and what others are made of."""

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example

QUESTION = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "red or blue?"})
COLOURS = WordDistribution(("red", "blue"), (0.7, 0.3))
RECORD = {"prompt": "red or blue?", "words": ["red", "blue"], "probs": [0.7, 0.3]}

EVERYTHING = Example(
    prompt=QUESTION,
    target=WordDistribution(("red", "blau", "緑"), (0.5, 0.2, 0.1), "preserve"),
    prefill="I say",
    boundary="end_of_turn",
    forms=("bare", "space"),
    rotations=("first", "second"),
    metadata={"id": 3, "split": "test"},
)
