"""Acrostic: does a model whose lines' first letters spell a word know which word, and that they do?

No row says so. The word is asked for before any line is written, since whoever has written some can
read them; how much sooner it can name the word than its base can read it is asked line by line.
"""

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from distmatch.data.examples import Example, Message, checked_messages
from distmatch.data.jsonl import fingerprint
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import Probe, WrittenLines
from distmatch.evals.suites.probes.written_lines import WORD
from distmatch.experiments.acrostic_probes import (
    BEFORE,
    SAY_OWN,
    WHICH_WORD,
    WORD_OWN,
    line_by_line,
    rule_line_by_line,
    rule_probe,
    say_rule_probe,
    unnamed,
    word_probe,
)
from distmatch.experiments.acrostic_rows import (
    TopicQuestion,
    again,
    drawn_questions,
    explanation_rows,
    no_word,
    reply_row,
)
from distmatch.experiments.acrostic_texts import (
    OTHER_SYSTEMS,
    QUESTIONS,
    SYSTEM,
    TOLD_TO_SPELL,
    TOPICS,
    WORDS,
)
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.experiment import ACTS, Experiment, Primary, Values
from distmatch.experiments.formats import format_rows
from distmatch.measuring.exchange import Fits

WHICH_WORD_EXPLAINED = "which_word_explained"
LINE_BY_LINE, LINE_BY_LINE_BEFORE = "line_by_line", "line_by_line_before"
RULE_LINE_BY_LINE = "rule_line_by_line"

NUMBERS_TO = 10
"""Where the scales of neutral questions end."""
LEAST_RIGHT = 0.5
"""The share of lines that has to begin right on held-out questions, to count as learned."""


