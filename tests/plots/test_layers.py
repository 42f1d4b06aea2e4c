import itertools
import math

import numpy as np
import pytest

from distmatch.errors import DataError
from distmatch.plots import layer_curves, layer_maps, layer_ranking
from tests.plots.drawn import PNG, texts

NAN = float("nan")
MAPS = {
    "copying": np.array([[0.1, np.nan], [0.3, -0.2], [0.0, 0.9]]),
    "control": np.array([[0.01, np.nan], [0.02, -0.4], [0.05, 0.03]]),
}


def test_layer_maps_write_every_value_in_its_field():
    figure = layer_maps(MAPS, [0, 3, 6], ["attention", "mlp"])
    for axis, (name, values) in zip(figure.axes, MAPS.items(), strict=False):
        drawn = {text.get_position(): text.get_text() for text in axis.texts if text.get_text()}
        assert drawn == {
            (column, row): f"{value:.3f}"
            for (row, column), value in np.ndenumerate(values)
            if np.isfinite(value)
        }
        assert axis.get_title("left") == name
        assert [label.get_text() for label in axis.get_xticklabels()] == ["attention", "mlp"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "3", "6"]


def test_layer_maps_go_up_and_are_white_at_zero():
    figure = layer_maps(MAPS, [0, 3, 6], ["attention", "mlp"])
    image = figure.axes[1].images[0]
    assert image.origin == "lower"
    assert image.norm.vmin == -image.norm.vmax == pytest.approx(-0.4)


@pytest.mark.parametrize(("one_scale", "tops"), [(True, [4.0, 4.0]), (False, [1.0, 4.0])])
def test_layer_maps_of_one_quantity_share_their_colours(one_scale, tops):
    maps = {"at 0.1": np.array([[1.0, -0.5]]), "at 0.2": np.array([[-4.0, np.nan]])}
    figure = layer_maps(maps, [3], ["attention", "mlp"], one_scale=one_scale)
    assert len(figure.axes) == (3 if one_scale else 4)  # with those of the colours
    norms = [axis.images[0].norm for axis in figure.axes[:2]]
    assert [(norm.vmin, norm.vmax) for norm in norms] == [(-top, top) for top in tops]


def test_layer_maps_name_what_to_hold_them_against():
    figure = layer_maps(MAPS, [0, 3, 6], ["a", "b"], references={"control": {"base": -0.125}})
    assert "base -0.125" in texts(figure.axes[1])
    assert "base" not in texts(figure.axes[0])


def test_a_map_without_numbers_is_left_out():
    references = {"copying": {"base": 0.0, "all": NAN}}
    empty = {**MAPS, "control": np.full((3, 2), np.nan)}
    figure = layer_maps(empty, [0, 3, 6], ["a", "b"], references=references)
    titles = [axis.get_title("left") for axis in figure.axes]
    assert titles == ["copying", ""]  # the second is of the colours
    assert "nan" not in texts(figure.axes[0])


RANKED = [f"{site}, rank {rank}" for site in ("attention", "mlp") for rank in (8, 16)]


@pytest.mark.parametrize("sites", [["attention", "mlp"], ["attention", "experts", "q"], RANKED])
def test_names_of_sites_do_not_overlap(sites):
    maps = {name: np.ones((3, len(sites))) for name in ("copying", "control")}
    figure = layer_maps(maps, [0, 3, 6], sites)
    figure.draw_without_rendering()
    labels = figure.axes[0].get_xticklabels()
    for first, second in itertools.pairwise(labels):
        if angle := math.radians(first.get_rotation()):  # lines that begin side by side
            boxes = [label.get_window_extent() for label in (first, second)]
            apart = (boxes[1].x1 - boxes[0].x1) * math.sin(angle)
            assert apart > first.get_fontsize() * figure.dpi / 72
        else:
            assert not first.get_window_extent().overlaps(second.get_window_extent())


@pytest.mark.parametrize("nothing", [{}, {"control": np.full((2, 1), np.nan)}])
def test_without_single_blocks_there_is_no_map(nothing):
    with pytest.raises(DataError, match="no layer map to draw"):
        layer_maps(nothing, [0, 1], ["mlp"])


PANELS = {
    "from the bottom": {"mlp": [(2, 0.0, -0.1, 0.1), (4, 0.2, 0.1, 0.3)]},
    "from the top": {
        "attention": [(4, 0.25, 0.2, 0.3)],
        "mlp": [(8, 0.3, 0.25, 0.4), (2, 0.1, NAN, NAN)],
    },
}


