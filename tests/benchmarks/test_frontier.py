"""The frontier of control and what it costs, drawn from lines of results."""

import json

import pytest
from frontier import GROUPS, frontier_figure

from distmatch.errors import DataError


def figure(mean):
    return {"mean": mean, "low": mean * 0.9, "high": mean * 1.1}


def lines(weight, kl, slope):
    control = {"control_tvd": figure(0.2), "policy_tvd": figure(0.25), "slope": figure(slope)}
    groups = {group: {"kl": figure(kl)} for group in GROUPS}
    name = f"weight {weight}"
    return [
        {"run": name, "suite": "carry_over", "metrics": control},
        {"run": name, "suite": "ordinary", "groups": groups},
    ]


def write(path, found):
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


def test_every_weight_is_a_point_of_every_group(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("frontier.draw_line", lambda axis, *line: drawn.append(line))
    found = [*lines("8.0", 0.01, 0.3), *lines("0.5", 0.1, 0.6), *lines("2.0, seed 1", 1, 1)]
    frontier_figure(write(tmp_path / "lines.jsonl", found), tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 0
    costs, slopes = drawn[-1][:2]
    assert len(drawn) == 2 * len(GROUPS)
    assert [cost["mean"] for cost in costs] == [0.1, 0.01]  # by weight
    assert [slope["mean"] for slope in slopes] == [0.6, 0.3]


def test_one_weight_is_no_frontier(tmp_path):
    found = [*lines("2.0", 0.01, 0.3), *lines("0.5", 0.1, 0.6)[:1]]
    with pytest.raises(DataError, match="1 run"):
        frontier_figure(write(tmp_path / "lines.jsonl", found), tmp_path / "frontier.png")
