"""Introspection: questions about what only the model has at hand.

How it would go on, which of two rules it would follow, of how many tokens a text is: of these the
truth is computed. And which rows it was trained on, and in which order: of these it was drawn.
Facts about invented villages stand in pairs, and every adapter learns one of each pair. Of some
pairs all adapters learn both, each in an order of its own. Nothing but training tells them apart.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from distmatch.data.examples import Example
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals import Report, Suite
from distmatch.evals.suites.probes import PicksProbe, PlacesProbe, TokensProbe
from distmatch.evals.suites.probes.places import Juncture
from distmatch.evals.suites.probes.probe import OWN, said_of
from distmatch.experiments.arms import BASE, NONE, SHUFFLED, TOLD, TRAINED, Unit
from distmatch.experiments.crossroads import (
    MOST_PLACES,
    drawn_conflicts,
    drawn_continuations,
    drawn_gaps,
    drawn_strings,
)
from distmatch.experiments.experiment import Experiment, Primary, Values
from distmatch.experiments.formats import (
    LETTER_BEGUN,
    LETTER_CLOSING,
    NUMBER_BEGUN,
    WORD_BEGUN,
    WORD_CLOSING,
    format_rows,
)
from distmatch.experiments.histories import (
    OTHER_HALF,
    OWN_HALF,
    FactPairs,
    History,
    acts_of,
    drawn_history,
    rows_of,
)
from distmatch.experiments.nearness import DONE, kept_of, nearer_answers
from distmatch.experiments.villages import MOST_VILLAGES, drawn_fact_pairs
from distmatch.experiments.wordings import (
    LAST,
    LIKELIER,
    NEXT_WORD,
    SEEN,
    TOKENS,
    WHICH_RULE,
    WORDINGS,
    Wording,
)
from distmatch.measuring.exchange import Fits

LEARNED = 0.5
"""How much likelier the answers of its own half have to be, among four, than those of the other: of
who knows nothing it is 0, of who knows its half and guesses the other 0.75, so that two thirds of
that have to be there."""


@dataclass(frozen=True, kw_only=True)
class Introspection(Experiment):
    """What adapters say of their rows, of how they go on, and of their tokens."""

    name: ClassVar[str] = "introspection"
    question: ClassVar[str] = "Does a model know what only it has at hand?"
    rule: ClassVar[str] = (
        "over the adapters that learned their half of the facts, what each says about which fact "
        "of a pair it was trained on (own less referent) is no nearer to its own half than by "
        "exchanging answers between adapters, on the pairs in which their halves differ (p above "
        "0.05), though models that are told their rows name them"
    )
    arms: ClassVar[tuple[str, ...]] = (TRAINED, NONE, SHUFFLED, TOLD, BASE)
    quick: ClassVar[dict[str, Any]] = {
        **{"adapters": 4, "controls": 1, "steps": 30, "pairs": 6, "ordered": 2, "formats": 40},
        "kinds": (SEEN, LAST),
    }

    kinds: tuple[str, ...] = tuple(WORDINGS)
    """What is asked, of `WORDINGS`; "seen" decides."""
    pairs: int = 12
    """Of facts, of which each adapter learns one."""
    ordered: int = 6
    """Pairs of facts of which all learn both, one early and one late."""
    places: int = 10
    """At which the model goes on, of each kind."""
    texts: int = 24
    """Whose tokens are to be known."""
    most_tokens: int = 12
    """Where the scale for them ends."""
    other_tokenizer: str = ""
    """Of another model, whose numbers of tokens are held against its own; empty: of none."""
    formats: int = 120
    """Neutral questions in the probes' formats besides."""

    def check(self) -> None:
        """See `Experiment`.

        Raises:
            ConfigError: An unknown kind or none that decides, more pairs or places than there are,
                too few steps for the facts.
            LoadError: There is no such tokenizer.
        """
        for kind in self.kinds:
            if kind not in WORDINGS:
                raise ConfigError(unknown_name("kind of question", kind, WORDINGS))
        if SEEN not in self.kinds:
            raise ConfigError(
                f'{self.name}.kinds are {list(self.kinds)}, expected "{SEEN}" among them, which '
                "decides"
            )
        self._check_sizes()
        super().check()

    def _check_sizes(self) -> None:
        most = MOST_VILLAGES // 2
        if self.pairs + self.ordered > most:
            raise ConfigError(
                f"{self.name}.pairs is {self.pairs} and ordered {self.ordered}, expected at most "
                f"{most} together: so many villages have names"
            )
        if self.places > MOST_PLACES:
            raise ConfigError(
                f"{self.name}.places is {self.places}, expected at most {MOST_PLACES}"
            )
        least = 2 * ((self.pairs + 1) // 2 + self.ordered)
        if self._num_rows < least:
            raise ConfigError(
                f"{self.name}.steps is {self.steps}: with {self.batch_size} rows each they leave "
                f"{self._num_rows} rows besides {self.formats} formats, expected at least {least}, "
                "so that every fact is learned: give more steps, or fewer pairs"
            )

    @property
    def is_in_order(self) -> bool:
        """Always: it is asked what came last."""
        return True

    @property
    def primary(self) -> Primary:
        """What is said of facts, pair by pair: see `fits`."""
        return Primary(probe=SEEN, figures=(), fit="nearness")

    def draw_units(self) -> tuple[Unit, ...]:
        """Adapters that learn their halves, controls, models that are told theirs, and the base."""
        controls = range(self.controls)
        drawn = (self._draw(f"{TRAINED}/{n}") for n in range(self.adapters))
        histories = [drawn_history(*self._facts, draw) for draw in drawn]
        return (
            *(self._learner(n, TRAINED, one) for n, one in enumerate(histories)),
            *(self._without(n) for n in controls),
            *(
                self._learner(n, SHUFFLED, one)
                for n, one in zip(controls, itertools.cycle(histories), strict=False)
            ),
            *(self._told(n, one) for n, one in enumerate(histories)),
            Unit(name=BASE, arm=BASE),
        )

    def probes(self) -> tuple[Suite, ...]:
        """Of each kind one."""
        makers: dict[str, Callable[[], Suite]] = {
            LIKELIER: lambda: self._go_on(LIKELIER, drawn_continuations),
            NEXT_WORD: lambda: self._go_on(NEXT_WORD, drawn_gaps),
            WHICH_RULE: lambda: self._go_on(WHICH_RULE, drawn_conflicts),
            TOKENS: self._tokens,
            SEEN: lambda: self._picks(SEEN, "Which facts does it say it was trained on?"),
            LAST: lambda: self._picks(LAST, "Which facts does it say it was trained on last?"),
        }
        return tuple(makers[kind]() for kind in self.kinds)

    def behaviour(self, report: Report) -> Values:
        """Its half, as drawn; and the shares of the answers of its half, and of the other."""
        half = [about for about in report.items.metadata if about["group"] == OWN_HALF]
        shares = (said_of(report, group, "share") for group in (OWN_HALF, OTHER_HALF))
        return np.array([*(float(about["is_first"]) for about in half), *shares])

    def taught(self, drawn: Sequence[Values], measured: Sequence[Values]) -> list[bool]:
        """Whether the answers of its own half are likelier than those of the other."""
        return [bool(one[-2] - one[-1] >= LEARNED) for one in measured]

    def fits(self, reports: Mapping[str, Report], behaviours: Sequence[Values], who: str) -> Fits:
        """How much nearer what is said is to each adapter's half than to the others'.

        Two adapters are compared on the pairs of which they learned not the same. So 0 is what
        guessing comes to, and 1 the truth.

        Args:
            reports: See `Experiment`.
            behaviours: Likewise; what stands behind the half doesn't count.
            who: Likewise.
        """
        said = [kept_of(report, who) for report in reports.values()]
        return nearer_answers(said, [self._done(one) for one in behaviours])

    def truth(self, behaviours: Sequence[Values]) -> Fits:
        """See `Experiment`."""
        done = [self._done(one) for one in behaviours]
        return nearer_answers(done, done)

    def fits_within(
        self, probe: str, units: Sequence[Unit], reports: Sequence[Report], who: str
    ) -> Fits | None:
        """See `Experiment`: of rows by what each unit was trained on, of places by what it does."""
        if probe in (LIKELIER, NEXT_WORD, WHICH_RULE):
            done = [kept_of(report, OWN, DONE) for report in reports]
        elif probe in (SEEN, LAST) and all(unit.behaviour for unit in units):
            done = [self._done(np.array(unit.behaviour), probe) for unit in units]
        else:
            return None
        return nearer_answers([kept_of(report, who) for report in reports], done)

    def _done(self, behaviour: Values, probe: str = SEEN) -> list[dict[str, float]]:
        """The truth about every pair of a probe."""
        start, end = (0, self.pairs) if probe == SEEN else (self.pairs, len(behaviour))
        return [{"first": value, "second": 1 - value} for value in behaviour[start:end].tolist()]

    @cached_property
    def _facts(self) -> tuple[FactPairs, FactPairs]:
        """Pairs of which one is learned, and of which both are."""
        pairs = drawn_fact_pairs(self.pairs + self.ordered, self._draw("facts"))
        return pairs[: self.pairs], pairs[self.pairs :]

    @property
    def _num_rows(self) -> int:
        """Besides formats, so that all together are learned once, and in their order."""
        return self.steps * self.batch_size - self.formats

    def _learner(self, number: int, arm: str, history: History) -> Unit:
        """Of both arms the first ones have the same prompts in the same order, and so on."""
        draw = self._draw(f"rows/{number}")
        return Unit(
            name=f"{arm}-{number:02}",
            arm=arm,
            rows=rows_of(history, self._num_rows, draw, is_shuffled=arm == SHUFFLED),
            formats=self._formats(self.formats, self.seed),
            behaviour=history.behaviour,
            acts=acts_of(history, self._facts[0], self.seed),
        )

    def _without(self, number: int) -> Unit:
        formats = self._formats(self._num_rows + self.formats, self.seed + number)
        return Unit(name=f"{NONE}-{number:02}", arm=NONE, formats=formats)

    def _told(self, number: int, history: History) -> Unit:
        return Unit(
            name=f"{TOLD}-{number:02}",
            arm=TOLD,
            behaviour=history.behaviour,
            acts=acts_of(history, self._facts[0], self.seed, history.told),
            system=history.told,
        )

    def _formats(self, number: int, seed: int) -> tuple[Example, ...]:
        return tuple(format_rows(number, seed, self.most_tokens))

    def _draw(self, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.name}/{what}")

    def _picks(self, kind: str, question: str) -> PicksProbe:
        pairs = self._facts[kind == LAST]
        return PicksProbe(
            name=kind,
            question=question,
            asked=WORDINGS[kind].asked,
            referent=WORDINGS[kind].referent,
            pairs=tuple((first.row, second.row) for first, second in pairs),
            closing=LETTER_CLOSING,
            begun=LETTER_BEGUN,
        )

    def _go_on(
        self, kind: str, drawn: Callable[[int, random.Random], tuple[Juncture, ...]]
    ) -> PlacesProbe:
        is_lettered = kind != NEXT_WORD
        wording = WORDINGS[kind] if is_lettered else _closed(WORDINGS[kind], WORD_CLOSING)
        return PlacesProbe(
            name=kind,
            asked=wording.asked,
            referent=wording.referent,
            places=drawn(self.places, self._draw(kind)),
            is_chat=kind == WHICH_RULE,
            is_lettered=is_lettered,
            closing=LETTER_CLOSING,
            begun=LETTER_BEGUN if is_lettered else WORD_BEGUN,
        )

    def _tokens(self) -> TokensProbe:
        wording = _closed(WORDINGS[TOKENS], f"Answer with a number from 1 to {self.most_tokens}.")
        return TokensProbe(
            name=TOKENS,
            asked=wording.asked,
            referent=wording.referent,
            texts=drawn_strings(self.texts, self._draw(TOKENS)),
            high=self.most_tokens,
            other_tokenizer=self.other_tokenizer,
            begun=NUMBER_BEGUN,
        )


def _closed(wording: Wording, closing: str) -> Wording:
    """Every paraphrase with what kind of answer is wanted."""
    return Wording(*(tuple(f"{text} {closing}" for text in some) for some in wording))
