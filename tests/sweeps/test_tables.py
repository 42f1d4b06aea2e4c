"""The report's tables."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from tests.sweeps.reported import FOUND, TRIED, swept, table_row
from tests.sweeps.small import NAN, finding


def told(found=FOUND, **given):
    return swept(Path(), found, **given).report


def test_the_table_begins_with_the_base():
    text = told()
    row = table_row(text, "base")
    assert text.splitlines()[2].startswith("base")
    assert (row["control"], row["copying"]) == ("-0.125", "0.000")  # 0.25 - 0.375
    assert row["control, far"] == "-0.250"
    assert (row["KL"], row["slope"]) == ("0.0000", "0.12")


def test_gains_over_the_base_have_their_price():
    row = table_row(told(), "all@0-3")
    assert row["gain / 1M parameters"] == "325.000"  # 0.2 above -0.125, / 1000 * 1e6
    assert row["gain / PFLOP"] == "0.163"  # 0.325 / 2, rounded up in binary
    assert row["gain / min"] == "0.650"  # 0.325 / 0.5
    assert row["copying"] == "0.500 [0.250, 0.750]"
    assert (row["control"], row["slope"]) == ("0.200", "0.50")


@pytest.mark.parametrize(
    ("control", "price"), [(-0.1, "0.050"), (0.0, "0.250"), (-0.125, "-"), (-0.3, "-"), (NAN, "-")]
)
def test_what_gained_nothing_over_the_base_has_no_price(control, price):
    row = table_row(told([finding("mlp", "2", control)]), "mlp@2")
    assert row["gain / min"] == price  # -0.1 is 0.025 above the base's -0.125, in half a minute
    has_price = {row[f"gain / {cost}"] != "-" for cost in ("1M parameters", "min", "PFLOP")}
    assert has_price == {price != "-"}


def versus(text):
    lines = (line for line in text.splitlines() if " against " in line.partition(",")[0])
    return [" ".join(line.split()) for line in lines]


def test_sites_are_compared_at_equal_ranks_and_at_equal_parameters():
    by_rank, by_parameters = versus(told())
    # Blocks 0 and 1: 0.05 and 0.15 against 0.1 and -0.01, so -0.05 and 0.16. Their deviation is
    # 0.21 / sqrt(2), its error that / sqrt(2), and Student's quantile of 1 degree 12.7062 (tables).
    assert by_rank == (
        "attention against mlp, single blocks rank 2 0.100 against 0.045 "
        "0.055 [-1.279, 1.389] 1 of 2"
    )
    # Block 0 alone has the mlp at rank 8, of 1010 against 1000 parameters
    assert by_parameters == (
        "attention against mlp, single blocks parameters 1 0.050 against 0.040 0.010 1 of 1"
    )


def test_single_blocks_and_ranges_are_compared_apart():
    ranges = [finding("mlp", "0-1", 0.3, parameters=2000), finding("mlp", "2-3", NAN)]
    single, _, several = versus(told([*FOUND, *ranges]))
    assert single.startswith("attention against mlp, single blocks rank 2 0.100 against 0.045")
    # What isn't a number is no place
    assert several == "attention against mlp, ranges rank 1 0.100 against 0.300 -0.200 0 of 1"


def test_the_cell_of_all_blocks_is_compared_with_nothing_but_asked_ranges_of_all_are():
    found = [finding("all", "0-3", 0.2), finding("mlp", "0-3", 0.1), finding("all", "0-1", 0.05)]
    assert versus(told(found)) == []
    row, _ = versus(told([*found, finding("mlp", "0-1", 0.0)]))
    assert row.startswith("all against mlp, ranges rank 1 0.050 against 0.000")


def test_a_place_at_two_ranks_is_one_place():
    found = [
        finding(site, "0", control + rank / 100, rank=rank, parameters=1000 * rank * size)
        for rank, (site, control, size) in product((8, 16), (("mlp", 0.0, 3), ("q", 0.1, 1)))
    ]
    (row,) = versus(told(found))
    assert row == "mlp against q, single blocks rank 1 0.120 against 0.220 -0.100 0 of 1"


def test_one_site_is_compared_with_nothing():
    assert "against" not in told(FOUND[:2])


def test_the_probe_is_told_of_where_there_is_one():
    found = [finding("mlp", str(block), 0.1) for block in range(4)]
    assert "Fisher" in told(found)
    assert "rank correlation" not in told(found, scores=[])


def test_learning_rates_with_fewer_seeds_are_marked():
    found = [replace(f, cells=("0", "1") if f.chosen else ("0",)) for f in TRIED]
    text = told(found)
    assert "0.200 (0.200) *  0.100 (0.150) +  0.300 (0.100) +" in text


def test_where_no_tuning_examples_chose_there_is_no_table_of_learning_rates():
    assert "* chosen" not in told([replace(f, tuning=NAN) for f in TRIED])
