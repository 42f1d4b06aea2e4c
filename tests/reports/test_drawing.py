"""Where numbers stand, and how they are written."""

import math

import pytest

from distmatch.reports import KeyFigure
from distmatch.reports.drawing import colour, dots, fields, ignored, number_text, sort_key, strip
from tests.reports.small import CALIBRATION, LAYERS, NAN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (-0.5, "-0.500"),
        (4884480.0, "4884480"),
        (2.0e13, "2e+13"),
        (0.00012345, "0.000123"),
        (161.57, "161.570"),
        (0.0, "0"),
        (math.inf, "inf"),
        (NAN, "–"),
        ((0.2, 0.1, 0.3), "0.200 [0.100, 0.300]"),
        ((0.2, NAN, NAN), "0.200"),
        ((-0.000257, -0.0041, 0.004), "-0.000 [-0.004, 0.004]"),
        ((0.0002, 0.0001, 0.0003), "0.0002 [0.0001, 0.0003]"),
        ("<b>", "<b>"),
    ],
)
def test_numbers_are_written_with_three_digits_or_what_they_take(value, text):
    assert number_text(value) == text


def test_cells_are_sorted_by_their_mean_and_what_is_missing_by_nothing():
    assert float(sort_key((0.25, 0.1, 0.3))) == 0.25
    assert sort_key(NAN) == sort_key((NAN, NAN, NAN)) == ""
    assert sort_key("tvd") == "tvd"


def test_a_strip_reaches_from_the_least_to_the_most_and_has_0_on_it():
    figure = KeyFigure(
        name="slope",
        reading="",
        values={"before": (-0.5, -1.0, 0.0), "after": 3.0, "lost": NAN},
        marks={"perfect": 1.0, "unknown": NAN},
    )
    line = strip(figure)
    assert (line.low, line.high) == (-1, 3)
    assert list(line.values) == [("before", 12.5, 0, 25), ("after", 100, 100, 100)]
    assert list(line.marks) == [("perfect", 50)]


def test_a_word_without_control_has_no_dot_and_what_is_asked_least_comes_first():
    found = dots(CALIBRATION)
    assert [dot.x for dot in found] == [80, 80, 200, 200, 320, 320]
    assert found[0].heights == {"before": 200, "after": 280}
    assert ignored(CALIBRATION) == [2]


def test_places_without_a_value_are_left_blank_and_others_coloured_by_the_largest():
    report = fields(LAYERS, "report")
    assert [(one.row, one.column, one.text) for one in report] == [
        (0, 0, "-0.250"),
        (2, 0, "0.125"),
    ]
    assert report[0].fill == colour(-1) and report[0].is_dark and not report[1].is_dark


def test_colours_go_from_orange_over_white_to_purple():
    assert (colour(-1), colour(0), colour(1)) == ("#b35806", "#f7f7f7", "#542788")
