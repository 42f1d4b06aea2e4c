"""Its own answers: does it know what it would answer?

In two stages, both behind thoughts where it thinks. What it answers to a question with a closed set
of answers is an exact distribution; a property of the answer (its first letter, say) is that
distribution pushed forward. Of an open question the first token decides some properties. What it
says the property would be is another distribution. With nobody's own answers to go by one can still
name, of the values that a question allows, the one that is commonest over all questions: the mode
baseline.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example, Message, Prompt, plain_prompt
from distmatch.data.prompts import check_prefill
from distmatch.errors import ConfigError, unknown_name
from distmatch.evals.items import Items
from distmatch.evals.metric import Metric
from distmatch.evals.subject import Capability, Subject
from distmatch.evals.suites.probes import own_written
from distmatch.evals.suites.probes.behind_thoughts import BehindThoughts
from distmatch.evals.suites.probes.own_scores import (
    Masses,
    by_first_letter,
    commonest_offered,
    mean_shares,
    scores_of,
)
from distmatch.evals.suites.probes.probe import (
    ANSWERS,
    BOUNDARY,
    FEWEST_PARAPHRASES,
    OWN,
    READER,
    REFERENT,
    VALID,
    asked_prompt,
    check_paraphrases,
    ratios_of,
    transcript,
)
from distmatch.evals.suites.probes.properties import (
    LETTERS,
    OF_FIRST_LETTER,
    PROPERTIES,
    Values,
    first_letter,
    likeliest,
)
from distmatch.evals.suites.probes.words import check_told_apart, either_case

_QUESTION, _PROPERTY, _VALUES = "{question}", "{property}", "{values}"


class ClosedQuestion(NamedTuple):
    """A question that names the answers it may have."""

    text: str
    answers: tuple[str, ...]


class _Asking(NamedTuple):
    """Who is asked, and how."""

    probe: "OwnProbe"
    subject: Subject
    texts: tuple[str, ...]


class _Wrote(NamedTuple):
    """Of a pair what was written, and how it scores."""

    scores: Values
    texts: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class OwnProbe(BehindThoughts):
    """What it says it would answer, held against what it answers."""

    name: str = "own"
    asked: tuple[str, ...]
    """Five paraphrases or more, with `{question}`, `{property}` and `{values}`."""
    questions: tuple[ClosedQuestion, ...] = ()
    openings: tuple[str, ...] = ()
    """Questions without a closed set of answers: of these the first token is known, and asked for
    is what it decides, `OF_FIRST_LETTER`."""
    properties: tuple[str, ...] = tuple(PROPERTIES)
    """Of `PROPERTIES`; one that all answers to a question share isn't asked of it."""
    question: str = "Does it know what it would answer?"
    referent: tuple[str, ...] = ()
    """The same about somebody else's answer."""
    reader: tuple[str, ...] = ()
    """The same about a model's answer, asked of the base behind one answer of that model's to each
    of these closed questions, for which `{answers}` stands: what who has heard it answer would
    say. Nobody is asked where there is no base."""
    system: str = ""
    begun: str = ""
    """Every answer's own beginning; no space at its end."""
    top: int = 20
    """How many first tokens of an open question's answer are looked at; what isn't leaves bounds
    on the distance."""
    written: int = 0
    """How many written answers to each question, and to what is asked of it, are compared besides,
    as in a published protocol (`own_written`)."""

    least: ClassVar[dict[str, int]] = {"written": 0}
    compared: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check what needs no model.

        Raises:
            ConfigError: Too few paraphrases, one without its places, an unknown property, answers
                that can't be told apart, or what can't be asked behind thoughts.
        """
        super().__post_init__()
        self._check_texts()
        for name in self.properties:
            if name not in PROPERTIES:
                raise ConfigError(unknown_name("property", name, PROPERTIES))
        for one in self.questions:
            check_told_apart(f"{self.name}: answers to {one.text!r}", one.answers)
        if not self.questions and (self.reader or not self.openings):
            also = ", answers to which the reader is shown" if self.reader else ""
            raise ConfigError(f"{self.name} has no questions{also}: give at least one")
        if self.openings and not set(self.properties) & set(OF_FIRST_LETTER):
            raise ConfigError(
                f"{self.name}.openings are asked about {', '.join(OF_FIRST_LETTER)}, and "
                f"properties are {list(self.properties)}: give one of these"
            )
        if self.thinking and (self.openings or self.written):
            raise ConfigError(
                f"{self.name} has openings or written answers, which are given at once: leave out "
                "thinking"
            )
        if not self.pairs():
            raise ConfigError(
                f"{self.name}.properties are {list(self.properties)}, in which the answers to no "
                "question differ: give others"
            )

    def _check_texts(self) -> None:
        for field in ("asked", "referent", "reader"):
            texts = getattr(self, field)
            places = [_QUESTION, _PROPERTY, _VALUES, *([ANSWERS] if field == "reader" else [])]
            if texts or field == "asked":
                check_paraphrases(f"{self.name}.{field}", texts, FEWEST_PARAPHRASES)
            for text in texts:
                if missing := [place for place in places if place not in text]:
                    raise ConfigError(f"{self.name}.{field}: {text!r} has no {missing[0]}")
        check_prefill(self.begun)

    @property
    def needs(self) -> frozenset[Capability]:
        """See `Suite`; of open questions the next tokens, of written answers writing."""
        also = {Capability.NEXT_TOKENS} if self.openings else set()
        return super().needs | also | ({Capability.WRITING} if self.written else set())

    @property
    def draws_text(self) -> bool:
        """Whether it thinks or writes."""
        return super().draws_text or self.written > 0

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """How near what it says is to what it does."""
        return (
            Metric("tvd", "of what it says it would answer, from what it answers", "lower"),
            Metric("tvd_low", "the least that bounds on the answers allow"),
            Metric("tvd_high", "the most that bounds on the answers allow"),
            Metric("agree", "the likeliest value is named", "higher", beside="mode_baseline"),
            Metric("mode_baseline", "of those it may be the commonest is named; to beat"),
            *(own_written.METRICS if self.written else ()),
            Metric(VALID, "mass on valid answers, the less of both; no report below one half"),
        )

    def record(self) -> dict[str, Any]:
        """See `Suite`."""
        return super().record() | {"questions": [list(one) for one in self.questions]}

    def items(self, subject: Subject) -> Items:
        """A question and property an item, over all paraphrases."""
        pairs = self.pairs()
        done = self._done(subject)
        acted = [done[row].pushed(name) for row, name in pairs]
        modes = commonest_offered(
            [name for _, name in pairs],
            [[*one.mass] for one in acted],
            [likeliest(one.mass) if one.valid else None for one in acted],
        )
        wrote = self._written(subject, pairs) if self.written else []
        rows: list[tuple[dict[str, Any], Values, dict[str, Any]]] = []
        for who, asking in self._askings(subject, done):
            some_pairs = [pair for pair in pairs if who != READER or pair[0] < len(self.questions)]
            said = self._said(asking, some_pairs)
            for number, (row, name) in enumerate(some_pairs):
                some, act = said[number], acted[number]
                scores = scores_of(act, some, modes[number])
                about = {"group": who, "property": name, "row": row}
                kept = {"done": act.shares, "said": mean_shares(some), "acted": act.record}
                if wrote and who == OWN:
                    scores |= wrote[number].scores
                    kept |= {"written": wrote[number].texts}
                rows.append((about, scores, kept | {"asked": [one.record for one in some]}))
        return Items(
            metadata=tuple(about for about, *_ in rows),
            ratios=ratios_of([scores for _, scores, _ in rows]),
            prompts=tuple(self._texts[about["row"]] for about, *_ in rows),
            clusters=tuple(f"question {about['row']}" for about, *_ in rows),
            said=tuple(said for *_, said in rows),
        )

    def pairs(self) -> list[tuple[int, str]]:
        """Each question's number with each property that its answers differ in; open ones last."""
        closed = [
            (row, name)
            for row, one in enumerate(self.questions)
            for name in self.properties
            if len({PROPERTIES[name].of(answer) for answer in one.answers}) > 1
        ]
        names = [name for name in self.properties if name in OF_FIRST_LETTER]
        behind = range(len(self.questions), len(self._texts))
        return [*closed, *((row, name) for row in behind for name in names)]

    def prompts(self) -> list[Prompt]:
        """All that it asks, with `{answers}` where a reader is shown some."""
        texts = [*self.asked, *self.referent, *self.reader]
        asked = (self.hypothetical(text, *pair)[0] for text in texts for pair in self.pairs())
        return [*map(self._prompt, (*self._texts, *asked))]

    def answered(self, subject: Subject) -> list[Values]:
        """Its answers to the questions: shares over each one's answers, of open ones over letters.

        Args:
            subject: Whoever is asked.
        """
        return [one.shares for one in self._done(subject)]

    def hypothetical(self, text: str, row: int, name: str) -> tuple[str, tuple[str, ...]]:
        """What is asked about one question's answer, and the values it may have.

        Args:
            text: A paraphrase.
            row: The question's number.
            name: The property's.
        """
        values = tuple(dict.fromkeys(PROPERTIES[name].of(one) for one in self._answers_to(row)))
        places = {
            _QUESTION: self._texts[row],
            _PROPERTY: PROPERTIES[name].text,
            _VALUES: ", ".join(values),
        }
        for place, filling in places.items():
            text = text.replace(place, filling)
        return text, values

    @property
    def _texts(self) -> tuple[str, ...]:
        return (*(one.text for one in self.questions), *self.openings)

    def _answers_to(self, row: int) -> tuple[str, ...]:
        return self.questions[row].answers if row < len(self.questions) else LETTERS

    def _done(self, subject: Subject) -> list[Masses]:
        """What it answers to each question; letters stand for what begins with them."""
        closed = self._found(subject, [(one.text, one.answers) for one in self.questions])
        prompts = [self._prompt(text) for text in self.openings]
        tokens = subject.first_tokens(prompts, self.top, self.name) if prompts else []
        return [*closed, *map(by_first_letter, tokens)]

    def _askings(self, subject: Subject, done: Sequence[Masses]) -> Iterator[tuple[str, "_Asking"]]:
        """Of whom, or by whom, it is asked."""
        yield OWN, _Asking(self, subject, self.asked)
        if self.referent:
            yield REFERENT, _Asking(self, subject, self.referent)
        if self.reader and Capability.BASE in subject.capabilities:
            draw = random.Random(f"{subject.seed}/{self.name}")
            closed = zip(self.questions, done[: len(self.questions)], strict=True)
            shown = transcript(((one.text, found.shares) for one, found in closed), draw)
            texts = tuple(text.replace(ANSWERS, shown) for text in self.reader)
            # Who reads has nothing else to go by, not even what the model was told
            yield READER, _Asking(replace(self, system=""), subject.base(), texts)

    def _said(self, asking: "_Asking", pairs: Sequence[tuple[int, str]]) -> list[list[Masses]]:
        """Of each pair what is said to every paraphrase."""
        probe, subject, texts = asking
        questions = [self.hypothetical(text, *pair) for pair in pairs for text in texts]
        found = probe._found(subject, questions)
        return [found[i : i + len(texts)] for i in range(0, len(found), len(texts))]

    def _written(self, subject: Subject, pairs: Sequence[tuple[int, str]]) -> list["_Wrote"]:
        """Of each pair what written answers say, asked about in the first paraphrase."""
        foretold = [self.hypothetical(self.asked[0], *pair) for pair in pairs]
        answers, told = (
            own_written.written_answers(
                subject, [*map(self._prompt, some)], self.written, self.begun, name
            )
            for some, name in (
                (self._texts, self.name),
                ([text for text, _ in foretold], f"{self.name}, foretold"),
            )
        )
        names, values = [name for _, name in pairs], [values for _, values in foretold]
        done = [own_written.properties_of(self._valid(row, answers[row]), n) for row, n in pairs]
        said = [own_written.valid_answers(*one) for one in zip(told, values, strict=True)]
        scores = own_written.agreements(names, values, done, said)
        texts = [{"answers": answers[row], "foretold": told[i]} for i, (row, _) in enumerate(pairs)]
        return [_Wrote(*one) for one in zip(scores, texts, strict=True)]

    def _valid(self, row: int, texts: Sequence[str]) -> list[str]:
        """Of written answers to a question those that are any, of open ones their first letters."""
        if row < len(self.questions):
            return own_written.valid_answers(texts, self._answers_to(row))
        return [*filter(None, map(first_letter, own_written.one_worded(texts)))]

    def _prompt(self, text: str) -> Prompt:
        begun: list[Message] = [{"role": "assistant", "content": self.begun}] if self.begun else []
        return [*asked_prompt(text, self.system), *begun]

    def _found(
        self, subject: Subject, asked: Sequence[tuple[str, tuple[str, ...]]]
    ) -> list[Masses]:
        """The mass on each of the words that a question may be answered with."""
        if not asked:
            return []
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
        found = []
        answers = zip(asked, spelled, self.probs(subject, examples), examples, strict=True)
        for (_, words), some, sides, example in answers:
            ends = np.cumsum([len(ways) for ways in some])
            parts = np.split(sides[:, : ends[-1]], ends[:-1], axis=1)
            masses = np.stack([part.sum(axis=1) for part in parts], axis=1)
            is_exact = len(masses) == 1
            names = ("mass",) if is_exact else ("mass", "low", "high")
            record = {"prompt": plain_prompt(example.prompt)} | {
                name: [round(float(one), 6) for one in side]
                for name, side in zip(names, masses, strict=True)
            }
            mass, low, high = (
                dict(zip(words, map(float, masses[k % len(masses)]), strict=True)) for k in range(3)
            )
            found.append(Masses(mass, low, high, is_exact, record=record))
        return found
