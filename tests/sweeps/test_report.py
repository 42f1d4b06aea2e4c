"""The report's tables and files."""

import csv
import json
import math
from dataclasses import replace
from itertools import product

import pytest

from distmatch import plots
from distmatch.evals import Interval
from distmatch.sweeps import Sweep
from distmatch.sweeps.report import save_report
from distmatch.sweeps.sets import Sets
from tests.sweeps.small import NAN, SCORES, finding

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def report(tmp_path):
    """The folder of a sweep's report."""
    return tmp_path / "report"


def base(other=0.9, policy_tvd=0.25, control_tvd=0.375, slope=0.125):
    values = {"other": other, "policy_tvd": policy_tvd, "control_tvd": control_tvd, "slope": slope}
    return {name: {"mean": value} for name, value in values.items()}


BASE = Sets.from_named({"main": base(), "far": base(control_tvd=0.5)})
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
NO_CONTROL = {"transfer": {"far": NAN}, "slope": NAN}
ONE_WORD = base(policy_tvd=None, control_tvd=None, slope=None)


def written(folder, found=FOUND, scores=SCORES, base=BASE, failed=None, passed_over=()):
    """What a sweep says of itself whose report is left in the folder."""
    sweep = Sweep(
        folder=folder.parent,
        findings=list(found),
        base=base,
        scores=scores,
        failed=failed or {},
        passed_over=passed_over,
    )
    return str(replace(sweep, written=save_report(sweep)))


def content_of(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "report.json").read_text(), parse_constant=refuse)


def table_row(text, name, column=0):
    """The cells of the first such row, by header."""
    lines = text.splitlines()
    header = lines[0]
    starts = [i for i, c in enumerate(header) if c != " " and header[max(i - 2, 0) : i].isspace()]
    starts = [0, *starts]
    line = next(line for line in lines if line.startswith(name))
    ends = [*starts[1:], None]
    return {header[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)}


def test_all_files_are_there(report):
    text = written(report)
    for name in ("layer_maps.png", "ranked.png", "ranges.png"):
        assert (report / name).read_bytes().startswith(PNG)
        assert f"wrote {report / name}" in text
    assert {path.name for path in report.iterdir()} == {
        *("layer_maps.png", "ranked.png", "ranges.png"),
        *("cells.csv", "report.json", "report.md"),
    }
    assert "all@0-3" in (report / "report.md").read_text()


def test_the_json_is_valid_and_holds_the_cells(report):
    written(report, [*FOUND, finding("q", "0", NAN, transfer={"far": NAN})])
    content = content_of(report)
    assert content["cells"][0]["control"] == [0.2, None, None]
    assert content["cells"][0]["copying"] == [0.5, 0.25, 0.75]
    assert content["cells"][-1]["transfer"] == {"far": None}
    assert content["cells"][0]["slope"] == 0.5
    of_base = {"copying": 0, "control": -0.125, "slope": 0.125, "transfer": {"far": -0.25}}
    assert content["base"] == of_base


def test_the_json_holds_the_probes_correlations(report):
    written(report, [finding("mlp", str(b), b / 10) for b in range(4)])
    rows = content_of(report)["probe"]
    assert {row["score"] for row in rows} == {"gradient norm", "Fisher"}
    row = next(row for row in rows if row["loss"] == "control")
    assert row | {"score": ""} == {
        **{"score": "", "loss": "control", "site": "mlp", "rank": 16, "cells": 4},
        "rank_correlation": pytest.approx(1),
    }


def test_the_csv_has_a_row_a_cell(report):
    written(report)
    with (report / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["site"], row["blocks"]) for row in rows] == [(f.site, f.blocks) for f in FOUND]
    assert [float(row["control"]) for row in rows] == [f.control.mean for f in FOUND]
    assert math.isnan(float(rows[0]["control_low"]))
    assert float(rows[0]["copying_high"]) == 0.75
    assert float(rows[0]["control, far"]) == 0.1
    assert float(rows[0]["slope"]) == 0.5


