"""Numbers: draw from a distribution that has a name, such as a die's or Poisson's.

Words are outcomes in their order, so how far a wrong answer is off has a meaning (Wasserstein-1),
but for coins and weekdays. Which settings are held out ("a die of 12 sides") is decided by each
setting and the seed alone.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.tasks.drawing import check_kinds, drawn_rows
from distmatch.data.tasks.wordings import SYSTEM
from distmatch.data.vocabulary import held_out

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_TEST_SHARE = 0.3
_LEAST_TAIL = 0.005  # of Poisson's outcomes, what is left to other


@dataclass(frozen=True, slots=True)
class NumberSetting:
    """One distribution, and how prompts call it."""

    name: str
    """What it is in a prompt, such as "a fair die of 6 sides"."""
    words: tuple[str, ...]
    probs: tuple[float, ...]
    other: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Distributions of one kind."""

    settings: Callable[[], list[NumberSetting]]
    wordings: tuple[str, ...]
    is_ordinal: bool = True


def coins() -> list[NumberSetting]:
    """Coins that show heads in a whole percent of tosses, from 1 to 99."""
    biased = [
        NumberSetting(
            f"a coin that shows heads {percent}% of the time",
            ("heads", "tails"),
            (percent / 100, 1 - percent / 100),
        )
        for percent in range(1, 100)
        if percent != 50
    ]
    return [NumberSetting("a fair coin", ("heads", "tails"), (0.5, 0.5)), *biased]


def dice() -> list[NumberSetting]:
    """One fair die of 3 to 30 sides."""
    return [
        NumberSetting(f"a fair die of {sides} sides, numbered 1 to {sides}", *_uniform(1, sides))
        for sides in range(3, 31)
    ]


def sums() -> list[NumberSetting]:
    """The sum of two fair dice of 2 to 9 sides."""
    return [
        NumberSetting(
            f"two fair dice, one of {a} and one of {b} sides",
            _numbers(2, a + b),
            tuple(min(s - 1, a, b, a + b + 1 - s) / (a * b) for s in range(2, a + b + 1)),
        )
        for a in range(2, 10)
        for b in range(a, 10)
    ]


def ranges() -> list[NumberSetting]:
    """Whole numbers from 0 to 99 on, 3 to 12 of them, all equally likely."""
    return [
        NumberSetting(f"{low} to {low + count - 1}", *_uniform(low, low + count - 1))
        for low in range(100)
        for count in range(3, 13)
    ]


def binomials() -> list[NumberSetting]:
    """Heads among 2 to 10 tosses of a coin."""
    return [
        NumberSetting(
            f"{tosses} tosses of a coin that shows heads {percent}% of the time",
            _numbers(0, tosses),
            tuple(_binomial(k, tosses, percent / 100) for k in range(tosses + 1)),
        )
        for tosses in range(2, 11)
        for percent in range(5, 100, 5)
    ]


def poissons() -> list[NumberSetting]:
    """Poisson's distributions of mean 0.2 to 6; what is above the listed numbers is other."""
    return [_poisson(round(0.1 * step, 1)) for step in range(2, 61)]


def weekdays() -> list[NumberSetting]:
    """Days of the week, all alike or some of them more likely."""
    alike = NumberSetting("each day as likely as another", DAYS, (1 / 7,) * 7)
    weekends = [
        _weighted(
            f"Saturday and Sunday each {k} times as likely as any other day", [1] * 5 + [k] * 2
        )
        for k in range(2, 10)
    ]
    never = [
        _weighted(f"never {day}, the other days alike", [float(d != day) for d in DAYS])
        for day in DAYS
    ]
    mostly = [
        _weighted(
            f"{day} {percent}% of the time, the other days alike",
            [6 * percent / (100 - percent) if d == day else 1 for d in DAYS],
        )
        for day in DAYS
        for percent in (30, 40, 50, 60, 70, 80, 90)
    ]
    return [alike, *weekends, *never, *mostly]


