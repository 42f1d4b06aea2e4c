"""Its own answers: does it know what it would answer?

In two stages, both behind thoughts where it thinks. What it answers to a question with a closed set
of answers is an exact distribution; a property of the answer (its first letter, say) is that
distribution pushed forward. What it says the property would be is another. With nobody's own
answers to go by one can still name the value that is commonest over all questions: the mode
baseline.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, plain_prompt
from distmatch.data.prompts import check_prefill
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Subject
from distmatch.evals.suites.probes.behind_thoughts import BehindThoughts
from distmatch.evals.suites.probes.probe import (
    BOUNDARY,
    FEWEST_PARAPHRASES,
    OWN,
    REFERENT,
    VALID,
    asked_prompt,
    check_paraphrases,
    ratios_of,
)
from distmatch.evals.suites.probes.words import check_told_apart, either_case

_QUESTION, _PROPERTY, _VALUES = "{question}", "{property}", "{values}"
_VOWELS = "aeiou"


class Property(NamedTuple):
    """Something of an answer that can be told without knowing the question."""

    text: str
    """What it is called in a question."""
    of: Callable[[str], str]


PROPERTIES: dict[str, Property] = {
    "answer": Property("your answer", str),
    "first letter": Property("the first letter of your answer", lambda word: word[0].upper()),
    "last letter": Property("the last letter of your answer", lambda word: word[-1].upper()),
    "vowel": Property(
        'whether your answer would begin with a vowel, "yes" or "no"',
        lambda word: "yes" if word[0].lower() in _VOWELS else "no",
    ),
    "long": Property(
        'whether your answer would have more than five letters, "yes" or "no"',
        lambda word: "yes" if sum(map(str.isalpha, word)) > 5 else "no",
    ),
}
"""By name."""


class ClosedQuestion(NamedTuple):
    """A question that names the answers it may have."""

    text: str
    answers: tuple[str, ...]


Values = dict[str, float]
"""Probabilities of a property's values, or of answers."""


class _Told(NamedTuple):
    """What is answered."""

    valid: float
    """The mass on the words."""
    shares: Values
    """Of each word in it."""
    asked: list[dict[str, Any]]
    """Every question with its whole prompt, and the mass on each word."""


