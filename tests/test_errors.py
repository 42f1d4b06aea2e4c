"""Errors of many rows: what they hold, and what is read of them."""

import pickle

import pytest

from distmatch.errors import DataError, RefusedRow, RowErrors, converted, renumbered


def refuse_odd(value):
    if value % 2:
        raise DataError(f"{value} is odd,\nrow 0: not this")
    return value


def test_a_row_that_is_refused_is_named_with_its_number_and_reason():
    assert converted([0, 2], refuse_odd, "row") == [0, 2]
    with pytest.raises(RowErrors) as caught:
        converted([0, 1, 2, 5], refuse_odd, "text")
    assert str(caught.value) == (
        "text 1: 1 is odd,\nrow 0: not this\ntext 3: 5 is odd,\nrow 0: not this"
    )
    assert [row.number for row in caught.value.refused] == [1, 3]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_twenty_rows_are_listed_and_the_rest_counted():
    with pytest.raises(RowErrors) as caught:
        converted([1] * 23, lambda _: refuse_odd(1) or "", "row")
    lines = str(caught.value).splitlines()
    assert lines[-1] == "... and 3 more bad records" and lines[-3] == "row 19: 1 is odd,"
    assert len(caught.value.refused) == 23


def test_numbers_are_mapped_and_reasons_are_left_alone():
    with pytest.raises(RowErrors) as caught, renumbered([3, 5, 8], "sample"):
        converted([1, 2, 3], refuse_odd, "row")
    assert str(caught.value) == (
        "sample 3: 1 is odd,\nrow 0: not this\nsample 8: 3 is odd,\nrow 0: not this"
    )


def test_rows_of_another_name_and_other_errors_keep_theirs():
    with (
        pytest.raises(RowErrors, match=r"^rotation 7: bad$"),
        renumbered([3], "sample"),
    ):
        raise RowErrors([RefusedRow("rotation", 7, "bad")])
    with pytest.raises(DataError, match=r"^row 0: a text$"), renumbered([3], "sample"):
        raise DataError("row 0: a text")