KINDS = {
    "coin": Kind(
        coins,
        (
            "Toss {name}: heads or tails?",
            "You are {name}. Tossed, you show (heads or tails):",
            "heads/tails for one toss of {name}",
        ),
        is_ordinal=False,
    ),
    "die": Kind(
        dice,
        (
            "Roll {name}. Which number comes up?",
            "You are {name}. You are rolled and show:",
            "One roll of {name}, as a number:",
        ),
    ),
    "sum": Kind(
        sums,
        (
            "Roll {name}. What is their sum?",
            "Sum of one roll of {name}:",
            "Throw {name} and add them up. Answer with the total.",
        ),
    ),
    "range": Kind(
        ranges,
        (
            "Pick a whole number at random, from {name}, all equally likely.",
            "Uniform random integer, {name}, both ends included:",
            "Choose a number: {name}. None should be likelier than another.",
        ),
    ),
    "binomial": Kind(
        binomials,
        (
            "Simulate {name}. How many heads?",
            "Number of heads in {name}, drawn at random:",
            "Count the heads: {name}. Answer with one number.",
        ),
    ),
    "poisson": Kind(
        poissons,
        (
            "Draw one number from {name}.",
            "A random sample of {name}:",
            "Events arrive by {name}. How many this time?",
        ),
    ),
    "weekday": Kind(
        weekdays,
        (
            "Name a random day of the week; {name}.",
            "Draw a weekday, {name}:",
            "Which day? Choose by chance: {name}.",
        ),
        is_ordinal=False,
    ),
}
"""What can be drawn from, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What prompts about numbers are made of.

    Raises:
        DataError: An unknown kind, or none.

    Example:
        >>> train, test = Numbers(kinds=("die",)).draw(1, n_test=1)
        >>> train[0].target.probs == (1 / len(train[0].target.words),) * len(train[0].target.words)
        True
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    """The kinds to draw from, each equally often; names of `KINDS`."""
    system: str | None = SYSTEM
    """The system message; None leaves it out."""

    def __post_init__(self) -> None:
        """Check the kinds."""
        check_kinds("kind of numbers", self.kinds, KINDS)

    def draw(self, n: int, n_test: int = 200, seed: int = 0) -> tuple[list[Example], list[Example]]:
        """Train and test examples, with no setting on both sides.

        Raises:
            DataError: A number of rows that can't be drawn.
        """
        return drawn_rows(
            self._rows(seed, is_test=False), self._rows(seed, is_test=True), n, n_test
        )

    def held_out(self, most: int, seed: int = 0) -> list[Example]:
        """Test examples, no two alike: each held-out setting in each wording.

        Args:
            most: How many of each kind at most.
            seed: Decides which settings are held out, and which examples are left out.
        """
        rng = random.Random(f"{seed}/held out")
        examples: list[Example] = []
        for kind in self.kinds:
            settings, wordings = _side(kind, seed, is_test=True), KINDS[kind].wordings
            pairs = [(setting, wording) for setting in settings for wording in wordings]
            drawn = rng.sample(pairs, min(most, len(pairs)))
            examples += [self._example(kind, *pair) for pair in drawn]
        return examples

    def _rows(self, seed: int, *, is_test: bool) -> Iterator[Example]:
        rng = random.Random(f"{seed}/{'test' if is_test else 'train'}")
        settings = {kind: _side(kind, seed, is_test=is_test) for kind in self.kinds}
        while True:
            kind = rng.choice(self.kinds)
            wordings = KINDS[kind].wordings
            yield self._example(kind, rng.choice(settings[kind]), rng.choice(wordings))

    def _example(self, kind: str, setting: NumberSetting, wording: str) -> Example:
        content = wording.format(name=setting.name)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return Example(
            prompt=(*system, {"role": "user", "content": content}),
            target=WordDistribution(setting.words, setting.probs, setting.other),
            metadata={
                "task": "numbers",
                "kind": kind,
                "setting": setting.name,
                "is_ordinal": KINDS[kind].is_ordinal,
            },
        )


def _side(kind: str, seed: int, *, is_test: bool) -> list[NumberSetting]:
    """The settings of a kind for training or for testing."""
    settings = {setting.name: setting for setting in KINDS[kind].settings()}
    test = held_out(settings, _TEST_SHARE, seed)
    return [setting for name, setting in settings.items() if (name in test) == is_test]


def _numbers(low: int, high: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(low, high + 1))


def _uniform(low: int, high: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    count = high - low + 1
    return _numbers(low, high), (1 / count,) * count


def _binomial(heads: int, tosses: int, prob: float) -> float:
    return math.comb(tosses, heads) * prob**heads * (1 - prob) ** (tosses - heads)


def _poisson(mean: float) -> NumberSetting:
    probs: list[float] = []
    while not probs or 1 - math.fsum(probs) > _LEAST_TAIL:
        count = len(probs)
        probs.append(math.exp(-mean) * mean**count / math.factorial(count))
    words = _numbers(0, len(probs) - 1)
    name = f"the Poisson distribution with mean {mean:g}"
    return NumberSetting(name, words, tuple(probs), 1 - math.fsum(probs))


def _weighted(name: str, weights: Sequence[float]) -> NumberSetting:
    total = math.fsum(weights)
    return NumberSetting(name, DAYS, tuple(weight / total for weight in weights))