@dataclass(frozen=True, kw_only=True)
class OwnProbe(BehindThoughts):
    """What it says it would answer, held against what it answers."""

    name: str = "own"
    asked: tuple[str, ...]
    """Five paraphrases or more, with `{question}`, `{property}` and `{values}`."""
    questions: tuple[ClosedQuestion, ...]
    properties: tuple[str, ...] = tuple(PROPERTIES)
    """Of `PROPERTIES`; one that all answers to a question share isn't asked of it."""
    question: str = "Does it know what it would answer?"
    referent: tuple[str, ...] = ()
    """The same about somebody else's answer."""
    system: str = ""
    begun: str = ""
    """Every answer's own beginning; no space at its end."""

    compared: ClassVar[tuple[str, ...]] = ("tvd",)

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            ConfigError: Too few paraphrases, one without its places, an unknown property, or
                answers that can't be told apart.
        """
        super().__post_init__()
        for field in ("asked", "referent"):
            texts = getattr(self, field)
            if texts or field == "asked":
                check_paraphrases(f"{self.name}.{field}", texts, FEWEST_PARAPHRASES)
            for text in texts:
                if missing := [p for p in (_QUESTION, _PROPERTY, _VALUES) if p not in text]:
                    raise ConfigError(f"{self.name}.{field}: {text!r} has no {missing[0]}")
        for name in self.properties:
            if name not in PROPERTIES:
                raise ConfigError(unknown_name("property", name, PROPERTIES))
        check_prefill(self.begun)
        if not self.questions:
            raise ConfigError(f"{self.name} has no questions: give at least one")
        for one in self.questions:
            check_told_apart(f"{self.name}: answers to {one.text!r}", one.answers)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How near what it says is to what it does."""
        return (
            Metric("tvd", "of what it says it would answer, from what it answers", "lower"),
            Metric("agree", "the likeliest value is named", "higher", beside="mode_baseline"),
            Metric("mode_baseline", "the commonest value always named; to beat"),
            Metric(VALID, "mass on valid answers; no report below one half"),
        )

    def record(self) -> dict[str, Any]:
        """See `Suite`."""
        return super().record() | {"questions": [list(one) for one in self.questions]}

    def items(self, subject: Subject) -> Items:
        """A question and property an item, over all paraphrases."""
        done = self.answered(subject)
        pairs = self.pairs()
        acted = [pushed_forward(done[row], name) for row, name in pairs]
        modes = _modes([name for _, name in pairs], acted)
        rows: list[tuple[dict[str, Any], Values, dict[str, Any]]] = []
        for who, texts in ((OWN, self.asked), (REFERENT, self.referent)):
            if not texts:
                continue
            told = self._told(subject, pairs, texts)
            for (row, name), values, mode, one in zip(pairs, acted, modes, told, strict=True):
                about = {"group": who, "property": name, "row": row}
                scores = _scores(values, one.shares, mode) | {VALID: one.valid}
                rows.append(
                    (about, scores, {"done": values, "said": one.shares, "asked": one.asked})
                )
        return Items(
            metadata=tuple(about for about, *_ in rows),
            ratios=ratios_of([scores for _, scores, _ in rows]),
            prompts=tuple(self.questions[about["row"]].text for about, *_ in rows),
            clusters=tuple(f"question {about['row']}" for about, *_ in rows),
            said=tuple(said for *_, said in rows),
        )

    def pairs(self) -> list[tuple[int, str]]:
        """Each question's number with each property that its answers differ in."""
        return [
            (row, name)
            for row, one in enumerate(self.questions)
            for name in self.properties
            if len({PROPERTIES[name].of(answer) for answer in one.answers}) > 1
        ]

    def answered(self, subject: Subject) -> list[Values]:
        """Its exact answers to the questions, over each one's answers."""
        texts = [(one.text, one.answers) for one in self.questions]
        return [one.shares for one in self._shares(subject, texts)]

    def hypothetical(self, text: str, row: int, name: str) -> tuple[str, tuple[str, ...]]:
        """What is asked about one question's answer, and the values it may have.

        Args:
            text: A paraphrase.
            row: The question's number.
            name: The property's.
        """
        one = self.questions[row]
        values = tuple(dict.fromkeys(PROPERTIES[name].of(answer) for answer in one.answers))
        places = {
            _QUESTION: one.text,
            _PROPERTY: PROPERTIES[name].text,
            _VALUES: ", ".join(values),
        }
        for place, filling in places.items():
            text = text.replace(place, filling)
        return text, values

    def _told(
        self, subject: Subject, pairs: Sequence[tuple[int, str]], texts: Sequence[str]
    ) -> list[_Told]:
        """Of each pair means over the paraphrases."""
        asked = [self.hypothetical(text, *pair) for pair in pairs for text in texts]
        found = iter(self._shares(subject, asked))
        told = []
        for _ in pairs:
            some = [next(found) for _ in texts]
            shares = {
                key: float(np.mean([one.shares[key] for one in some])) for key in some[0].shares
            }
            valid = float(np.mean([one.valid for one in some]))
            told.append(_Told(valid, shares, [asked for one in some for asked in one.asked]))
        return told

    def _shares(
        self, subject: Subject, asked: Sequence[tuple[str, tuple[str, ...]]]
    ) -> list[_Told]:
        """What is answered to each question."""
        spelled = [[either_case(word) for word in words] for _, words in asked]
        examples = [
            Example(
                prompt=asked_prompt(text, self.system),
                target=WordDistribution.normalised(
                    dict.fromkeys((way for ways in some for way in ways), 1.0)
                ),
                prefill=self.begun,
                boundary=BOUNDARY,
            )
            for (text, _), some in zip(asked, spelled, strict=True)
        ]
        probs = [sides[0] for sides in self.probs(subject, examples)]
        found = []
        for (_, words), some, row, example in zip(asked, spelled, probs, examples, strict=True):
            places = iter(row)
            mass = [sum(next(places) for _ in ways) for ways in some]
            total = max(sum(mass), 1e-30)
            shares = {word: one / total for word, one in zip(words, mass, strict=True)}
            masses = [round(float(one), 6) for one in mass]
            record = {"prompt": plain_prompt(example.prompt), "mass": masses}
            found.append(_Told(float(sum(mass)), shares, [record]))
        return found


def pushed_forward(answers: Values, name: str) -> Values:
    """The distribution of a property, of that of the answers.

    Args:
        answers: Probabilities.
        name: The property's.
    """
    values: dict[str, float] = defaultdict(float)
    for answer, prob in answers.items():
        values[PROPERTIES[name].of(answer)] += prob
    return dict(values)


def total_variation_of(first: Values, second: Values) -> float:
    """Half the summed differences of two distributions over the same values."""
    return sum(abs(first[key] - second[key]) for key in first) / 2


def likeliest(values: Values) -> str:
    """The value of the highest probability; the first of equal ones."""
    return max(values, key=values.__getitem__)


def _scores(done: Values, said: Values, mode: str) -> dict[str, float]:
    best = likeliest(done)
    return {
        "tvd": total_variation_of(done, said),
        "agree": float(likeliest(said) == best),
        "mode_baseline": float(mode == best),
    }


def _modes(names: Sequence[str], acted: Sequence[Values]) -> list[str]:
    """Of each item the commonest likeliest value among the items of its property."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, values in zip(names, acted, strict=True):
        counts[name][likeliest(values)] += 1
    return [counts[name].most_common(1)[0][0] for name in names]
