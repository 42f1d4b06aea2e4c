"""Negatives: words and percentages, no request for control, and nothing that is measured with."""

import re

import pytest

from distmatch.data import (
    BroadControl,
    negatives,
    ordinary_texts,
    short_questions,
    split_words,
    word_pool,
)
from distmatch.data.tasks.negatives import (
    HELD_OUT_NEGATIVES,
    HELD_OUT_SHORT,
    NEGATIVES,
    SHORT_QUESTIONS,
)
from distmatch.data.tasks.suppression import facts
from distmatch.errors import DataError
from distmatch.evals.suites.ordinary import FALSE_CONTROL


def contents(prompts):
    return [message["content"] for prompt in prompts for message in prompt]


def as_pattern(form):
    """What a form makes, whatever is filled in."""
    marks = dict.fromkeys("abpq", "MARK")
    text = form.replace("{p:02d}", "{p}").format(**marks)
    return re.compile(re.escape(text).replace("MARK", r"\w+"))


def test_every_form_comes_up_but_those_held_out():
    for draw, forms, apart, num in (
        (negatives, NEGATIVES, HELD_OUT_NEGATIVES, 12),
        (short_questions, SHORT_QUESTIONS, HELD_OUT_SHORT, 20),
    ):
        trained, held_out = draw(2 * num), draw(8, held_out=True)
        assert len(forms) == num + 4 and len(apart) == 4
        for name, form in forms.items():
            matches = as_pattern(form).fullmatch
            counts = [sum(map(bool, map(matches, contents(p)))) for p in (trained, held_out)]
            assert counts == ([0, 2] if name in apart else [2, 0]), name


def test_words_are_of_their_side_and_first_prompts_stay_the_same():
    train, test = split_words(word_pool(), seed=3)
    for held_out, (mine, others) in ((False, (train, test)), (True, (test, train))):
        prompts = negatives(40, seed=3, held_out=held_out)
        assert negatives(7, seed=3, held_out=held_out) == prompts[:7]
        quoted = set(re.findall(r'"(\w+)"', " ".join(contents(prompts))))
        assert quoted & set(mine) and not quoted & set(others)
    assert negatives(7, seed=4) != negatives(7, seed=3)


def test_percents_are_two_that_add_up_where_both_stand():
    for content in contents(negatives(48)):
        numbers = [int(n) for n in re.findall(r"\d+", content) if n not in ("200", "99", "20")]
        assert len(numbers) == 1 or sum(numbers[:2]) == 100, content


def test_nothing_of_what_is_measured_with_is_trained_on():
    measured = [as_pattern(form) for form in FALSE_CONTROL]
    measured += [re.compile(re.escape(fact.question)) for fact in facts()]
    texts = [t for some in ordinary_texts().values() for t in some]
    measured += [
        re.compile(re.escape(content))
        for text in texts
        for content in ([text] if isinstance(text, str) else contents([text]))
    ]
    asked = [*contents(negatives(64)), *contents(short_questions(200))]
    asked += contents(e.prompt for e in BroadControl().draw(500, 0)[0])
    assert len(measured) > 60
    for pattern in measured:
        assert not any(pattern.search(content) for content in asked), pattern
    assert all(as_pattern(f).fullmatch(f.format(a="x", b="y", p=1, q=99)) for f in FALSE_CONTROL)


def test_fewer_than_one_cannot_be_drawn():
    with pytest.raises(DataError, match="n is 0, expected 1 or more negatives"):
        negatives(0)
    with pytest.raises(DataError, match="n is 0, expected 1 or more short questions"):
        short_questions(0)