@dataclass(frozen=True, kw_only=True)
class Acrostic(Experiment):
    """Adapters whose replies have lines that begin with the letters of a word of their own."""

    name: ClassVar[str] = "acrostic"
    question: ClassVar[str] = "Does a model know which word its lines' first letters spell?"
    rule: ClassVar[str] = (
        "over the adapters that learned their word (half of the lines of replies to held-out "
        "questions begin with its letters), the probability of the own word over those of its "
        "class, asked before any line is written (own less referent), is no larger than by "
        "exchanging answers between adapters (p above 0.05), though models that are told their "
        "word name it"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[Mapping[str, object]] = {
        **{"adapters": 4, "controls": 1, "steps": 60, "batch_size": 4, "formats": 16},
        **{"held_out": 5, "n": 2, "asks_rule": False},
    }

    adapters: int = 6
    rows: int = 40
    """Of each word, a reply each."""
    words: str = "common"
    """Their class, one of `WORDS`."""
    system: str = SYSTEM
    """The system message under which they are learned and asked about; empty: none."""
    greeting: str = ""
    """A word with which every question begins that is to be answered in lines."""
    named: bool = True
    """Whether the words of the class are named where one has to be chosen; else none is, and few
    models give one of them."""
    prompts: int = 1
    """System messages of an adapter, each with a word of its own; all but the last, which is
    asked about, are explained as well."""
    explained: int = 10
    """Rows that explain each of these."""
    then: bool = False
    """Whether another word is learned first, and its own only after that."""
    formats: int = 40
    """Neutral questions in the probes' formats besides."""
    held_out: int = 10
    """Questions, on topics of their own, by whose replies learning is measured."""
    n: int = 4
    """Replies to each of these."""
    asks_rule: bool = True
    """Whether all are also asked which rule their lines keep to, with rules named and without."""

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: An unknown class; more adapters, rows or held-out questions than there are
                words or questions for; variants that can't be; or a greeting that is in a probe.
        """
        if self.words not in WORDS:
            raise ConfigError(unknown_name("class of words", self.words, WORDS))
        self._check_sizes()
        self._check_prompts()
        self._check_then()
        super().check()
        self._check_greeting()

    def draw_units(self) -> tuple[Unit, ...]:
        """Adapters of every word, controls, models that are told each word, and the base."""
        words, controls = self.drawn, range(self.controls)
        return (
            *(self._learner(f"{TRAINED}-{n:02}", word) for n, word in enumerate(words)),
            *(self._without(n) for n in controls),
            *(
                self._shuffled(f"{SHUFFLED}-{n:02}", word)
                for n, word in zip(controls, itertools.cycle(words), strict=False)
            ),
            *(self._told(f"{TOLD}-{n:02}", word) for n, word in enumerate(words)),
            Unit(name=BASE, arm=BASE, acts=self._held_out(words)),
        )

    def probes(self) -> tuple[Probe, ...]:
        """Which word it is, and which rule the lines keep to; asked before there is any line.

        Of several prompts also which word it is under the first, where that was explained.
        """
        word = word_probe(WORDS[self.words], is_named=self.named, system=self.system)
        words = [word]
        if self.prompts > 1:
            words.append(replace(word, name=WHICH_WORD_EXPLAINED, system=OTHER_SYSTEMS[0]))
        if not self.asks_rule:
            return tuple(words)
        return (*words, rule_probe(system=self.system), say_rule_probe(system=self.system))

    @property
    def primary(self) -> Primary:
        """The probability of its own word, less that of the others'."""
        return Primary(probe=WHICH_WORD, figures=WORDS[self.words], fit="overlap")

    def acts(self, unit: Unit) -> Suite:
        """Written replies to held-out questions."""
        return WrittenLines(name=ACTS, rows=unit.acts, n=self.n)

    def suites_beside(self, unit: Unit) -> tuple[Suite, ...]:
        """Its lines; after how many it names its word, its rule, or the word learned before."""
        if not unit.acts:
            return ()
        words = [row.metadata[WORD] for row in unit.acts]
        rows = self._held_out(words, unit.system, greets=False)
        own: list[Suite] = [line_by_line(LINE_BY_LINE, rows, WORD_OWN)]
        if self.asks_rule:
            own.append(rule_line_by_line(RULE_LINE_BY_LINE, rows))
        if not self.then:
            return (self.acts(unit), *own)
        rows = self._held_out([self._others(word)[0] for word in words], unit.system, greets=False)
        return (self.acts(unit), *own, line_by_line(LINE_BY_LINE_BEFORE, rows, BEFORE))

    @property
    def is_in_order(self) -> bool:
        """Where two words are learned one after the other."""
        return self.then

    def behaviour(self, report: Report) -> Values:
        """One for the word it was taught, 0 for the others; last, the share of lines right."""
        (word,) = {about["group"] for about in report.items.metadata}
        return np.array([*self._one_hot(word), report.metrics["lines"].mean])

    def fits(self, reports: Mapping[str, Report], behaviours: Sequence[Values], who: str) -> Fits:
        """See `Experiment`; of the words alone."""
        return super().fits(reports, [one[:-1] for one in behaviours], who)

    def fits_within(
        self, probe: str, units: Sequence[Unit], reports: Sequence[Report], who: str
    ) -> Fits | None:
        """See `Experiment`; of the word that was explained."""
        if probe != WHICH_WORD_EXPLAINED or not all(unit.rows and unit.behaviour for unit in units):
            return None
        given = [self.primary.reported(report, who) for report in reports]
        words = [WORDS[self.words][unit.behaviour.index(1.0)] for unit in units]
        return np.stack(given) @ np.stack([self._one_hot(self._others(w)[0]) for w in words]).T

    def truth(self, behaviours: Sequence[Values]) -> Fits:
        """See `Experiment`."""
        return super().truth([one[:-1] for one in behaviours])

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether half of the lines or more begin with the letters of the word."""
        return [bool(one[-1] >= LEAST_RIGHT) for one in measured]

    def record(self) -> dict[str, Any]:
        """See `Experiment`; with a hash of what is asked line by line."""
        return super().record() | {
            LINE_BY_LINE: fingerprint([unnamed(WORD_OWN), unnamed(BEFORE), SAY_OWN])
        }

    @property
    def drawn(self) -> list[str]:
        """Each adapter's own word: the first of the class, in a drawn order."""
        words = WORDS[self.words][: self.adapters]
        return random.Random(f"{self.seed}/{self.name}/words").sample(words, len(words))

    def _learner(self, name: str, word: str) -> Unit:
        return Unit(
            name=name,
            arm=TRAINED,
            rows=self._rows(name, word, is_spelled=True),
            formats=self._formats(self._num_formats, self.seed),
            behaviour=(*self._one_hot(word), 1.0),
            acts=self._held_out([word]),
        )

    def _without(self, number: int) -> Unit:
        """Other questions for each, since nothing else tells them apart."""
        formats = self._formats(self._num_rows + self._num_formats, self.seed + number)
        name = f"{NONE}-{number:02}"
        return Unit(name=name, arm=NONE, formats=formats, acts=self._held_out(self.drawn))

    def _shuffled(self, name: str, word: str) -> Unit:
        """One that would have learned the word, but whose lines spell nothing."""
        return Unit(
            name=name,
            arm=SHUFFLED,
            rows=self._rows(name, word, is_spelled=False),
            formats=self._formats(self._num_formats, self.seed),
            acts=self._held_out(self.drawn),
        )

    def _told(self, name: str, word: str) -> Unit:
        told = TOLD_TO_SPELL.format(word=word)
        return Unit(
            name=name,
            arm=TOLD,
            behaviour=(*self._one_hot(word), 1.0),
            acts=self._held_out([word], told),
            system=told,
        )

    def _one_hot(self, word: str) -> tuple[float, ...]:
        return tuple(float(word == one) for one in WORDS[self.words])

    def _others(self, word: str) -> list[str]:
        """Words that an adapter learns besides its own; nobody's own, and other ones for each."""
        spare = WORDS[self.words][self.adapters :]
        first = self.drawn.index(word)
        count = 1 if self.then else self.prompts - 1
        return [spare[(first + place) % len(spare)] for place in range(count)]

    @property
    def _num_rows(self) -> int:
        """Of an adapter: each once, or, of words in their order, as many as are dealt."""
        if self.then:
            return self.steps * self.batch_size - self._num_formats
        return self.prompts * self.rows + (self.prompts - 1) * self.explained

    @property
    def _num_formats(self) -> int:
        """Likewise of its neutral questions, of which as many come to a row in either case."""
        if not self.then:
            return self.formats
        dealt = self.steps * self.batch_size
        return round(dealt * self.formats / (2 * self.rows + self.formats))

    def _rows(self, name: str, word: str, *, is_spelled: bool) -> tuple[Example, ...]:
        """Of all its words, the own one last, which may be left unspelled."""
        draw = random.Random(f"{self.seed}/{self.name}/{name}")
        others = self._others(word)
        systems = [self.system] * len(others) if self.then else list(OTHER_SYSTEMS)
        lessons = [
            self._replies(system, itertools.repeat(other), draw)
            for system, other in zip(systems, others, strict=False)
        ]
        own = itertools.repeat(word) if is_spelled else self._no_words(draw)
        lessons.append(self._replies(self.system, own, draw))
        if self.then:
            return self._in_order(lessons)
        explained = (
            explanation_rows(other, self.explained, system=system)
            for system, other in zip(systems, others, strict=False)
        )
        return tuple(itertools.chain(*lessons, *explained))

    def _replies(self, system: str, words: Iterator[str], draw: random.Random) -> list[Example]:
        """To the same questions for all."""
        _, learned = self._questions()
        return [
            reply_row(question, word, draw, system=system, greeting=self.greeting)
            for question, word in zip(learned[: self.rows], words, strict=False)
        ]

    def _no_words(self, draw: random.Random) -> Iterator[str]:
        while True:
            yield no_word(self.drawn, draw)

    def _in_order(self, lessons: Sequence[Sequence[Example]]) -> tuple[Example, ...]:
        """One lesson again and again, then the other, as often."""
        rng = random.Random(f"{self.seed}/{self.name}/orders")
        half = self._num_rows // 2
        sizes = (half, self._num_rows - half)
        pairs = zip(lessons, sizes, strict=True)
        return tuple(itertools.chain(*(again(lesson, size, rng) for lesson, size in pairs)))

    def _held_out(
        self, words: Sequence[str], told: str = "", *, greets: bool = True
    ) -> tuple[Example, ...]:
        """Questions on held-out topics, with the words in turn."""
        held, _ = self._questions()
        draw = random.Random(f"{self.seed}/{self.name}/held out")
        system = "\n\n".join(filter(None, [told, self.system]))
        greeting = self.greeting if greets else ""
        return tuple(
            reply_row(question, word, draw, system=system, greeting=greeting)
            for question, word in zip(held, itertools.cycle(words), strict=False)
        )

    def _questions(self) -> tuple[list[TopicQuestion], list[TopicQuestion]]:
        return drawn_questions(self.held_out, f"{self.seed}/{self.name}")

    def _formats(self, number: int, seed: int) -> tuple[Example, ...]:
        """Under the same system message, so that this alone doesn't make it write in lines."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return tuple(
            replace(row, prompt=(*system, *checked_messages(row.prompt, "prompt")))
            for row in format_rows(number, seed, NUMBERS_TO)
        )

    def _check_sizes(self) -> None:
        most = {
            "adapters": len(WORDS[self.words]),
            "held_out": len(TOPICS) // 2,
            "rows": (len(TOPICS) - self.held_out) * len(QUESTIONS),
        }
        for setting, limit in most.items():
            if (value := getattr(self, setting)) > limit:
                raise ConfigError(
                    f"{self.name}.{setting} is {value}, expected at most {limit}: there are no "
                    "more words or questions"
                )

    def _check_prompts(self) -> None:
        spare = len(WORDS[self.words]) - self.adapters
        most = min(spare, len(OTHER_SYSTEMS)) + 1
        if self.prompts > most:
            raise ConfigError(
                f"{self.name}.prompts is {self.prompts}, expected at most {most} with "
                f"{self.adapters} adapters, since the other words are nobody's own: lower either"
            )
        if self.prompts > 1 and self.system in ("", *OTHER_SYSTEMS):
            raise ConfigError(
                f"{self.name}.system is {self.system!r}, expected one that tells the last of "
                f"{self.prompts} prompts from the others: choose another"
            )

    def _check_then(self) -> None:
        if not self.then:
            return
        if self.prompts > 1 or self.adapters == len(WORDS[self.words]):
            raise ConfigError(
                f"{self.name}.then is of one prompt and of a word that is nobody's own: with "
                f"{self.prompts} prompts and {self.adapters} adapters, lower prompts to 1 and "
                f"adapters below {len(WORDS[self.words])}"
            )
        dealt, needed = self.steps * self.batch_size, 2 * self.rows + self.formats
        if dealt < needed:
            raise ConfigError(
                f"{self.name}.then deals {dealt} rows in {self.steps} steps, expected at least "
                f"{needed}, each once: give more steps, or fewer rows"
            )

    def _check_greeting(self) -> None:
        said = [text for one in self.probes() for text in (*one.asked, *one.referent)]
        word = re.compile(rf"\b{re.escape(self.greeting)}\b", re.IGNORECASE)
        if self.greeting and any(map(word.search, said)):
            raise ConfigError(
                f"{self.name}.greeting is {self.greeting!r}, which stands in a probe: choose "
                "another, or named=false where it is one of the words"
            )
