"""What the report's figures are drawn of."""

from dataclasses import replace

import pytest

from distmatch.sweeps.figures import draw_figures
from tests.sweeps.reported import FOUND, TRIED, swept
from tests.sweeps.small import NAN, SCORES, finding


def test_maps_of_learning_rates_are_drawn_of_single_blocks(tmp_path):
    told = draw_figures(swept(tmp_path, TRIED), tmp_path)
    assert f"wrote {tmp_path / 'learning_rates.png'}" in told
    assert (tmp_path / "learning_rates.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    tried = [replace(f, blocks="0-1") for f in TRIED]
    told = draw_figures(swept(tmp_path, tried), tmp_path / "ranges")
    assert not [line for line in told if "learning_rates.png" in line]


def test_ranges_of_all_sites_are_drawn_but_for_all_blocks(tmp_path, drawn):
    found = [*FOUND, finding("all", "2-3", 0.05), finding("all", "1-3", 0.125)]
    draw_figures(swept(tmp_path, found), tmp_path)
    (panels, _), given = drawn["ranges"]
    points = sorted(point[:2] for point in panels["from the top"]["all"])
    assert points == [(2, 0.05), (3, 0.125)]
    for levels in (given["levels"], drawn["ranked"][1]["levels"]):
        assert levels == {"base": -0.125, "all@0-3": 0.2}


def test_ranks_are_named_where_a_site_has_curves_of_several(tmp_path, drawn):
    ranges = ("1-3", "2-3")
    found = [finding("mlp", blocks, 0.1, rank=rank) for blocks in ranges for rank in (8, 16)]
    found += [finding("q", blocks, 0.1) for blocks in ranges]
    found += [finding("q", "2-3", 0.1, rank=4)]  # one range of this rank is no curve
    found += [finding("q", "1-3", NAN, rank=4)]
    draw_figures(swept(tmp_path, found), tmp_path)
    (panels, _), _ = drawn["ranges"]
    assert list(panels["from the top"]) == ["mlp, rank 8", "mlp, rank 16", "q"]
    assert not panels["from the bottom"]


@pytest.mark.parametrize(
    ("whole", "scores"), [([finding("all", "0-3", 0.2)], []), ([], SCORES)], ids=["all", "probe"]
)
def test_the_top_is_the_models_not_that_of_what_is_finished(tmp_path, drawn, whole, scores):
    found = [*whole, finding("mlp", "0-1", 0.1), finding("mlp", "0-2", 0.1)]
    found += [finding("mlp", "1-2", 0.1), finding("all", "0-2", 0.3)]
    draw_figures(swept(tmp_path, found, scores), tmp_path)
    (panels, _), given = drawn["ranges"]
    assert {title: list(curves) for title, curves in panels.items()} == {
        "from the bottom": ["mlp"],
        "from the top": [],
    }
    assert given["levels"] == {"base": -0.125} | {
        f.name: 0.2 for f in whole
    }  # all@0-2 isn't all blocks
