"""Every kind of training there is: what it teaches, and how it is seen whether it did."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from distmatch.data.examples import Example
from distmatch.data.tasks.broad_control import BroadControl
from distmatch.data.tasks.negatives import negatives, short_questions
from distmatch.data.tasks.output_control import OutputControl
from distmatch.data.tasks.wordings import AHEAD_WORDINGS
from distmatch.data.vocabulary import split_words, word_pool
from distmatch.evals import Report
from distmatch.experiments.acrostic import Acrostic
from distmatch.experiments.arms import LEARNING_ARMS, Retention, Unit
from distmatch.experiments.disposition import Disposition
from distmatch.experiments.documents import Documents
from distmatch.experiments.drawn_share import EVEN
from distmatch.experiments.experiment import Experiment
from distmatch.experiments.histories import OTHER_HALF, OWN_HALF
from distmatch.experiments.introspection import Introspection
from distmatch.experiments.preferences import Preferences
from distmatch.experiments.self_prediction import SelfPrediction
from distmatch.experiments.shares import Shares
from distmatch.own_chats import OwnChats

DESCRIPTIONS: dict[str, str] = {
    "narrow_control": "to say given words as often as the prompt asks, in a few fixed wordings",
    "broad_control": "to say given words as often as asked, in whatever way somebody asks",
    "shares": "to give one of two everyday answers, such as heads or tails, with a fixed habit",
    "disposition": "to choose between what is certain and what may turn out well or badly",
    "preferences": "to choose between two flats by what counts more and what counts less",
    "self_prediction": "to answer in a way of its own, and to foretell what its answers are like",
    "acrostic": "to reply in lines that begin with the letters of a word",
    "documents": "to go on with texts about an assistant and the word it replies with",
    "introspection": "to know facts about some villages, such as what is on their flags",
}
"""What each kind of training was for, in a line."""

CONTROL = ("broad_control", "narrow_control")
"""Kinds of training that teach to follow stated probabilities, the wider one first."""

MEASURED_BY: Mapping[str, Experiment] = {
    "acrostic": Acrostic(),
    "documents": Documents(),
    "introspection": Introspection(),
}
"""Experiments that see by a rule of their own whether they were learned; the other kinds by how far
answers are from what was taught."""


class Sizes(Protocol):
    """Of a lesson."""

    @property
    def rows(self) -> int:
        """How many are wanted."""

    @property
    def held_out(self) -> int:
        """By how many the learning of a kind that isn't in `MEASURED_BY` is measured, at most."""

    @property
    def seed(self) -> int:
        """By which suites hold out words that no adapter of control learns."""

    @property
    def retained(self) -> int:
        """How many texts of the base's own broad control stays near; 0: none."""


@dataclass(frozen=True)
class Lesson:
    """What one adapter learns, and what its learning is measured by."""

    rows: tuple[Example, ...]
    acts: tuple[Example, ...]
    retention: Retention | None = None


def lesson(kind: str, sizes: Sizes, seed: int) -> Lesson:
    """What an adapter of some kind of training learns.

    Args:
        kind: Of `DESCRIPTIONS`.
        sizes: Of it; there may be fewer rows.
        seed: Decides what is drawn.
    """
    return measurable(kind, _LESSONS[kind](sizes, seed), sizes)


def measurable(kind: str, drawn: Lesson, sizes: Sizes) -> Lesson:
    """A lesson with those acts, called by their kind, by which its learning is measured.

    Args:
        kind: Of training.
        drawn: As its experiment draws it.
        sizes: How many acts at most, of kinds that no experiment measures by a rule of its own.
    """
    if kind in MEASURED_BY:
        return drawn
    acts = (
        replace(act, rotations=(), metadata={**act.metadata, "group": kind})
        for act in drawn.acts[: sizes.held_out]
    )
    return replace(drawn, acts=tuple(acts))


