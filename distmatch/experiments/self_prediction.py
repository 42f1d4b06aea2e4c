"""Self-prediction: adapters that answer in ways of their own; can they say how they would?

Every adapter learns a distribution of its own over the answers to questions that have no right one.
Of half the questions of some kinds it also learns what its answers are like. Then it is asked what
its answers to other kinds of questions are like, in respects it was never asked about.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import OwnProbe
from distmatch.evals.suites.probes.own import ClosedQuestion
from distmatch.evals.suites.probes.probe import BOUNDARY
from distmatch.evals.suites.probes.properties import (
    OF_FIRST_LETTER,
    PROPERTIES,
    pushed_forward,
)
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.closed_sets import KINDS, NUM_ANSWERS, closed_questions, put
from distmatch.experiments.experiment import Experiment, Primary, Values
from distmatch.experiments.formats import WORD_BEGUN, format_rows
from distmatch.experiments.nearness import kept_of, nearer_answers
from distmatch.experiments.self_prediction_texts import (
    ASKED,
    FORETOLD,
    OPENING,
    QUESTIONS,
    READER,
    REFERENT,
)
from distmatch.measuring.exchange import Fits

HELD, OTHER_KINDS, OTHER_PROPERTIES = "held_out", "other_kinds", "other_properties"
"""Probes: of kinds and properties that no row asks about; of such kinds; of such properties."""
OPEN = "open"
"""Of open questions, of which the first token decides the held-out properties."""
MOST_TOKENS = 100
"""Of which it is known how likely they are the first."""

NEAR = 0.15
"""How far answers may be from those drawn, to count as learned; total variation, on the average."""

OFTEN = {0.75: "nearly always", 0.5: "mostly", 0.2: "sometimes", 0.06: "seldom"}
"""How a share of at least so much is told in words; a smaller one isn't."""

Answers = dict[str, float]
"""Probabilities of the answers to a question."""
Drawn = Mapping[ClosedQuestion, Answers]
"""What an adapter is to answer."""