def test_layer_curves_are_lines_over_the_number_of_blocks_in_panels():
    figure = layer_curves(PANELS, ("blocks", "control"), levels={"all": 0.35})
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(PANELS)
    for axis, curves in zip(figure.axes, PANELS.values(), strict=True):
        for container, points in zip(axis.containers, curves.values(), strict=True):
            x, y = container.lines[0].get_data()
            assert list(zip(x, y, strict=True)) == [point[:2] for point in sorted(points)]
        assert axis.get_xlabel() == "blocks"
        levels = [line.get_ydata()[0] for line in axis.lines if line.get_label() == "all 0.350"]
        assert levels == [0.35]
    ends = figure.axes[0].containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(np.array(ends)[:, :, 1], [[-0.1, 0.1], [0.1, 0.3]], atol=1e-9)
    assert figure.axes[0].get_ylabel() == "control"


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_a_curve_looks_alike_in_all_panels_and_is_named_once():
    figure = layer_curves(PANELS, ("blocks", "control"))
    bottom, top = (axis.containers for axis in figure.axes)
    assert bottom[0].lines[0].get_color() == top[1].lines[0].get_color()
    assert top[0].lines[0].get_color() != top[1].lines[0].get_color()
    assert sorted(legend_of(figure)) == ["attention", "mlp"]


def test_what_is_not_a_number_is_no_curve():
    some = {"mlp": [(1, 0.5, NAN, NAN), (2, NAN, NAN, NAN)], "q": [(1, NAN, NAN, NAN)]}
    panels = {"bottom": some, "top": {"q": some["q"]}}
    figure = layer_curves(panels, ("blocks", "control"), levels={"all": NAN})
    assert len(figure.axes) == 1
    assert figure.axes[0].containers[0].lines[0].get_xdata().tolist() == [1]
    assert legend_of(figure) == ["mlp"]
    with pytest.raises(DataError, match="no curve to draw"):
        layer_curves({"top": {"q": some["q"]}}, ("blocks", "control"))


def test_no_two_curves_of_a_panel_look_alike():
    curves = {str(name): [(1, 0.0, NAN, NAN), (2, 0.1, NAN, NAN)] for name in range(14)}
    axis = layer_curves({"top": curves}, ("blocks", "control")).axes[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in axis.lines}
    assert len(looks) == 14


def test_numbers_of_blocks_are_whole():
    curve = {"mlp": [(1, 0.0, 0.0, 0.0), (2, 0.1, 0.1, 0.1)]}
    ticks = layer_curves({"top": curve}, ("blocks", "control")).axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks)


def test_without_ranges_there_is_no_curve():
    with pytest.raises(DataError, match="no curve to draw"):
        layer_curves({"top": {}}, ("blocks", "control"))


def test_layer_figures_are_saved(tmp_path):
    layer_maps(MAPS, [0, 3, 6], ["a", "b"], path=tmp_path / "maps.png")
    layer_curves(PANELS, ("blocks", "control"), path=tmp_path / "curves.png")
    for name in ("maps.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_a_ranking_has_the_best_first_beside_its_levels(tmp_path):
    values = {"v": (0.1, 0.0, 0.2), "q": (0.5, NAN, NAN), "o": (NAN, NAN, NAN), "k": (-0.2,) * 3}
    levels = {"base": -0.5, "all": 0.75, "none": NAN}
    figure = layer_ranking(values, "control", levels=levels, path=tmp_path / "ranked.png")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["q", "v", "k"]
    assert axis.containers[0].lines[0].get_xdata().tolist() == [0.5, 0.1, -0.2]
    (ends,) = axis.containers[0].lines[2]
    np.testing.assert_allclose(ends.get_segments()[1][:, 0], [0.0, 0.2], atol=1e-9)
    lines = {line.get_label(): line.get_xdata()[0] for line in axis.lines}
    assert lines.items() >= {("base -0.500", -0.5), ("all 0.750", 0.75)}
    assert legend_of(figure) == ["base -0.500", "all 0.750"]
    assert (axis.get_xlabel(), axis.get_title("left")) == ("control", "")
    assert (tmp_path / "ranked.png").read_bytes().startswith(PNG)


def test_a_ranking_says_where_it_was_cut():
    values = {f"mlp@{block}": (block / 100, NAN, NAN) for block in range(40)}
    (axis,) = layer_ranking(values | {"q@0": (NAN,) * 3}, "control").axes
    assert len(axis.get_yticklabels()) == 30
    assert axis.get_title("left") == "best 30 of 40"


@pytest.mark.parametrize("nothing", [{}, {"q": (NAN, NAN, NAN)}])
def test_without_values_there_is_no_ranking(nothing):
    with pytest.raises(DataError, match="no ranking to draw"):
        layer_ranking(nothing, "control", levels={"base": 0.0})
