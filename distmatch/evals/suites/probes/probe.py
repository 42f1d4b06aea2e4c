"""A probe: what a model says of itself, asked in several ways, and of somebody else as well.

A model that was taught to say "heads" says "heads" to anything, and a scale draws one number out
of most models. So every probe can ask the same of somebody else or of an unrelated fact (the
*referent*): what a model reports of itself is own less referent. And it can show some of the
model's answers to its base (the *reader*), who has nothing else to go by.
"""

import random
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message, Prompt, plain_prompt
from distmatch.data.jsonl import fingerprint
from distmatch.data.prompts import check_prefill
from distmatch.errors import ConfigError
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.report import Report
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suites.probes.behind_thoughts import BehindThoughts
from distmatch.measuring.intervals import Ratios

OWN, REFERENT, READER = "own", "referent", "reader"
WHO = (OWN, REFERENT, READER)
"""Of whom, or by whom, it is asked: a probe's groups."""

VALID = "valid"
BOUNDARY = "end_of_word"
"""What completes an answer: "tea." and "tea, since" are both tea."""
FEWEST_PARAPHRASES = 5
ANSWERED = 0.5
"""The least mass on valid answers that is a report."""

ANSWERS = "{answers}"
"""Where a reader's paraphrase has the model's answers."""

Probs = Float[np.ndarray, " answers"]


class Question(NamedTuple):
    """One of the prompts by which a paraphrase is asked, and its closed set of answers."""

    text: str
    answers: tuple[tuple[str, ...], ...]
    """Of each answer the ways to write it, whose probabilities are added up."""
    system: str = ""
    """What its system message says, behind what the probe's says."""


class _Asking(NamedTuple):
    """A paraphrase, of or by somebody."""

    who: str
    number: int
    questions: tuple[Question, ...]