def test_the_table_begins_with_the_base(report):
    text = written(report)
    row = table_row(text, "base")
    assert text.splitlines()[2].startswith("base")
    assert (row["control"], row["copying"]) == ("-0.125", "0.000")  # 0.25 - 0.375
    assert row["control, far"] == "-0.250"
    assert (row["KL"], row["slope"]) == ("0.0000", "0.12")


def test_gains_over_the_base_have_their_price(report):
    row = table_row(written(report), "all@0-3")
    assert row["gain / 1M parameters"] == "325.000"  # 0.2 above -0.125, / 1000 * 1e6
    assert row["gain / PFLOP"] == "0.163"  # 0.325 / 2, rounded up in binary
    assert row["gain / min"] == "0.650"  # 0.325 / 0.5
    assert row["copying"] == "0.500 [0.250, 0.750]"
    assert (row["control"], row["slope"]) == ("0.200", "0.50")


@pytest.mark.parametrize(
    ("control", "price"), [(-0.1, "0.050"), (0.0, "0.250"), (-0.125, "-"), (-0.3, "-"), (NAN, "-")]
)
def test_what_gained_nothing_over_the_base_has_no_price(report, control, price):
    row = table_row(written(report, [finding("mlp", "2", control)]), "mlp@2")
    assert row["gain / min"] == price  # -0.1 is 0.025 above the base's -0.125, in half a minute
    has_price = {row[f"gain / {cost}"] != "-" for cost in ("1M parameters", "min", "PFLOP")}
    assert has_price == {price != "-"}


def versus(text):
    lines = (line for line in text.splitlines() if " against " in line.partition(",")[0])
    return [" ".join(line.split()) for line in lines]


def test_sites_are_compared_at_equal_ranks_and_at_equal_parameters(report):
    by_rank, by_parameters = versus(written(report))
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


def test_single_blocks_and_ranges_are_compared_apart(report):
    ranges = [finding("mlp", "0-1", 0.3, parameters=2000), finding("mlp", "2-3", NAN)]
    single, _, several = versus(written(report, [*FOUND, *ranges]))
    assert single.startswith("attention against mlp, single blocks rank 2 0.100 against 0.045")
    # What isn't a number is no place
    assert several == "attention against mlp, ranges rank 1 0.100 against 0.300 -0.200 0 of 1"


def test_the_cell_of_all_blocks_is_compared_with_nothing_but_asked_ranges_of_all_are(report):
    found = [finding("all", "0-3", 0.2), finding("mlp", "0-3", 0.1), finding("all", "0-1", 0.05)]
    assert versus(written(report, found)) == []
    row, _ = versus(written(report, [*found, finding("mlp", "0-1", 0.0)]))
    assert row.startswith("all against mlp, ranges rank 1 0.050 against 0.000")


def test_a_place_at_two_ranks_is_one_place(report):
    found = [
        finding(site, "0", control + rank / 100, rank=rank, parameters=1000 * rank * size)
        for rank, (site, control, size) in product((8, 16), (("mlp", 0.0, 3), ("q", 0.1, 1)))
    ]
    (row,) = versus(written(report, found))
    assert row == "mlp against q, single blocks rank 1 0.120 against 0.220 -0.100 0 of 1"


def test_one_site_is_compared_with_nothing(report):
    assert "against" not in written(report, FOUND[:2])


def test_without_single_blocks_or_ranges_the_rest_is_there(report):
    text = written(report, FOUND[:1])
    assert "layer_maps.png was not drawn" in text
    assert "ranges.png was not drawn" in text
    assert (report / "ranked.png").exists()
    assert (report / "cells.csv").exists()


def test_the_probe_is_told_of_where_there_is_one(report):
    found = [finding("mlp", str(block), 0.1) for block in range(4)]
    assert "Fisher" in written(report, found)
    assert "rank correlation" not in written(report, found, scores=[])


