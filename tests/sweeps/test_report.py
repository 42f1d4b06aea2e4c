"""The report's tables and files."""

import csv
import json
import math
from dataclasses import replace

import pytest

from distmatch.measuring import Interval
from distmatch.sweeps.report import save_report
from distmatch.sweeps.sets import Sets
from tests.sweeps.reported import FOUND, MLPS, TRIED, base, swept, table_row
from tests.sweeps.small import NAN, finding

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def report(tmp_path):
    """The folder of a sweep's report."""
    return tmp_path / "report"


NO_CONTROL = {"transfer": {"far": NAN}, "slope": NAN}
ONE_WORD = base(policy_tvd=None, control_tvd=None, slope=None)


def written(folder, found=FOUND, **given):
    """What a sweep says of itself whose report is left in the folder."""
    sweep = swept(folder.parent, found, **given)
    return str(replace(sweep, written=save_report(sweep)))


def content_of(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "report.json").read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """The folder of a report with all there is, and what is said of it."""
    folder = tmp_path_factory.mktemp("sweep") / "report"
    return folder, written(folder)


def test_all_files_are_there(left):
    report, text = left
    for name in ("layer_maps.png", "control_maps.png", "ranked.png", "ranges.png"):
        assert (report / name).read_bytes().startswith(PNG)
        assert f"wrote {report / name}" in text
    assert {path.name for path in report.iterdir()} == {
        *("layer_maps.png", "control_maps.png", "ranked.png", "ranges.png"),
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


def test_the_csv_has_a_row_a_cell(left):
    with (left[0] / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["site"], row["blocks"]) for row in rows] == [(f.site, f.blocks) for f in FOUND]
    assert [float(row["control"]) for row in rows] == [f.control.mean for f in FOUND]
    assert math.isnan(float(rows[0]["control_low"]))
    assert float(rows[0]["copying_high"]) == 0.75
    assert float(rows[0]["control, far"]) == 0.1
    assert float(rows[0]["slope"]) == 0.5


def test_without_single_blocks_or_ranges_the_rest_is_there(report):
    text = written(report, FOUND[:1])
    assert "layer_maps.png was not drawn" in text
    assert "ranges.png was not drawn" in text
    assert (report / "ranked.png").exists()
    assert (report / "cells.csv").exists()


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


def test_control_is_mapped_on_every_set_of_examples(report, drawn):
    """On one scale, with the base and all blocks above each."""
    far = [replace(f, transfer={"far": f.control.mean - 0.5}) for f in TRIED]
    written(report, far)
    (maps, *labels), given = drawn["control_maps"]
    assert maps["control"].tolist() == [[0.2], [0.05]]
    assert maps["control, far"][:, 0].tolist() == pytest.approx([-0.3, -0.45])
    assert labels == [[1, 2], ["mlp"]]
    assert given["one_scale"]
    assert given["references"] == {
        "control": {"base": -0.125, "all": 0.25},
        "control, far": {"base": -0.25, "all": -0.25},
    }


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


def test_with_one_learning_rate_a_place_there_is_no_table_or_figure_of_them(report):
    found = [finding("mlp", "1", 0.1, learning_rate=0.1), finding("q", "1", 0.2)]
    assert "chosen" not in written(report, found)
    assert not (report / "learning_rates.png").exists()