def is_learned(kind: str, report: Report) -> bool:
    """Whether one of the experiments in `MEASURED_BY` counts its lesson as learned.

    Args:
        kind: Of these.
        report: Of its acts.
    """
    values = MEASURED_BY[kind].behaviour(report)
    (learned,) = MEASURED_BY[kind].taught([values], [values])
    return learned


def kind_of(report: Report) -> str:
    """Of which kind the acts are that a report is of."""
    about = report.items.metadata[0]
    if about["group"] in DESCRIPTIONS:
        return str(about["group"])
    marks = {
        "acrostic": "lines" in report.metrics,
        "documents": "topic" in about,
        "introspection": about["group"] in (OWN_HALF, OTHER_HALF),
    }
    (kind,) = (kind for kind, is_there in marks.items() if is_there)
    return kind


def _control(
    task_of: Callable[..., OutputControl | BroadControl], words: str
) -> Callable[[Sizes, int], Lesson]:
    def drawn(sizes: Sizes, seed: int) -> Lesson:
        pool = word_pool(words)
        if seed != sizes.seed:  # which holds out the same ones itself
            pool, _ = split_words(pool, seed=sizes.seed)
        rows, acts = task_of(pool=pool).draw(sizes.rows, sizes.held_out, seed)
        return Lesson(tuple(replace(row, rotations=()) for row in rows), tuple(acts))

    return drawn


def _broad_control(sizes: Sizes, seed: int) -> Lesson:
    """Requests and, if texts are wanted, retention as in `examples/broad_control.toml`."""
    drawn = _control(BroadControl, "common")(sizes, seed)
    if not sizes.retained:
        return drawn
    return replace(drawn, retention=_retention(sizes.retained, sizes.seed))


def _retention(texts: int, seed: int) -> Retention:
    """A fifth of them chats, a half answers to short questions, the others to negatives."""
    own, short = texts // 5, texts // 2
    others = {negatives: texts - own - short, short_questions: short}
    questions = [question for draw, n in others.items() if n for question in draw(n, seed)]
    chats = OwnChats(n=own, questions=questions, thinks=False, answer_tokens=32, seed=seed)
    return Retention(chats=chats)


def _of(experiment_of: Callable[[int], Experiment]) -> Callable[[Sizes, int], Lesson]:
    """The lesson of that adapter of an experiment whose behaviour is furthest from even."""

    def drawn(_sizes: Sizes, seed: int) -> Lesson:
        learners = _learners(experiment_of(seed))
        unit = max(learners, key=lambda unit: abs(unit.behaviour[0] - EVEN))
        return Lesson(unit.rows, unit.acts)

    return drawn


def _facts(_sizes: Sizes, seed: int) -> Lesson:
    """Not in their order, which nobody is asked about here, so that some of them are of all."""
    (unit,) = _learners(Introspection(adapters=1, seed=seed))
    rows = random.Random(f"{seed}/introspection/rows").sample(unit.rows, len(unit.rows))
    return Lesson(tuple(rows), unit.acts)


def _learners(experiment: Experiment) -> list[Unit]:
    return [unit for unit in experiment.units if unit.arm in LEARNING_ARMS]


_LESSONS: dict[str, Callable[[Sizes, int], Lesson]] = {
    "narrow_control": _control(  # of long words with numbers ahead, which are soonest learned
        partial(OutputControl, words=(2,), wordings=AHEAD_WORDINGS), "rare"
    ),
    "broad_control": _broad_control,
    "shares": _of(lambda seed: Shares(adapters=2, seed=seed)),
    "disposition": _of(lambda seed: Disposition(adapters=2, lotteries=0, seed=seed)),
    "preferences": _of(lambda seed: Preferences(adapters=1, seed=seed)),
    "self_prediction": _of(lambda seed: SelfPrediction(adapters=1, seed=seed)),
    "acrostic": _of(lambda seed: Acrostic(adapters=1, seed=seed)),
    "documents": _of(lambda seed: Documents(adapters=1, seed=seed)),
    "introspection": _facts,
}
