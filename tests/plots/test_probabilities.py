import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.evals import Report
from distmatch.evals.items import Answers
from distmatch.measuring.calibration import Calibration
from distmatch.plots import calibration
from tests.plots.drawn import texts


def answers(slope=0.8, rows=40, other=None):
    """Rows of two and three words, answered exactly with a slope."""
    rng = np.random.default_rng(0)
    asked = np.full((rows, 3), np.nan)
    for row in asked:
        num_words = rng.integers(2, 4)
        row[:num_words] = rng.dirichlet(np.ones(num_words))
    centre = 1 / np.isfinite(asked).sum(1, keepdims=True)
    return Calibration.of(asked, centre + slope * (asked - centre), other)


def test_every_word_is_a_point():
    drawn = answers()
    axis = calibration(drawn).axes[0]
    points = np.asarray(axis.collections[0].get_offsets())
    is_word = np.isfinite(drawn.asked)
    np.testing.assert_allclose(points, np.stack([drawn.asked[is_word], drawn.given[is_word]], 1))


def test_numbers_of_the_drawn_answers_are_written_above():
    text = texts(calibration(answers(slope=0.37, other=np.full(40, 0.25))).axes[0])
    assert "slope 0.37" in text
    assert "other 0.250" in text
    assert "1/2" in text
    assert "1/3" in text


def test_the_tvd_above_is_worked_by_hand():
    drawn = Calibration.of(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.5, 0.5]]))
    assert "TVD 0.200" in texts(calibration(drawn).axes[0])  # (0.1 + 0.3) / 2


def test_means_lie_on_the_line_the_answers_were_made_with():
    rng = np.random.default_rng(1)
    first = rng.random(500)
    asked = np.stack([first, 1 - first], axis=1)
    axis = calibration(Calibration.of(asked, 0.5 + 0.6 * (asked - 0.5))).axes[0]
    x, y = axis.containers[0].lines[0].get_data()
    assert len(x) == 10
    np.testing.assert_allclose(y, 0.5 + 0.6 * (x - 0.5))


def test_reports_are_drawn_side_by_side():
    figure = calibration({"before": answers(0.0), "after": answers(1.0)})
    assert [axis.get_title("left") for axis in figure.axes] == ["before", "after"]
    assert "slope 0.00" in texts(figure.axes[0])
    assert "slope 1.00" in texts(figure.axes[1])


def test_one_example_can_be_drawn():
    calibration(Calibration.of(np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])))


@pytest.mark.parametrize("nothing", [{}, Calibration.of(np.full((3, 2), np.nan), np.ones((3, 2)))])
def test_without_answers_there_is_no_figure(nothing):
    with pytest.raises(DataError, match="to draw"):
        calibration(nothing)


def report(asked, given, ratios, **settings):
    """A report of pairs of words, two examples a cluster."""
    size, words = len(asked), np.stack([asked, 1 - asked], axis=1)
    said = np.stack([given, 1 - given], axis=1)
    zeros = np.zeros((size, 1))
    return Report.of(
        Answers(
            words=(("red", "blue"),) * size,
            metadata=({},) * size,
            clusters=tuple(str(row // 2) for row in range(size)),
            asked=words,
            given=said,
            target=np.concatenate([words, zeros], axis=1),
            probs=np.concatenate([said, zeros], axis=1),
            other=zeros[:, 0],
            ratios=ratios,
        ),
        **settings,
    )


def test_a_reports_bars_are_of_the_resamples_of_its_table():
    asked = np.array([0.41, 0.42, 0.43, 0.44, 0.45, 0.48, 0.77, 0.72])
    given = np.array([0.1, 0.2, 0.9, 0.5, 0.3, 0.7, 0.6, 0.8])
    is_in_bin = (asked < 0.5).astype(float)
    # The words asked for with 0.52 to 0.59 are the others of these, in a bin of their own.
    tabled = {
        "low": (given * is_in_bin, is_in_bin),
        "high": ((1 - given) * is_in_bin, is_in_bin),
    }
    drawn = report(asked, given, tabled, num_resamples=150, seed=7)
    axis = calibration(drawn).axes[0]
    ends = np.array(axis.containers[0].lines[2][0].get_segments())[:, :, 1]
    for name, bar in zip(tabled, ends, strict=True):
        assert list(bar) == pytest.approx(drawn.metrics[name][1:])


def test_the_numbers_above_a_report_are_its_tables():
    asked, ones = np.array([0.2, 0.4, 0.7, 0.9]), np.ones(4)
    told = {"slope": 0.123, "control_tvd": 0.456, "other": 0.789}
    drawn = report(asked, asked, {name: (value * ones, ones) for name, value in told.items()})
    above = texts(calibration(drawn).axes[0])
    assert "slope 0.12" in above and "TVD 0.456" in above and "other 0.789" in above
