"""Rows to choose learning rates by, drawn after those that are reported on."""

import pytest

from distmatch.errors import ConfigError, DataError
from distmatch.sweeps.tuning import spare_rows, unknown_rows
from tests.sweeps.small import examples


def test_enough_rows_are_drawn_to_leave_out_those_that_are_reported_on():
    asked = []
    spare_rows(lambda count: asked.append(count) or [], wanted=3, num_reported=5)
    assert asked == [5 + 8 * 3]


def test_rows_without_number_are_refused():
    with pytest.raises(DataError, match=r"tuning.n_test is 0, expected at least 1"):
        spare_rows(examples, wanted=0, num_reported=5)


def test_the_first_rows_whose_prompts_are_not_known_choose():
    spare = examples(8)
    found = unknown_rows(spare, 3, [spare[:2], [spare[3]]])
    assert found == [spare[2], spare[4], spare[5]]


def test_fewer_rows_than_are_wanted_are_refused():
    spare = examples(4)
    with pytest.raises(ConfigError, match=r"is 3, but of 4 rows drawn for it only 2 have prompts"):
        unknown_rows(spare, 3, [spare[:2]])