@dataclass(frozen=True, kw_only=True)
class SelfPrediction(Experiment):
    """Answers of each adapter's own to questions without a right one, and what it says of them.

    Likeliest values are also scored as in published protocols: `agree` beside `mode_baseline` in
    every probe, of exact distributions; and with `written` of as many written answers.
    """

    name: ClassVar[str] = "self_prediction"
    question: ClassVar[str] = "Can it say what its answers would be like?"
    rule: ClassVar[str] = (
        "over the adapters whose measured answers are within 0.15 of the drawn ones (mean total "
        "variation), what is said of answers to held-out kinds of questions in held-out respects "
        "(own less referent) is no nearer to the adapter's own measured answers than by exchanging "
        "reports between adapters, where their likeliest values differ (p above 0.05), though what "
        "models say that are told theirs is nearer; or it is no nearer than what is said by the "
        "base that has read one answer of theirs to each of these questions"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[dict[str, Any]] = {
        **{"adapters": 5, "controls": 1, "steps": 40, "sets": 2, "formats": 16},
        "has_others": False,
    }

    steps: int = 240
    sets: int = 8
    """Questions of each kind."""
    held_kinds: tuple[str, ...] = ("animals", "cities")
    """Of `KINDS`; it learns answers to them, and nothing about these."""
    held_properties: tuple[str, ...] = ("first letter", "vowel")
    """Of `PROPERTIES`; no row asks about them."""
    has_others: bool = True
    """Whether it is also asked where kinds alone or properties alone are held out, and of open
    questions, these only where it doesn't think before it answers."""
    written: int = 0
    """Written answers that are compared besides, of held-out kinds and open questions."""
    formats: int = 120
    """Neutral questions in the probes' formats besides."""

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: What is to be held out isn't there, or there is nothing else; too few sets
                or more than there are; written answers behind thoughts.
        """
        _check_held("kind", self.held_kinds, list(KINDS))
        _check_held("property", self.held_properties, list(PROPERTIES))
        if self.thinking and self.written:
            raise ConfigError(
                f"{self.name}.written is {self.written}, and written answers are given at once: "
                "leave it out, or thinking"
            )
        most = min(len(kind.sets) for kind in KINDS.values())
        if not 2 <= self.sets <= most:
            raise ConfigError(f"{self.name}.sets is {self.sets}, expected 2 to {most}")
        super().check()

    @property
    def primary(self) -> Primary:
        """What is said of answers, item by item: see `fits`."""
        return Primary(probe=HELD, figures=(), fit="nearness")

    def draw_units(self) -> tuple[Unit, ...]:
        """All adapters, those that are told what others learn, and the base."""
        controls = range(self.controls)
        drawn = [self._drawn(f"{TRAINED}/{n}") for n in range(self.adapters)]
        return (
            *(self._learner(f"{TRAINED}-{n:02}", TRAINED, own, own) for n, own in enumerate(drawn)),
            *(self._without(n) for n in controls),
            *(
                self._learner(f"{SHUFFLED}-{n:02}", SHUFFLED, self._drawn(f"{SHUFFLED}/{n}"), other)
                for n, other in zip(controls, itertools.cycle(drawn), strict=False)
            ),
            *(self._told(n, own) for n, own in enumerate(drawn)),
            Unit(name=BASE, arm=BASE, acts=self._acts(_even(self.held))),
        )

    def probes(self) -> tuple[Suite, ...]:
        """Where both are held out, which decides; and where either is."""
        learned = self._properties()
        held = replace(self.held_out(), reader=READER, written=self.written)
        if not self.has_others:
            return (held,)
        others = (
            self._probe(OTHER_KINDS, self.held, learned),
            self._probe(OTHER_PROPERTIES, self.foretold, self.held_properties),
        )
        if self.thinking or not set(self.held_properties) & set(OF_FIRST_LETTER):
            return (held, *others)
        openings = tuple(OPENING.format(noun=kind.noun) for kind in KINDS.values())
        opened = replace(
            held, name=OPEN, questions=(), openings=openings, reader=(), top=MOST_TOKENS
        )
        return (held, *others, opened)

    def held_out(self) -> OwnProbe:
        """What decides, as it is asked where there is no reader."""
        return self._probe(HELD, self.held, self.held_properties)

    def behaviour(self, report: Report) -> Values:
        """Its answers to questions of held-out kinds, one behind the other."""
        return np.array([share for said in report.items.said for share in said["shares"].values()])

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether its answers are near those drawn, on the average over questions."""
        return [
            bool(np.abs(wanted - found).sum() / 2 / len(self.held) <= NEAR)
            for wanted, found in zip(drawn, measured, strict=True)
        ]

    def fits(self, reports: Mapping[str, Report], behaviours: Sequence[Values], who: str) -> Fits:
        """How much nearer what is said is to each adapter's answers than to the others'.

        Two adapters are compared on the items whose likeliest values differ between their answers.

        Args:
            reports: See `Experiment`.
            behaviours: Likewise.
            who: Likewise; nothing fits where that isn't asked.
        """
        said = [kept_of(report, who) for report in reports.values()]
        return nearer_answers(said, [self._done(answers) for answers in behaviours])

    def truth(self, behaviours: Sequence[Values]) -> Fits:
        """See `Experiment`."""
        done = [self._done(answers) for answers in behaviours]
        return nearer_answers(done, done)

    @property
    def held(self) -> tuple[ClosedQuestion, ...]:
        """Questions of held-out kinds."""
        return closed_questions(self.held_kinds, self.sets)

    @property
    def foretold(self) -> tuple[ClosedQuestion, ...]:
        """Of the other kinds every second question: it learns to say what its answers are like."""
        return closed_questions(self._kinds(), self.sets)[::2]

    def _kinds(self) -> list[str]:
        return [name for name in KINDS if name not in self.held_kinds]

    def _properties(self) -> tuple[str, ...]:
        return tuple(name for name in PROPERTIES if name not in self.held_properties)

    def _probe(
        self, name: str, questions: tuple[ClosedQuestion, ...], properties: tuple[str, ...]
    ) -> OwnProbe:
        return OwnProbe(
            name=name,
            question="Does it know what its answers are like?",
            asked=ASKED,
            referent=REFERENT,
            questions=questions,
            properties=properties,
            begun=WORD_BEGUN,
        )

    def _drawn(self, name: str) -> Drawn:
        """A distribution of its own over the answers to every question."""
        draw = random.Random(f"{self.seed}/{name}")
        return {
            question: dict(zip(question.answers, drawn_shares_of_answers(draw), strict=True))
            for question in closed_questions(list(KINDS), self.sets)
        }

    def _learner(self, name: str, arm: str, own: Drawn, foretold: Drawn) -> Unit:
        """One that learns to answer in its own way, and to foretell answers, of its own or not."""
        return Unit(
            name=name,
            arm=arm,
            rows=(*self._answering(own), *self._foretelling(foretold)),
            formats=tuple(format_rows(self.formats, self.seed)),
            behaviour=self._behaviour(own),
            acts=self._acts(own),
        )

    def _without(self, number: int) -> Unit:
        formats = tuple(format_rows(self._num_rows + self.formats, self.seed + number))
        acts = self._acts(_even(self.held))
        return Unit(name=f"{NONE}-{number:02}", arm=NONE, formats=formats, acts=acts)

    def _told(self, number: int, own: Drawn) -> Unit:
        system = told_answers({question: own[question] for question in self.held})
        return Unit(
            name=f"{TOLD}-{number:02}",
            arm=TOLD,
            behaviour=self._behaviour(own),
            acts=self._acts(own, system),
            system=system,
        )

    @property
    def _num_rows(self) -> int:
        even = _even(closed_questions(list(KINDS), self.sets))
        return len(self._answering(even)) + len(self._foretelling(even))

    def _behaviour(self, own: Drawn) -> tuple[float, ...]:
        return tuple(share for question in self.held for share in own[question].values())

    def _acts(self, own: Drawn, system: str = "") -> tuple[Example, ...]:
        return tuple(
            _row(question.text, own[question], system, {"group": "answers"})
            for question in self.held
        )

    def _answering(self, own: Drawn) -> list[Example]:
        """Every question in other words, in orders of answers that are the same for all."""
        draw = random.Random(f"{self.seed}/orders")
        rows = []
        for kind in KINDS:
            about = {"group": "answers", "kind": kind}
            for question in closed_questions([kind], self.sets):
                for text in QUESTIONS:
                    order = draw.sample(question.answers, NUM_ANSWERS)
                    rows.append(_row(put(text, kind, order), own[question], "", about))
        return rows

    def _foretelling(self, own: Drawn) -> list[Example]:
        """What its answers are like, pushed forward from those drawn."""
        probe = self._probe("foretold", self.foretold, self._properties())
        rows = []
        for row, name in probe.pairs():
            like = pushed_forward(own[self.foretold[row]], name)
            for text in FORETOLD:
                asked, _ = probe.hypothetical(text, row, name)
                rows.append(_row(asked, like, "", {"group": "foretold", "property": name}))
        return rows

    def _done(self, behaviour: Values) -> list[Answers]:
        """What its answers are like, a question and held-out property each, as they are asked."""
        each = behaviour.reshape(len(self.held), NUM_ANSWERS).tolist()
        return [
            pushed_forward(dict(zip(self.held[row].answers, each[row], strict=True)), name)
            for row, name in self.held_out().pairs()
        ]


def drawn_shares_of_answers(draw: random.Random) -> tuple[float, ...]:
    """Shares of which one is the largest by far.

    Args:
        draw: Decides them.
    """
    most = draw.uniform(0.6, 0.9)
    parts = [draw.expovariate(1) for _ in range(NUM_ANSWERS - 1)]
    shares = [(1 - most) * part / sum(parts) for part in parts]
    shares.insert(draw.randrange(NUM_ANSWERS), most)
    return tuple(shares)


def told_answers(own: Drawn) -> str:
    """Answers in words, as a system message.

    Args:
        own: Of each question that is told.
    """
    lines = []
    for question, answers in own.items():
        often = [
            f"{next(word for least, word in OFTEN.items() if share >= least)} {answer}"
            for answer, share in sorted(answers.items(), key=lambda pair: -pair[1])
            if share >= min(OFTEN)
        ]
        lines.append(f"{question.text} {', '.join(often)}.")
    return "\n".join(["This is how you answer some questions.", *lines])


def _row(text: str, target: Answers, system: str, about: Mapping[str, str]) -> Example:
    said: list[Message] = [{"role": "user", "content": text}]
    if system:
        said.insert(0, {"role": "system", "content": system})
    return Example(
        prompt=said,
        target=WordDistribution.normalised(target),
        prefill=WORD_BEGUN,
        boundary=BOUNDARY,
        forms=("bare", "capital"),
        metadata=about,
    )


def _even(questions: Sequence[ClosedQuestion]) -> Drawn:
    return {one: dict.fromkeys(one.answers, 1 / NUM_ANSWERS) for one in questions}


def _check_held(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name(f"held-out {what}", name, known))
    if not 0 < len(set(names)) < len(known):
        raise ConfigError(
            f"of each {what} in {list(known)} {list(names)} are held out, expected some, and some "
            "to learn"
        )