def test_without_control_there_are_dashes_and_nulls(report):
    without = {"control": Interval(NAN, NAN, NAN)}
    found = [replace(f, gains=dict(f.gains) | without, **NO_CONTROL) for f in FOUND]
    text = written(report, found, base=Sets.from_named({"main": ONE_WORD, "far": ONE_WORD}))
    for name in ("base", "mlp@1"):
        row = table_row(text, name)
        assert [row[column] for column in ("control", "slope", "control, far")] == ["-"] * 3
    assert table_row(text, "mlp@1")["copying"] == "0.500 [0.250, 0.750]"
    assert "nan" not in text
    content = content_of(report)
    assert content["base"] == {
        "copying": 0,
        "control": None,
        "slope": None,
        "transfer": {"far": None},
    }
    assert content["cells"][0]["control"] == [None] * 3
    with (report / "cells.csv").open(newline="") as file:
        assert {row["control"] for row in csv.DictReader(file)} == {"nan"}
    assert (report / "layer_maps.png").exists()  # copying has its map
    for name in ("ranked.png", "ranges.png"):
        assert f"{name} was not drawn" in text


def test_what_is_missing_is_in_all_of_the_report(report):
    failed, passed_over = (
        {"o@3-rank16-lr0.001-seed0": "loss is nan"},
        ["results.jsonl:6 is not a result"],
    )
    text = written(report, failed=failed, passed_over=passed_over)
    for told in (text, (report / "report.md").read_text()):
        assert (
            "\n\no@3-rank16-lr0.001-seed0 failed: loss is nan\nresults.jsonl:6 is not a result\n"
            in told
        )
    content = content_of(report)
    assert (content["failed"], content["passed_over"]) == (failed, passed_over)
    written(report)
    assert (content_of(report)["failed"], content_of(report)["passed_over"]) == ({}, [])


MLPS = ["mlp@1", "mlp@2"]
TRIED = [
    finding("mlp", "1", 0.3, learning_rate=1e-2, chosen=False, tuning=0.1),
    finding("all", "0-3", 0.25),
    finding("mlp", "1", 0.2, learning_rate=3e-4, tuning=0.2),
    finding("mlp", "1", 0.1, chosen=False, tuning=0.15),
    finding("mlp", "2", 0.05),
]


def test_of_several_learning_rates_the_chosen_one_is_shown_and_all_are_told(report, drawn):
    text = written(report, TRIED)
    (maps, *labels), _ = drawn["layer_maps"]
    assert maps["control"].tolist() == [[0.2], [0.05]]
    assert labels == [[1, 2], ["mlp"]]
    (maps, *labels), _ = drawn["learning_rates"]
    assert {name: values[0].tolist() for name, values in maps.items()} == {
        "control at 0.0003": [0.2],
        "control at 0.001": [0.1],
        "control at 0.01": [0.3],
    }
    assert [values[1, 0].tolist() for values in maps.values()] == pytest.approx(
        [NAN, 0.05, NAN], nan_ok=True
    )
    assert labels == [[1, 2], ["mlp"]]
    (ranked, _), _ = drawn["ranked"]
    assert [value[0] for value in ranked.values()] == [0.25, 0.2, 0.05]
    assert "mlp@1 (rank 16, 0.0003)" in ranked
    first, second, *_ = text.split("\n\n")
    assert [line.split()[0] for line in first.splitlines()[2:]] == ["base", "all@0-3", *MLPS]
    assert table_row(first, "mlp@1")["learning rate"] == "0.0003"
    lines = [" ".join(line.split()) for line in second.splitlines()]
    assert lines[0] == "control (by tuning examples) at rank 0.0003 0.001 0.01"
    assert lines[2] == "mlp@1 16 0.200 (0.200) * 0.100 (0.150) 0.300 (0.100)"
    assert lines[3:] == ["* chosen: most control by tuning examples; + fewer seeds, left out"]
    with (report / "cells.csv").open(newline="") as file:
        rows = [(r["learning_rate"], r["chosen"], r["tuning"]) for r in csv.DictReader(file)]
    assert rows[0] == ("0.01", "False", "0.1")
    assert rows[1][:2] == ("0.001", "True")
    assert [cell["chosen"] for cell in content_of(report)["cells"]] == [f.chosen for f in TRIED]


