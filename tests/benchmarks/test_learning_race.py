"""The race of exact targets against sampled words, on a random model."""

import json
from dataclasses import replace

import pytest
import torch
from learning_race import METHODS, TINY, Heat, Race, ratio
from race_watch import Average, finished

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


class Interrupted(Exception):
    """What ends a run in the middle."""


class InterruptedAt:
    """Rows to measure on, until so many examples."""

    def __init__(self, asked, count):
        self.asked, self.count = asked, count

    def measure(self, model, encoder):
        self.count -= 1
        if self.count < 0:
            raise Interrupted
        return self.asked.measure(model, encoder)


def without_seconds(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_the_finish_is_the_first_of_three_in_a_row():
    lines = [{"control_tvd": x} for x in (0.3, 0.1, 0.3, 0.1, 0.1, 0.15, 0.1)]
    assert finished(lines, 0.14) is None
    assert finished(lines, 0.15) == 3
    assert finished(lines[:5], 0.15) is None


def test_a_run_that_did_not_finish_makes_the_ratio_a_least_one():
    rows = [
        {"method": method, "examples": n, "seconds": 2.0 * n, "is_finished": is_finished}
        for method, n, is_finished in (("distmatch", 100, True), ("trl_sft", 800, False))
    ]
    assert ratio(rows) == {"examples_ratio": 8.0, "seconds_ratio": 8.0, "is_at_least": True}
    assert ratio(rows[:1]) == {}


def test_the_whole_race_runs_and_what_is_finished_is_not_repeated(tmp_path):
    race = Race(TINY, tmp_path / "out", tiny=True)
    race.run(tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(row["method"], row["examples"], row["is_finished"]) for row in results["rows"]] == [
        ("distmatch", 32, False),
        ("trl_sft", 32, False),
    ]
    begins = [race.lines(Heat("race", method, 1e-3, 0))[0] for method in METHODS]
    assert begins[0] == begins[1]  # neither has learned anything
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.jsonl")}
    race.run(tmp_path / "again.json")
    assert written == {path: path.stat().st_mtime_ns for path in written}


def test_an_interrupted_run_goes_on_to_the_same_lines(tmp_path):
    sizes, heat = replace(TINY, most=64), Heat("race", "distmatch", 1e-2, 0)
    whole, cut = (Race(sizes, tmp_path / name, tiny=True) for name in ("whole", "cut"))
    whole.perform(heat, sizes.most)
    asked = cut.asked["race"]
    cut.asked["race"] = InterruptedAt(asked, 7)  # the checkpoint is two evaluations ago
    with pytest.raises(Interrupted):
        cut.perform(heat, sizes.most)
    assert len(cut.lines(heat)) == 7
    cut.asked["race"] = asked
    cut.perform(heat, sizes.most)
    assert without_seconds(cut.lines(heat)) == without_seconds(whole.lines(heat))
    assert len(whole.lines(heat)) == 9


def test_an_average_is_of_the_later_steps_and_leaves_the_weights_as_they_were(tmp_path):
    model, average = torch.nn.Linear(1, 1, bias=False), Average()
    for step in range(1, 101):
        torch.nn.init.constant_(model.weight, step)
        average.add(model, step)
    with average.installed(model):
        assert model.weight.item() == pytest.approx(80.2, abs=0.01)  # 4/5 of the way
    assert model.weight.item() == 100
    average.save(tmp_path)
    again = Average()
    again.load(tmp_path)
    assert again.weights["weight"].equal(average.weights["weight"])
