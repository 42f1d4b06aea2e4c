import math

import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.plots import groups
from tests.plots.drawn import PNG


def test_groups_are_dots_with_their_intervals_beside_the_marks(tmp_path):
    series = {
        "base": {"2 words": (0.5, 0.4, 0.7), "3 words": (math.nan, math.nan, math.nan)},
        "adapted": {"2 words": (0.2, 0.1, 0.3), "3 words": (0.3, 0.3, 0.3)},
    }
    path = tmp_path / "groups.png"
    figure = groups(series, "TVD", marks={"3 words": 0.25}, path=path)
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["2 words", "3 words"]
    drawn = [container.lines[0].get_xdata().tolist() for container in axis.containers]
    assert drawn == [[0.5], [0.2, 0.3]]
    (ends,) = axis.containers[0].lines[2]
    np.testing.assert_allclose(ends.get_segments()[0][:, 0], [0.4, 0.7])
    assert path.read_bytes().startswith(PNG)
    with pytest.raises(DataError, match="no groups to draw"):
        groups({}, "TVD")
