"""The report's tables and files."""

import csv
import json
import math
from dataclasses import replace

import pytest

from distmatch.evals import Interval
from distmatch.sweeps.findings import Finding
from distmatch.sweeps.probe import LOSSES, Score
from distmatch.sweeps.report import probe_correlations, probed, write_report

PNG = b"\x89PNG\r\n\x1a\n"
NAN = float("nan")


def finding(site, blocks, control, rank=16, parameters=1000, **given):
    about = {"site": site, "blocks": blocks, "rank": rank, "parameters": parameters}
    gains = {"control": Interval(control, NAN, NAN), "copying": Interval(0.5, 0.25, 0.75)}
    price = {"slope": 0.5, "tvd": 0.2, "kl": 0.01, "train_seconds": 30.0, "flops": 2e15}
    return Finding(**(about | gains | price | {"num_seeds": 1, "transfer": {"far": 0.1}} | given))


def base(other=0.9, policy_tvd=0.25, control_tvd=0.375):
    values = {"other": other, "policy_tvd": policy_tvd, "control_tvd": control_tvd}
    return {name: {"mean": value} for name, value in values.items()}


BASE = {"main": base(), "far": base(control_tvd=0.5)}
FOUND = [
    finding("all", "0-3", 0.2),
    finding("attention", "1", 0.15),
    finding("mlp", "0", 0.1, parameters=2000),
    finding("attention", "0", 0.05),
    finding("mlp", "0", 0.04, rank=8, parameters=1010),
    finding("mlp", "1", -0.01, parameters=2000),
    finding("attention", "0-1", 0.1),
    finding("attention", "2-3", 0.12),
    finding("attention", "0-3", 0.18),
]
SCORES = [
    Score(loss, block, kind, name, 10.0**block, 100.0 + block)
    for loss in LOSSES
    for block in range(4)
    for kind, name in (("attention", "q"), ("attention", "o"), ("mlp", "up"))
]


def written(folder, found=FOUND, scores=SCORES):
    return write_report(folder, found, BASE, scores)


def table_row(text, name, column=0):
    """The cells of the first such row, by header."""
    lines = text.splitlines()
    header = lines[0]
    starts = [i for i, c in enumerate(header) if c != " " and header[max(i - 2, 0) : i].isspace()]
    starts = [0, *starts]
    line = next(line for line in lines if line.startswith(name))
    ends = [*starts[1:], None]
    return {header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_all_files_are_there(tmp_path):
    text = written(tmp_path)
    for name in ("layer_maps.png", "ranked.png", "ranges.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
        assert f"wrote {tmp_path / name}" in text
    assert {path.name for path in tmp_path.iterdir()} == {
        *("layer_maps.png", "ranked.png", "ranges.png"),
        *("cells.csv", "report.json", "report.md"),
    }
    assert "all@0-3" in (tmp_path / "report.md").read_text()


def test_the_json_is_valid_and_holds_the_cells(tmp_path):
    written(tmp_path, [*FOUND, finding("q", "0", NAN, transfer={"far": NAN})])

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert content["cells"][0]["control"] == [0.2, None, None]
    assert content["cells"][0]["copying"] == [0.5, 0.25, 0.75]
    assert content["cells"][-1]["transfer"] == {"far": None}
    assert content["base"] == {"copying": 0, "control": -0.125, "transfer": {"far": -0.25}}
    assert {row["score"] for row in content["probe"]} == {"gradient norm", "Fisher"}


def test_the_csv_has_a_row_a_cell(tmp_path):
    written(tmp_path)
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["site"], row["blocks"]) for row in rows] == [(f.site, f.blocks) for f in FOUND]
    assert [float(row["control"]) for row in rows] == [f.control.mean for f in FOUND]
    assert math.isnan(float(rows[0]["control_low"]))
    assert float(rows[0]["copying_high"]) == 0.75
    assert float(rows[0]["control, far"]) == 0.1


def test_the_table_begins_with_the_base(tmp_path):
    text = written(tmp_path)
    row = table_row(text, "base")
    assert text.splitlines()[2].startswith("base")
    assert (row["control"], row["copying"]) == ("-0.125", "0.000")  # 0.25 - 0.375
    assert row["control, far"] == "-0.250"
    assert row["KL"] == "0.0000"


