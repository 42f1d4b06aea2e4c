"""A sweep's page, of findings that are made up."""

import numpy as np

from distmatch.evals.items import Answers
from distmatch.evals.report import Report
from distmatch.reports import page_html
from distmatch.sweeps.page import sweep_page
from tests.sweeps.reported import FOUND, TRIED, swept
from tests.sweeps.small import NAN, finding


def facts_of(page, column, block):
    """What a place of the maps tells."""
    layers = page.views[0]
    return next(one for one in layers.places if (one.column, one.row) == (column, block))


def answered(asked, given):
    """Of one example of two words."""
    words, said = np.array([[asked, 1 - asked]]), np.array([[given, 1 - given]])
    answers = Answers(
        words=(("red", "blue"),),
        metadata=({},),
        clusters=("0",),
        asked=words,
        given=said,
        target=np.array([[asked, 1 - asked, 0.0]]),
        probs=np.array([[given, 1 - given, 0.0]]),
        other=np.zeros(1),
        ratios={"tvd": (np.abs(words - said)[:, 0], np.ones(1))},
    )
    return Report.of(answers, num_resamples=2)


def test_the_first_screen_holds_the_best_place_against_all_blocks_and_the_base(tmp_path):
    best = finding("mlp", "1", 0.4)
    page = sweep_page(swept(tmp_path / "layers", [best, *FOUND]))
    assert page.title == "layers" and "10 places (3 kinds of site)" in page.sentence
    control, copying, slope = page.figures["Where most control was learned"]
    assert {name: value[0] for name, value in control.values.items()} == {
        **{"all blocks": 0.2, "mlp@1": 0.4},
    }
    assert control.marks == {"base": -0.125}
    assert copying.values["mlp@1"] == (0.5, 0.25, 0.75)
    assert slope.marks == {"base": 0.125}
    assert page.figures["What it costs elsewhere"][0].values["mlp@1"] == best.kl


def test_a_place_tells_its_numbers_rates_seeds_and_prices(tmp_path):
    page = sweep_page(swept(tmp_path, TRIED))
    layers = page.views[0]
    assert (layers.rows, layers.columns) == (["1", "2"], ["mlp"])
    assert list(layers.maps) == ["copying", "control", "slope"]
    assert layers.references["control"] == {"base": -0.125, "all": 0.25}
    place = facts_of(page, "mlp", "1")
    assert place.values == {"copying": 0.5, "control": 0.2, "slope": 0.5}
    assert place.facts["learning rate"] == "0.0003"
    assert place.facts["control by rate"] == "0.0003: 0.200, 0.001: 0.100, 0.01: 0.300"
    told = {"seeds", "rank", "TVD", "KL on ordinary text", "parameters", "FLOPs"}
    assert told | {"seconds of training", "control, far"} <= place.facts.keys()


def test_a_place_has_the_dots_of_all_its_cells_whose_reports_are_kept(tmp_path):
    cells = ("mlp@1-seed0", "mlp@1-seed1", "mlp@1-before-reports-were-kept")
    for name, given in zip(cells, (0.25, 0.5), strict=False):
        folder = tmp_path / "cells" / name
        folder.mkdir(parents=True)
        answered(0.75, given).save(folder / "report.json")
    page = sweep_page(swept(tmp_path, [finding("mlp", "1", 0.1, cells=cells)]))
    place = facts_of(page, "mlp", "1")
    assert place.dots == [(0.75, 0.25), (0.25, 0.75), (0.75, 0.5), (0.25, 0.5)]


def test_sites_of_two_ranks_are_two_columns(tmp_path):
    columns = sweep_page(swept(tmp_path)).views[0].columns
    assert columns == ["attention", "mlp, rank 8", "mlp, rank 16"]


def test_every_cell_is_a_row_and_what_is_not_known_is_left_open(tmp_path):
    page = sweep_page(
        swept(tmp_path, [*FOUND, finding("q", "0", NAN, slope=NAN)], failed={"x": "y"})
    )
    assert len(page.views[-1].rows) == len(FOUND) + 1
    assert "1 cells failed" in page.sentence
    text = page_html(page)
    assert "nan" not in text.lower().split("<script>")[0].replace("nancy", "")


def test_without_single_blocks_there_is_no_map(tmp_path):
    page = sweep_page(swept(tmp_path, [finding("all", "0-3", 0.2)]))
    assert [view.title for view in page.views] == ["Cells"]