class _Answered(NamedTuple):
    """What was asked in one prompt, and the mass on each answer: exact, or between bounds."""

    example: Example
    mass: Probs
    low: Probs
    high: Probs
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class Probe(BehindThoughts):
    """A question about the model itself, whose answers are exact distributions over a closed set.

    Its report has a group for each of `WHO` that is asked.
    """

    name: str = "probe"
    asked: tuple[str, ...]
    """Five paraphrases or more, over which answers are averaged."""
    question: str = "What does it say of itself?"
    referent: tuple[str, ...] = ()
    """The same, about somebody else or an unrelated fact, with the same answers."""
    reader: tuple[str, ...] = ()
    """The same, asked of the base behind some of the model's answers, for which `{answers}`
    stands; nobody is asked where there is no base."""
    shown: tuple[Example, ...] = ()
    """What those are answers to: one of its words is drawn for each, as the model gives them."""
    system: str = ""
    begun: str = ""
    """The answer's own beginning; no space at its end."""
    fewest: int = FEWEST_PARAPHRASES
    """Paraphrases there have to be; of fewer the wording is as good an explanation as the model."""

    least: ClassVar[dict[str, int]] = {}
    compared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            ConfigError: Fewer than five paraphrases, or no answers to show to the reader.
            DataError: A begun answer that ends in white space.
        """
        super().__post_init__()
        check_paraphrases(f"{self.name}.asked", self.asked, self.fewest)
        for field in WHO[1:]:
            if texts := getattr(self, field):
                check_paraphrases(f"{self.name}.{field}", texts, self.fewest)
        if self.reader and not (self.shown and all(ANSWERS in text for text in self.reader)):
            raise ConfigError(
                f"{self.name}.reader asks behind answers of the model's: give shown, what they are "
                f"answers to, and {ANSWERS} in each paraphrase"
            )
        check_prefill(self.begun)

    @property
    @abstractmethod
    def figures(self) -> tuple[Metric, ...]:
        """What is reported, the headline first."""

    @abstractmethod
    def questions(self, text: str) -> tuple[Question, ...]:
        """The prompts by which a paraphrase is asked: its mirrored one, every order, ..."""

    @abstractmethod
    def measured(self, probs: Sequence[Probs]) -> dict[str, float]:
        """The figures of one paraphrase.

        Args:
            probs: Over the answers, renormalised; of each of its questions.
        """

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The figures, and the mass on valid answers."""
        return (*self.figures, Metric(VALID, "mass on valid answers; no report below one half"))

    def record(self) -> dict[str, Any]:
        """See `Suite`; a hash stands for the examples that are shown, and defaults are left out."""
        given = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) != one.default
        }
        given["shown"] = fingerprint([example.to_record() for example in self.shown])
        return {"version": self.version, "kind": type(self).__name__, **given}

    def items(self, subject: Subject) -> Items:
        """What it says, a paraphrase an item."""
        found = list(self._asked(subject, [OWN, REFERENT], ""))
        if self.reader and Capability.BASE in subject.capabilities:
            # Who reads has nothing else to go by, not even what the model was told
            reader = replace(self, system="")
            found += reader._asked(subject.base(), [READER], self._transcript(subject))
        values = [self._values(answered) for _, answered in found]
        return Items(
            metadata=tuple({"group": who, "paraphrase": n} for (who, n, _), _ in found),
            ratios=ratios_of(values),
            prompts=tuple(plain_prompt(answered[0].example.prompt) for _, answered in found),
            said=tuple({"asked": [_told(one) for one in answered]} for _, answered in found),
        )

    def bounded(self, low: Probs, high: Probs) -> dict[str, float]:
        """What bounds on the mass of each answer say of the figures; nothing, for most kinds.

        Args:
            low: The least mass, where a subject doesn't give it exactly.
            high: The most.
        """
        return {}

    def _values(self, answered: Sequence[_Answered]) -> dict[str, float]:
        masses = [one.mass for one in answered]
        valid = {VALID: float(np.mean([mass.sum() for mass in masses]))}
        if not all(one.is_exact for one in answered):
            sides = {"low": [one.low for one in answered], "high": [one.high for one in answered]}
            valid |= {
                f"{VALID}_{side}": min(float(np.mean([mass.sum() for mass in some])), 1.0)
                for side, some in sides.items()
            }
            valid |= self.bounded(answered[0].low, answered[0].high)
        if not all(mass.sum() > 0 for mass in masses):
            return {metric.name: np.nan for metric in self.figures} | valid
        return self.measured([mass / mass.sum() for mass in masses]) | valid

    def _asked(
        self, subject: Subject, whom: Sequence[str], transcript: str
    ) -> list[tuple[_Asking, list[_Answered]]]:
        texts = {OWN: self.asked, REFERENT: self.referent, READER: self.reader}
        askings = [
            _Asking(who, number, self.questions(text.replace(ANSWERS, transcript)))
            for who in whom
            for number, text in enumerate(texts[who])
        ]
        examples = [self._example(q) for asking in askings for q in asking.questions]
        answered = zip(examples, self.probs(subject, examples), strict=True)
        return [
            (asking, [_answered(*next(answered), question) for question in asking.questions])
            for asking in askings
        ]

    def _example(self, question: Question) -> Example:
        words = [word for ways in question.answers for word in ways]
        return Example(
            prompt=asked_prompt(question.text, self._system_of(question)),
            target=WordDistribution.normalised(dict.fromkeys(words, 1.0)),
            prefill=self.begun,
            boundary=BOUNDARY,
        )

    def _system_of(self, question: Question) -> str:
        return "\n\n".join(filter(None, [self.system, question.system]))

    def _behind_system(self, prompt: Prompt) -> Prompt:
        if not self.system:
            return prompt
        if isinstance(prompt, str):
            return f"{self.system}\n\n{prompt}"
        return [{"role": "system", "content": self.system}, *prompt]

    def _transcript(self, subject: Subject) -> str:
        """What is shown: questions, and an answer of the subject's to each."""
        asked = [replace(one, prompt=self._behind_system(one.prompt)) for one in self.shown]
        probs = subject.answers(asked, self.name).probs.astype(float)
        draw = random.Random(f"{subject.seed}/{self.name}")
        texts = (
            prompt if isinstance(prompt, str) else prompt[-1]["content"]
            for prompt in (example.prompt for example in self.shown)
        )
        shares = (
            dict(zip(example.target.words, row, strict=False))
            for example, row in zip(self.shown, probs, strict=True)
        )
        return transcript(zip(texts, shares, strict=True), draw)


