"""Distributions with names: right, told apart, and never on both sides."""

import math
from itertools import product

import pytest

from distmatch.data.tasks.numbers import KINDS, Numbers
from distmatch.errors import DataError


def setting(kind, name):
    return next(s for s in KINDS[kind].settings() if s.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_a_distribution_of_its_own(kind):
    settings = KINDS[kind].settings()
    assert len({s.name for s in settings}) == len(settings)
    for s in settings:
        assert math.fsum(s.probs) + s.other == pytest.approx(1, abs=1e-12), s.name
        assert len(set(s.words)) == len(s.words) == len(s.probs)
        assert min(s.probs) >= 0 <= s.other


@pytest.mark.parametrize(("a", "b"), [(6, 6), (2, 9), (3, 4)])
def test_dice_add_up_as_counted(a, b):
    dice = setting("sum", f"two fair dice, one of {a} and one of {b} sides")
    sums = [str(x + y) for x, y in product(range(1, a + 1), range(1, b + 1))]
    assert dict(zip(dice.words, dice.probs, strict=True)) == pytest.approx(
        {total: sums.count(total) / (a * b) for total in set(sums)}
    )


def test_tosses_are_counted_as_every_sequence_of_them():
    tosses = setting("binomial", "4 tosses of a coin that shows heads 30% of the time")
    counted = dict.fromkeys(tosses.words, 0.0)
    for sequence in product((0, 1), repeat=4):
        counted[str(sum(sequence))] += math.prod(0.3 if head else 0.7 for head in sequence)
    assert dict(zip(tosses.words, tosses.probs, strict=True)) == pytest.approx(counted)


def test_poisson_is_the_limit_of_many_unlikely_events():
    poisson = setting("poisson", "the Poisson distribution with mean 2")
    n = 10**6
    limit = [
        math.comb(n, k) * (2 / n) ** k * (1 - 2 / n) ** (n - k) for k in range(len(poisson.probs))
    ]
    assert poisson.probs == pytest.approx(limit, rel=1e-4)
    assert 0 < poisson.other <= 0.005


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("each day as likely as another", [1 / 7] * 7),
        ("Saturday and Sunday each 2 times as likely as any other day", [1 / 9] * 5 + [2 / 9] * 2),
        ("never Tuesday, the other days alike", [1 / 6, 0, *[1 / 6] * 5]),
        ("Sunday 40% of the time, the other days alike", [0.1] * 6 + [0.4]),
    ],
)
def test_weekdays_are_as_their_names_say(name, expected):
    assert setting("weekday", name).probs == pytest.approx(expected)


def test_no_setting_is_on_both_sides_and_all_kinds_are_on_both():
    train, test = Numbers().draw(2000, n_test=500, seed=3)
    sides = [{(e.metadata["kind"], e.metadata["setting"]) for e in rows} for rows in (train, test)]
    assert not sides[0] & sides[1]
    assert [{kind for kind, _ in side} for side in sides] == [set(KINDS)] * 2


def test_prompts_say_what_is_asked():
    example = Numbers(kinds=("die",), system=None).draw(1, seed=1)[0][0]
    (message,) = example.prompt
    assert example.metadata["setting"] in message["content"]
    assert example.metadata["is_ordinal"]


def test_first_rows_do_not_depend_on_their_number():
    assert Numbers().draw(5)[0] == Numbers().draw(9)[0][:5]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [((), "kinds is empty"), (("dice",), 'unknown kind of numbers "dice".*mean "die"')],
)
def test_kinds_that_cannot_be_used_are_refused(kinds, message):
    with pytest.raises(DataError, match=message):
        Numbers(kinds=kinds)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="n is 0"):
        Numbers().draw(0)
