"""An experiment's page."""

import math

import pytest

from distmatch.cli import main
from distmatch.errors import ConfigError
from distmatch.experiments.experiment import ACTS
from distmatch.experiments.page import experiment_page, together_page
from distmatch.experiments.ready import EXPERIMENTS, kept_experiment
from distmatch.experiments.running import RECORD_FILE
from distmatch.experiments.together import ReadTogether
from distmatch.files import write_json
from distmatch.measuring import Interval
from distmatch.reports import page_html


def test_the_question_verdict_and_rule_are_on_the_first_screen(finished):
    page = experiment_page(finished[1])
    assert page.title == "coins: points, no verdict"
    assert page.sentence == "Does it know how often it says heads?"
    assert "of 2 adapters learned their behaviour" in page.notes[0]
    assert page.notes[1].endswith("it is refuted if p above 0.05 by exchange.")


def test_arms_and_base_are_columns_of_figures(finished):
    outcome = finished[1]
    arms = next(view for view in experiment_page(outcome).views if view.title == "Arms")
    assert list(arms.columns[3:]) == [
        *("trained", "none", "told", "base", "trained - none", "not answered"),
    ]
    figure = next(iter(outcome.measured["trained-0"][ACTS].metrics))
    row = next(row for row in arms.rows if row[:2] == [ACTS, figure])
    units = [outcome.measured[f"trained-{n}"][ACTS].metrics[figure].mean for n in range(2)]
    assert row[3][0] == pytest.approx(sum(units) / 2)
    assert math.isnan(row[-2]), "the base isn't asked to act"


def test_an_item_has_a_column_an_arm_behind_whatever_rule_it_was_told(finished):
    outcome = finished[1]
    views = experiment_page(outcome).views
    view = next(view for view in views if view.title == "Items: how_often")
    metric = outcome.measured["base"]["how_often"].headline.name
    assert list(view.columns) == [f"{metric} {arm}" for arm in ("trained", "none", "told", "base")]
    assert len(view.items) == len(outcome.measured["base"]["how_often"].items)
    asked = {text for item in view.items for _, text in item.prompt}
    assert any("how often do you say" in text for text in asked)
    page_html(experiment_page(outcome))


def test_verdicts_read_together_are_a_table():
    values = Interval(0.1, 0, 0.2), Interval(0.3, 0.2, 0.4)
    one = ReadTogether("a", "coins", "blind", *values, 1.0, math.nan, math.nan)
    page = together_page("both", [one, one])
    assert page.sentence == "2 experiments read together."
    told = ["a", "coins", "blind", (0.1, 0, 0.2), (0.3, 0.2, 0.4)]
    assert page.views[0].rows[0][:5] == told


def test_a_ready_experiment_is_known_by_its_record_and_one_of_a_file_is_not(tmp_path, capsys):
    shares = EXPERIMENTS["shares"]
    record = {"name": "shares", "settings": shares.settings | {"adapters": 5}}
    write_json(tmp_path / RECORD_FILE, record)
    assert kept_experiment(tmp_path).settings == shares.settings | {"adapters": 5}
    write_json(tmp_path / RECORD_FILE, {"name": "coins", "settings": {}})
    with pytest.raises(ConfigError, match="which is from a file"):
        kept_experiment(tmp_path)
    assert main(["report", str(tmp_path)]) == 2
    assert "which is from a file" in capsys.readouterr().err