def test_learning_rates_with_fewer_seeds_are_marked(report):
    found = [replace(f, num_seeds=2 if f.chosen else 1) for f in TRIED]
    text = written(report, found)
    assert "0.200 (0.200) *  0.100 (0.150) +  0.300 (0.100) +" in text


def test_where_no_tuning_examples_chose_there_is_no_table_of_learning_rates(report):
    assert "* chosen" not in written(report, [replace(f, tuning=NAN) for f in TRIED])


def test_with_one_learning_rate_a_place_there_is_no_table_or_figure_of_them(report):
    found = [finding("mlp", "1", 0.1, learning_rate=0.1), finding("q", "1", 0.2)]
    assert "chosen" not in written(report, found)
    assert not (report / "learning_rates.png").exists()


def test_maps_of_learning_rates_are_drawn_of_single_blocks(report):
    assert f"wrote {report / 'learning_rates.png'}" in written(report, TRIED)
    assert (report / "learning_rates.png").read_bytes().startswith(PNG)
    tried = [replace(f, blocks="0-1") for f in TRIED]
    assert "learning_rates.png" not in written(report / "ranges", tried)


@pytest.fixture
def drawn(monkeypatch):
    """What figures are drawn of, by their files."""
    given = {}

    def kept(*args, path, **kwargs):
        given[path.stem] = args, kwargs

    for name in ("layer_curves", "layer_maps", "layer_ranking"):
        monkeypatch.setattr(plots, name, kept)
    return given


def test_ranges_of_all_sites_are_drawn_but_for_all_blocks(report, drawn):
    written(report, [*FOUND, finding("all", "2-3", 0.05), finding("all", "1-3", 0.125)])
    (panels, _), given = drawn["ranges"]
    points = sorted(point[:2] for point in panels["from the top"]["all"])
    assert points == [(2, 0.05), (3, 0.125)]
    for levels in (given["levels"], drawn["ranked"][1]["levels"]):
        assert levels == {"base": -0.125, "all@0-3": 0.2}


def test_ranks_are_named_where_a_site_has_curves_of_several(report, drawn):
    ranges = ("1-3", "2-3")
    found = [finding("mlp", blocks, 0.1, rank=rank) for blocks in ranges for rank in (8, 16)]
    found += [finding("q", blocks, 0.1) for blocks in ranges]
    found += [finding("q", "2-3", 0.1, rank=4)]  # one range of this rank is no curve
    found += [finding("q", "1-3", NAN, rank=4)]
    written(report, found)
    (panels, _), _ = drawn["ranges"]
    assert list(panels["from the top"]) == ["mlp, rank 8", "mlp, rank 16", "q"]
    assert not panels["from the bottom"]


@pytest.mark.parametrize(
    ("whole", "scores"), [([finding("all", "0-3", 0.2)], []), ([], SCORES)], ids=["all", "probe"]
)
def test_the_top_is_the_models_not_that_of_what_is_finished(report, drawn, whole, scores):
    found = [*whole, finding("mlp", "0-1", 0.1), finding("mlp", "0-2", 0.1)]
    found += [finding("mlp", "1-2", 0.1), finding("all", "0-2", 0.3)]
    written(report, found, scores)
    (panels, _), given = drawn["ranges"]
    assert {title: list(curves) for title, curves in panels.items()} == {
        "from the bottom": ["mlp"],
        "from the top": [],
    }
    assert given["levels"] == {"base": -0.125} | {
        f.name: 0.2 for f in whole
    }  # all@0-2 isn't all blocks