def test_gains_have_their_price(tmp_path):
    row = table_row(written(tmp_path), "all@0-3")
    assert row["control / 1M parameters"] == "200.000"  # 0.2 / 1000 * 1e6
    assert row["control / PFLOP"] == "0.100"  # 0.2 / 2
    assert row["control / min"] == "0.400"  # 0.2 / 0.5
    assert row["copying"] == "0.500 [0.250, 0.750]"
    assert row["control"] == "0.200"


@pytest.mark.parametrize("gain", [0.0, -0.3])
def test_what_gained_no_control_has_no_price(tmp_path, gain):
    row = table_row(written(tmp_path, [finding("mlp", "2", gain)]), "mlp@2")
    assert {row[f"control / {cost}"] for cost in ("1M parameters", "min", "PFLOP")} == {"-"}


def test_sites_are_compared_at_equal_ranks_and_at_equal_parameters(tmp_path):
    lines = [line for line in written(tmp_path).splitlines() if line.startswith("attention aga")]
    by_rank, by_parameters = (" ".join(line.split()) for line in lines)
    # Blocks 0 and 1: 0.05 and 0.15 against 0.1 and -0.01
    assert by_rank == "attention against mlp rank 2 0.100 against 0.045 1 of 2"
    # Block 0 alone has the mlp at rank 8, of 1010 against 1000 parameters
    assert by_parameters == "attention against mlp parameters 1 0.050 against 0.040 1 of 1"


def test_one_site_is_compared_with_nothing(tmp_path):
    assert "against" not in written(tmp_path, FOUND[:2])


def test_without_single_blocks_or_ranges_the_rest_is_there(tmp_path):
    text = written(tmp_path, FOUND[:1])
    assert "layer_maps.png was not drawn" in text
    assert "ranges.png was not drawn" in text
    assert (tmp_path / "ranked.png").exists()
    assert (tmp_path / "cells.csv").exists()


def test_a_cell_is_probed_by_the_sum_over_its_matrices():
    assert probed(finding("attention", "2", 0), SCORES, "control", "squared_norm") == 200.0
    assert probed(finding("q", "2", 0), SCORES, "control", "squared_norm") == 100.0
    assert probed(finding("q, up", "1", 0), SCORES, "control", "fisher") == 202.0
    assert probed(finding("all", "0-1", 0), SCORES, "copying", "squared_norm") == 33.0
    assert math.isnan(probed(finding("router", "0", 0), SCORES, "control", "fisher"))


def test_the_probe_is_ranked_against_what_single_blocks_gained():
    # Controls 4, 3, 1, 2 of blocks 0 to 3: rank differences 3, 1, 2, 2, so 1 - 6 * 18 / 60 = -0.8
    found = [finding("mlp", str(b), c) for b, c in enumerate([4.0, 3.0, 1.0, 2.0])]
    found += [finding("mlp", "0-3", 9.0), finding("router", "0", 9.0)]
    rows = {(kind, loss): rest for kind, loss, *rest in probe_correlations(found, SCORES)}
    num, rho, p = rows["gradient norm", "control"]
    assert (num, rho) == (4, pytest.approx(-0.8))
    # Of 24 orders, 4 + 4 differ by sums of squares of at most 2 or at least 18
    assert p == pytest.approx(8 / 24)


def test_gains_without_order_have_no_rank_correlation(tmp_path):
    found = [finding("mlp", str(block), 0.1) for block in range(4)]
    rows = probe_correlations(found, SCORES)
    assert all(math.isnan(rho) and math.isnan(p) for *_, rho, p in rows)
    assert "Fisher" in written(tmp_path, found)


def test_without_a_probe_there_is_none(tmp_path):
    assert probe_correlations(FOUND, []) == []
    assert "rank correlation" not in written(tmp_path, scores=[])


def test_two_cells_are_too_few_for_a_rank_correlation():
    found = [replace(f, blocks=str(n)) for n, f in enumerate(FOUND[1:3])]
    assert probe_correlations(found, SCORES) == []