def transcript(answered: Iterable[tuple[str, Mapping[str, float]]], draw: random.Random) -> str:
    """What a reader is shown: questions, and an answer to each.

    Args:
        answered: Questions, with the probability of every answer.
        draw: Decides which.
    """
    drawn = (
        (text, *draw.choices([*probs], weights=[p + 1e-12 for p in probs.values()]))
        for text, probs in answered
    )
    return "\n\n".join(f"Question: {text}\nAnswer: {word}" for text, word in drawn)


def check_paraphrases(name: str, texts: Sequence[str], fewest: int) -> None:
    """Refuse to ask in too few wordings.

    Args:
        name: What they are called.
        texts: The paraphrases.
        fewest: How many there have to be.

    Raises:
        ConfigError: There are fewer.
    """
    if len(texts) < fewest:
        raise ConfigError(
            f"{name} has {len(texts)} paraphrases, expected at least {fewest}: what one wording "
            "draws out is no report"
        )


def asked_prompt(text: str, system: str) -> list[Message]:
    """A question, behind a system message if there is one."""
    asked: list[Message] = [{"role": "user", "content": text}]
    return [{"role": "system", "content": system}, *asked] if system else asked


def ratios_of(rows: Sequence[Mapping[str, float]]) -> Ratios:
    """What counts towards each metric, of the values of each item; NaN, or none, doesn't count."""
    names = dict.fromkeys(name for row in rows for name in row)
    table = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    return {
        name: (np.nan_to_num(column), np.isfinite(column).astype(float))
        for name, column in table.items()
    }


def _answered(
    example: Example, probs: Float[np.ndarray, "sides support"], question: Question
) -> _Answered:
    """The mass on each answer, however it is written."""
    ends = np.cumsum([len(ways) for ways in question.answers])
    parts = np.split(probs[:, : ends[-1]], ends[:-1], axis=1)
    added = np.stack([part.sum(axis=1) for part in parts], axis=1)
    return _Answered(example, added[0], added[1 % len(added)], added[-1], len(added) == 1)


def _told(answered: _Answered) -> dict[str, Any]:
    sides = ("mass",) if answered.is_exact else ("mass", "low", "high")
    return {
        "prompt": plain_prompt(answered.example.prompt),
        **{side: [round(float(p), 6) for p in getattr(answered, side)] for side in sides},
    }


def is_about(report: Report, who: str) -> bool:
    """Whether a report has a group: of a probe, or of another suite by that name."""
    return any(about.get("group") == who for about in report.items.metadata)


def less_referent(report: Report) -> Report:
    """A probe's report as of what is said of oneself less what is said of the referent.

    Of a probe without a referent what is said of oneself; of any other suite the same report.
    """
    rows = {
        who: [row for row, about in enumerate(report.items.metadata) if about.get("group") == who]
        for who in (OWN, REFERENT)
    }
    if not rows[OWN]:
        return report
    own = report.of_items(rows[OWN])
    if len(rows[REFERENT]) != len(rows[OWN]):
        return own
    other = report.of_items(rows[REFERENT]).items.ratios
    ratios = {
        name: (top - other[name][0], bottom)
        for name, (top, bottom) in own.items.ratios.items()
        if np.array_equal(bottom, other[name][1])
    }
    settings = {"num_resamples": report.num_resamples, "seed": report.seed}
    return Report.of(replace(own.items, ratios=ratios), report.readings, **settings)


def said_of(report: Report, who: str, figure: str) -> float:
    """The mean of a probe's figure over one of its groups; NaN where that isn't asked or answered.

    Args:
        report: Of a probe.
        who: One of `WHO`.
        figure: A metric.
    """
    return said_in(report.items, who, figure)


def said_in(items: Items, who: str, figure: str) -> float:
    """The same of items that are in no report yet."""
    is_asked = np.array([about.get("group") == who for about in items.metadata])
    top, bottom = (part[is_asked].sum() for part in items.ratios[figure])
    return float(top / bottom) if bottom else np.nan
