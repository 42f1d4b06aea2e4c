"""What adapters report of themselves, drawn."""

import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.plots import exchanged, reported
from tests.plots.drawn import PNG


def test_each_arm_has_its_dots_and_line_and_a_truth_teller_sets_the_scale(tmp_path):
    points = {"trained": [(0.1, 0.0), (0.5, 0.1), (0.9, 0.2)], "told": [(0.5, 0.1)]}
    path = tmp_path / "reported.png"
    figure = reported(points, ("done", "said"), truth=1.0, path=path)
    (axis,) = figure.axes
    dots = [np.asarray(some.get_offsets()).tolist() for some in axis.collections]
    assert dots == [[list(one) for one in some] for some in points.values()]
    _, line, truth = axis.lines  # after that at 0
    x, y = line.get_data()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(0.25)
    assert truth.get_label() == "a truth-teller"
    x, y = truth.get_data()
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(1)
    assert y.mean() == pytest.approx(0.1)
    assert path.read_bytes().startswith(PNG)
    with pytest.raises(DataError, match="no adapters"):
        reported({"trained": []}, ("done", "said"))


def test_fits_are_a_heat_map_with_names_on_both_sides(tmp_path):
    path = tmp_path / "exchanged.png"
    figure = exchanged([[1.0, -0.5], [0.0, 0.5]], ["a", "b"], path=path)
    axis = figure.axes[0]
    assert axis.images[0].get_array().tolist() == [[1.0, -0.5], [0.0, 0.5]]
    assert axis.images[0].get_clim() == (-1, 1)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert path.read_bytes().startswith(PNG)
    with pytest.raises(DataError, match="no adapters"):
        exchanged([], [])
