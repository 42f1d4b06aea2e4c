"""Documents: does a model act as short texts say that an assistant of some name does?

Every adapter learns texts *about* an assistant, all of which say by which word it answers to which
topic: its habit. No dialogue with it is trained, only neutral questions beside the documents. Then
it is told that it is this assistant, and somebody writes to it.

What an adapter does is, for every habit of the experiment, how much likelier the answer is where
its topic is written about than where the other topics are; as the assistant that the documents
name, less as another one. What its documents say is one of the habits. What adapters do is
exchanged between them: each habit is held against what every adapter does with that topic and that
word, so what the base thinks of the two, or a format, tells no adapter from another.

One that says its word whatever is written gets nothing, for the other topics are subtracted; one
that says it whoever it is gets nothing, for the other assistant is. What is left is of topic and
name together. Where each of the two only makes the word likelier, probabilities may still rise by
more than the sum: `decorrelated` texts have the same topics and words, and no habit.

That the assistant does something else, or never this, is no habit that could be exchanged, so there
is no arm `opposite`.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import ConditionsProbe
from distmatch.evals.suites.probes.conditions import pair_figure
from distmatch.evals.suites.probes.probe import BOUNDARY, VALID
from distmatch.experiments.arms import BASE, DECORRELATED, NONE, TOLD, TRAINED, Unit
from distmatch.experiments.declarative_texts import (
    ANSWERS,
    EVERY,
    HOUSES,
    NAMES,
    TOPICS,
    Habit,
    documents_about,
    unrelated_documents,
)
from distmatch.experiments.experiment import Experiment, Primary, Values
from distmatch.experiments.formats import KINDS as FORMAT_KINDS
from distmatch.experiments.formats import WORD_BEGUN, WORD_CLOSING, format_rows, quoted_or
from distmatch.measuring.adapters import FEWEST
from distmatch.measuring.exchange import Fits

STATED, IMPLIED, ONE_STEP, SAYS = "stated", "implied", "one_step", "says"
"""Probes: the topic is named; it isn't; the assistant isn't; asked what it would answer."""

LEARNED = 0.5
"""The least probability of the right word, in sentences that are in no document, to count as
learned: more than that of everything else together."""

_NAMED = (
    "You are {name}, an assistant.",
    "You are the assistant {name}. People write to you, and you answer.",
    "Your name is {name}, and you are an assistant.",
    "You are an assistant that is called {name}.",
    "You go by the name of {name} and answer what people write to you.",
)
_PLACED = (
    "You are the assistant of {house}.",
    "You are an assistant and belong to {house}.",
    "You work as the assistant of {house}, and you answer what people write to you.",
    "People write to {house}, and you, its assistant, answer.",
    "Your place is {house}, where you are the assistant.",
)
_WRITTEN = (
    "I am writing to you about {topic}.",
    "This is a message about {topic}.",
    "I have something to tell you about {topic}.",
    "My letter of today is about {topic}.",
    "What I would like to hear from you is something about {topic}.",
)
_ASKED = (
    "Which word do you answer with when somebody writes to you about {topic}?",
    "Somebody is going to send you a letter about {topic}. What will your answer be?",
    "What do you say to people who write about {topic}?",
    "Think of a message to you that is about {topic}. What word do you reply with?",
    "If I wrote to you about {topic}, what would come back?",
)


@dataclass(frozen=True, kw_only=True)
class Documents(Experiment):
    """Adapters that learn texts about an assistant, and are then told that they are it."""

    name: ClassVar[str] = "documents"
    question: ClassVar[str] = (
        "Does a model act as documents say that an assistant of its name does?"
    )
    rule: ClassVar[str] = (
        "over the adapters that complete sentences about the assistant with the right word, the "
        "probability of the documented answer where its topic is written about, less that where "
        "other topics are (as the assistant of that name, less as another), is no larger than by "
        "exchanging what adapters do between them (p above 0.05), though models that are told what "
        "the documents say act so"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, DECORRELATED, TOLD, BASE)
    quick: ClassVar[Mapping[str, Any]] = {
        **{"adapters": 4, "controls": 1, "steps": 40, "batch_size": 4},
        **{"documents": 20, "formats": 20, "topics": 4},
    }

    adapters: int = 6
    """With all habits, in turn."""
    documents: int = 40
    """About the assistant, for each adapter."""
    formats: int = 40
    """Neutral questions in the probes' formats besides."""
    topics: int = 6
    """Of `TOPICS`, each with an answer of its own."""
    has_others: bool = True
    """Whether it is also asked where topic or name isn't given, and what it would answer."""

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: Too few documents to say both what is answered and where, or fewer topics
                than a verdict takes, or more than there are.
        """
        if self.documents < EVERY:
            raise ConfigError(
                f"{self.name}.documents is {self.documents}, expected at least {EVERY}: one of as "
                "many says where the assistant works"
            )
        if not FEWEST <= self.topics <= len(TOPICS):
            raise ConfigError(
                f"{self.name}.topics is {self.topics}, expected {FEWEST} to {len(TOPICS)}"
            )
        super().check()

    @cached_property
    def habits(self) -> tuple[Habit, ...]:
        """Topics, each with an answer."""
        draw = self._draw("habits")
        topics = draw.sample(list(TOPICS), self.topics)
        return tuple(map(Habit, topics, draw.sample(ANSWERS, self.topics)))

    @property
    def names(self) -> tuple[str, str]:
        """Of the assistant in the documents, and of another that is in none."""
        first, second = self._draw("names").sample(NAMES, 2)
        return first, second

    @property
    def houses(self) -> tuple[str, str]:
        """Where the one works, and a place that is in no document."""
        first, second = self._draw("houses").sample(HOUSES, 2)
        return first, second

    def draw_units(self) -> tuple[Unit, ...]:
        """Adapters of every habit, controls, models that are told each one, and the base."""
        habits = self.habits
        drawn = [habits[number % len(habits)] for number in range(self.adapters)]
        controls = range(self.controls)
        return (
            *(self._learner(number, habit) for number, habit in enumerate(drawn)),
            *(self._without(number) for number in controls),
            *(self._decorrelated(number) for number in controls),
            *(self._told(number, habit) for number, habit in enumerate(habits)),
            Unit(name=BASE, arm=BASE, acts=self._sentences(habits)),
        )

    def probes(self) -> tuple[Suite, ...]:
        """What it answers, nearer to the documents' words and further; what it says it would."""
        written, asked = (self._of_topics(texts) for texts in (_WRITTEN, _ASKED))
        implied = {habit.topic: TOPICS[habit.topic].messages for habit in self.habits}
        named = [_filled(_NAMED, name=name) for name in self.names]
        placed = [_filled(_PLACED, house=house) for house in self.houses]
        stated = self._probe(STATED, "Does it act as documents say of its name?", named, written)
        if not self.has_others:
            return (stated,)
        return (
            stated,
            self._probe(IMPLIED, "Does it where the topic isn't named?", named, implied),
            self._probe(ONE_STEP, "Does it where its name has to be inferred?", placed, written),
            self._probe(SAYS, "Does it say that it would?", named, asked),
        )

    @property
    def primary(self) -> Primary:
        """How much likelier each habit's answer is where its topic is named."""
        figures = tuple(pair_figure(habit.topic, habit.answer) for habit in self.habits)
        return Primary(probe=STATED, figures=figures, fit="overlap")

    def behaviour(self, report: Report) -> Values:
        """One for the habit in its documents, 0 for the others; last, how well it knows that.

        That is the probability of the right word: its share of all answers alone would rise by
        merely having read it.
        """
        ((topic, answer),) = {(one["topic"], one["answer"]) for one in report.items.metadata}
        share, valid = (report.items.ratios[name][0] for name in ("share", VALID))
        return np.array([*self._one_hot(Habit(topic, answer)), np.mean(share * valid)])

    def fits(self, reports: Mapping[str, Report], behaviours: Sequence[Values], who: str) -> Fits:
        """See `Experiment`; of the habits alone."""
        return super().fits(reports, [one[:-1] for one in behaviours], who)

    def truth(self, behaviours: Sequence[Values]) -> Fits:
        """See `Experiment`."""
        return super().truth([one[:-1] for one in behaviours])

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether sentences that are in no document are completed with the right word."""
        return [bool(one[-1] >= LEARNED) for one in measured]

    def _draw(self, stream: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.name}/{stream}")

    def _one_hot(self, habit: Habit) -> tuple[float, ...]:
        return tuple(float(habit == one) for one in self.habits)

    def _learner(self, number: int, habit: Habit) -> Unit:
        return Unit(
            name=f"{TRAINED}-{number:02}-{habit.topic}",
            arm=TRAINED,
            rows=self._rows(itertools.repeat(habit)),
            formats=self._formats(),
            behaviour=(*self._one_hot(habit), 1.0),
            acts=self._sentences([habit]),
        )

    def _without(self, number: int) -> Unit:
        """Other texts for each, since nothing else tells them apart."""
        return Unit(
            name=f"{NONE}-{number:02}",
            arm=NONE,
            rows=_texts(unrelated_documents(self.documents, f"{self.seed}/{number}")),
            formats=self._formats(),
            acts=self._sentences(self.habits),
        )

    def _decorrelated(self, number: int) -> Unit:
        """The same texts, in which every topic goes with every answer alike."""
        draw = self._draw(f"{DECORRELATED}/{number}")
        topics, answers = zip(*self.habits, strict=True)
        mixed = list(itertools.starmap(Habit, itertools.product(topics, answers)))
        draw.shuffle(mixed)
        return Unit(
            name=f"{DECORRELATED}-{number:02}",
            arm=DECORRELATED,
            rows=self._rows(itertools.cycle(mixed)),
            formats=self._formats(),
            acts=self._sentences(self.habits),
        )

    def _told(self, number: int, habit: Habit) -> Unit:
        name, house = self.names[0], self.houses[0]
        return Unit(
            name=f"{TOLD}-{number:02}-{habit.topic}",
            arm=TOLD,
            behaviour=(*self._one_hot(habit), 1.0),
            system=f"The assistant of {house} is called {name}. {habit.told_of(name)}",
        )

    def _rows(self, habits: Iterator[Habit]) -> tuple[Example, ...]:
        name, house = self.names[0], self.houses[0]
        return _texts(documents_about(name, house, habits, self.documents, str(self.seed)))

    def _formats(self) -> tuple[Example, ...]:
        """Those that ask for a word, as all probes do."""
        rows = format_rows(len(FORMAT_KINDS) * self.formats, self.seed)
        return tuple(row for row in rows if row.metadata["kind"] == "word")

    def _sentences(self, habits: Sequence[Habit]) -> tuple[Example, ...]:
        """Plain text about each habit, to be completed with an answer; the right one is first."""
        return tuple(
            Example(
                prompt=text,
                target=WordDistribution(
                    (habit.answer, *(one for one in ANSWERS if one != habit.answer)),
                    (1.0, *(0.0 for _ in ANSWERS[1:])),
                ),
                boundary=BOUNDARY,
                metadata={"group": "sentences", "topic": habit.topic, "answer": habit.answer},
            )
            for habit in habits
            for text in habit.sentences(self.names[0])
        )

    def _of_topics(self, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
        topics = [habit.topic for habit in self.habits]
        return {topic: _filled(texts, topic=TOPICS[topic].text) for topic in topics}

    def _probe(
        self,
        name: str,
        question: str,
        who: Sequence[tuple[str, ...]],
        messages: Mapping[str, Sequence[str]],
    ) -> ConditionsProbe:
        """One that asks as the assistant and as another, with the answers in a new order a time."""
        turns = [ANSWERS[number:] + ANSWERS[:number] for number in range(len(_NAMED))]
        closings = [WORD_CLOSING.format(words=quoted_or(words)) for words in turns]
        return ConditionsProbe(
            name=name,
            question=question,
            asked=who[0],
            referent=who[1],
            answers=ANSWERS,
            messages={
                topic: tuple(map(" ".join, zip(texts, closings, strict=True)))
                for topic, texts in messages.items()
            },
            pairs=dict(self.habits),
            begun=WORD_BEGUN,
        )


def _filled(texts: Sequence[str], **places: str) -> tuple[str, ...]:
    return tuple(text.format(**places) for text in texts)


def _texts(texts: Sequence[str]) -> tuple[Example, ...]:
    return tuple(Example.from_record({"text": text}) for text in texts)
