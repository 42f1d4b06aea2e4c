"""The probe's ranks against those of what was gained."""

import math

import pytest

from distmatch.sweeps.correlations import ALL_SITES, probe_correlations, probed
from distmatch.sweeps.probe import ProbeScore
from tests.sweeps.small import NAN, SCORES, finding


def test_a_cell_is_probed_by_the_sum_over_its_matrices():
    assert probed(finding("attention", "2", 0), SCORES, "control", "squared_norm") == 200.0
    assert probed(finding("q", "2", 0), SCORES, "control", "squared_norm") == 100.0
    assert probed(finding("q, up", "1", 0), SCORES, "control", "fisher") == 202.0
    assert probed(finding("all", "0-1", 0), SCORES, "copying", "squared_norm") == 33.0
    assert math.isnan(probed(finding("router", "0", 0), SCORES, "control", "fisher"))
    scores = [*SCORES, ProbeScore("control", 0, "router", "router", 1.0, 7.0)]
    of_block_0 = {site: finding(site, "0", 0) for site in ("router", "all", "block")}
    values = {s: probed(f, scores, "control", "fisher") for s, f in of_block_0.items()}
    assert values == {"router": 7.0, "all": 300.0, "block": 307.0}


def test_the_probe_is_ranked_against_what_single_blocks_gained():
    # Controls 4, 3, 1, 2 of blocks 0 to 3: rank differences 3, 1, 2, 2, so 1 - 6 * 18 / 60 = -0.8
    found = [finding("mlp", str(b), c) for b, c in enumerate([4.0, 3.0, 1.0, 2.0])]
    found += [finding("mlp", "0-3", 9.0), finding("router", "0", 9.0)]
    rows = [row for row in probe_correlations(found, SCORES) if row.loss == "control"]
    assert rows[0] == ("gradient norm", "control", "mlp", 16, 4, pytest.approx(-0.8))
    assert [row.score for row in rows] == ["gradient norm", "Fisher"]


def test_sites_and_ranks_have_their_own_correlation_and_those_of_one_rank_share_one():
    # Each rises with the block, as the probe does, but the mlp's is lower by more than all that
    places = {("q", 16): 0.0, ("mlp", 16): -9.0, ("mlp", 8): 9.0}
    found = [
        finding(site, str(block), block / 10 + level, rank=rank)
        for (site, rank), level in places.items()
        for block in range(3)
    ]
    scores = [score._replace(fisher=score.block + (score.kind == "mlp")) for score in SCORES]
    rows = [row for row in probe_correlations(found, scores) if row[:2] == ("Fisher", "control")]
    assert [(row.site, row.rank, row.cells) for row in rows] == [
        *(("mlp", 8, 3), ("mlp", 16, 3), ("q", 16, 3), (ALL_SITES, 16, 6)),
    ]
    assert [row.rank_correlation for row in rows[:3]] == pytest.approx([1, 1, 1])
    # Scores 0, 1, 2 and 1, 2, 3; controls of ranks 4, 5, 6 and 1, 2, 3. With ties at their mean,
    # ranks of scores are 1, 2.5, 4.5 and 2.5, 4.5, 6; cross sum -0.5, squares 16.5 and 17.5
    assert rows[3].rank_correlation == pytest.approx(-0.5 / math.sqrt(16.5 * 17.5))


def test_one_site_alone_is_not_all_sites():
    found = [finding("mlp", str(block), block, rank=rank) for block in range(3) for rank in (8, 16)]
    assert {row.site for row in probe_correlations(found, SCORES)} == {"mlp"}


def test_gains_without_order_have_no_rank_correlation():
    found = [finding("mlp", str(block), 0.1) for block in range(4)]
    rows = probe_correlations(found, SCORES)
    assert all(math.isnan(row.rank_correlation) for row in rows)


def test_what_is_not_a_number_is_not_ranked():
    found = [finding("mlp", str(b), c) for b, c in enumerate([0.3, 0.2, NAN, 0.1])]
    rows = [row for row in probe_correlations(found, SCORES) if row.loss == "control"]
    assert [(row.cells, row.rank_correlation) for row in rows] == [(3, pytest.approx(-1))] * 2
    gone = [finding("mlp", str(b), NAN) for b in range(4)]
    rows = [row for row in probe_correlations(gone, SCORES) if row.loss == "control"]
    assert [row.cells for row in rows] == [0, 0]
    assert all(math.isnan(row.rank_correlation) for row in rows)


def test_without_a_probe_there_is_none():
    found = [finding("mlp", str(block), block) for block in range(4)]
    assert probe_correlations(found, SCORES)
    assert probe_correlations(found, []) == []


def test_two_cells_are_too_few_for_a_rank_correlation():
    assert probe_correlations([finding("mlp", str(b), b) for b in range(2)], SCORES) == []
