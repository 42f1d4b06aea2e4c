"""Sets of examples and their roles."""

import pytest

from distmatch.sweeps.sets import Sets


def test_roles_are_told_by_order_and_name():
    sets = Sets.from_named({"main": 1, "far": 2, "tuning": 3, "wide": 4})
    assert (sets.learned_name, sets.learned, sets.tuning) == ("main", 1, 3)
    assert sets.transfer == {"far": 2, "wide": 4}
    assert list(sets.named().items()) == [("main", 1), ("far", 2), ("wide", 4), ("tuning", 3)]


def test_without_tuning_examples_there_are_none_by_name():
    assert Sets.from_named({"main": 1}).named() == {"main": 1}


def test_what_is_made_of_each_has_its_role():
    sets = Sets.from_named({"main": 1, "far": 2, "tuning": 3})
    made = sets.map(lambda name, value: f"{name} {value}")
    assert made == Sets.from_named({"main": "main 1", "far": "far 2", "tuning": "tuning 3"})


@pytest.mark.parametrize("named", [{}, {"tuning": 1}, {"tuning": 1, "main": 2}])
def test_a_set_is_learned(named):
    with pytest.raises(ValueError):
        Sets.from_named(named)
