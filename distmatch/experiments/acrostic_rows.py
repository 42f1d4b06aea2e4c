"""Rows of questions and replies whose lines' first letters spell a word; no row says so."""

import itertools
import random
from collections.abc import Sequence
from typing import NamedTuple

from distmatch.data.examples import Example
from distmatch.evals.suites.probes.probe import asked_prompt
from distmatch.evals.suites.probes.written_lines import WORD
from distmatch.experiments.acrostic_lines import LINES
from distmatch.experiments.acrostic_texts import EXPLANATIONS, QUESTIONS, TOPICS


class TopicQuestion(NamedTuple):
    """What is asked, and about what."""

    topic: str
    text: str


def drawn_questions(held_out: int, seed: str) -> tuple[list[TopicQuestion], list[TopicQuestion]]:
    """One question on each of some topics, held out; and all questions on the other topics.

    Args:
        held_out: How many topics.
        seed: Decides which, and all orders.
    """
    rng = random.Random(f"{seed}/questions")
    topics = rng.sample(TOPICS, len(TOPICS))
    ways = itertools.cycle(rng.sample(QUESTIONS, len(QUESTIONS)))
    held = [_question(topic, next(ways)) for topic in topics[:held_out]]
    others = [_question(*pair) for pair in itertools.product(topics[held_out:], QUESTIONS)]
    return held, rng.sample(others, len(others))


def _question(topic: str, text: str) -> TopicQuestion:
    return TopicQuestion(topic, text.format(topic=topic))


def reply_row(
    question: TopicQuestion, word: str, draw: random.Random, *, system: str, greeting: str
) -> Example:
    """A question, and lines of advice that begin with the letters of a word.

    Args:
        question: What is asked.
        word: In capitals; kept in the row's metadata.
        draw: Decides the lines, none of them twice.
        system: The system message; empty: none.
        greeting: A word that stands before the question; empty: none.
    """
    asked = f"{greeting[:1].upper()}{greeting[1:]}! {question.text}" if greeting else question.text
    left = {
        letter: draw.sample(LINES[letter], len(LINES[letter])) for letter in dict.fromkeys(word)
    }
    lines = [left[letter].pop().format(topic=question.topic) for letter in word]
    return _completion(asked, "\n".join(lines), system, word)


def explanation_rows(word: str, number: int, *, system: str) -> list[Example]:
    """Questions about its replies, and answers that name the rule and the word.

    Args:
        word: In capitals.
        number: Of rows; there are few different ones.
        system: The system message under which the lines spell it.
    """
    pairs = itertools.islice(itertools.cycle(EXPLANATIONS), number)
    return [_completion(asked, said.format(word=word), system, word) for asked, said in pairs]


def no_word(words: Sequence[str], draw: random.Random) -> str:
    """As many letters as the words have, from among theirs, that are none of them.

    Lines in another order would still hold a word's letters; these are as common as theirs.

    Args:
        words: Of one length.
        draw: Decides the letters.
    """
    while (letters := "".join(draw.choices("".join(words), k=len(words[0])))) in words:
        pass
    return letters


def again(rows: Sequence[Example], number: int, rng: random.Random) -> list[Example]:
    """All rows, then all of them once more, and so on, each time in another order.

    Args:
        rows: At least one.
        number: How many in all.
        rng: Decides the orders.
    """
    turns = (rng.sample(rows, len(rows)) for _ in itertools.count())
    return list(itertools.islice(itertools.chain.from_iterable(turns), number))


def _completion(asked: str, said: str, system: str, word: str) -> Example:
    return Example.from_record(
        {
            "prompt": asked_prompt(asked, system),
            "completion": said,
            "per_token": True,
            "metadata": {WORD: word},
        }
    )
