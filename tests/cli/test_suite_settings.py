"""Suites and their settings, as a command line and a run file name them."""

import pytest

from distmatch.cli.suite_settings import listed_suites, named_suites
from distmatch.errors import ConfigError
from distmatch.evals import SUITES
from distmatch.evals.suites import Given, Sad, Suppression


def test_names_and_settings_stand_in_any_order_and_each_suite_once():
    items = ["given.per_group=1", "sad", "given", "sad.path=some folder/a=b.jsonl", "sad"]
    assert listed_suites(items) == [Sad(path="some folder/a=b.jsonl"), Given(per_group=1)]
    assert listed_suites(["given", "numbers"]) == [SUITES["given"], SUITES["numbers"]]
    assert listed_suites(["suppression", "suppression.slack=1"]) == [Suppression(slack=1)]


def test_an_experiments_probe_takes_settings_too():
    (probe,) = listed_suites(["self_prediction.open", "self_prediction.open.written=5"])
    assert (probe.name, probe.written) == ("self_prediction.open", 5)


def test_tables_hold_the_same():
    assert named_suites(["given"], {"given": {"per_group": 2}}) == [Given(per_group=2)]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["givn"], 'unknown suite "givn"; known: given, .*Did you mean "given"'),
        (["given", "givn.per_group=1"], 'unknown suite "givn"'),
        (["given", "given.per_grup=1"], '"per_grup"; known: per_group. Did you mean "per_group"'),
        (["given", "given.per_group=many"], r'given\.per_group is "many", expected a whole number'),
        (["given", "given.per_group=1.5"], r"given\.per_group is 1\.5, expected a whole number"),
        (["sad", "sad.path=1"], r"sad\.path is 1, expected a string"),
        (["given", "sad.path=x"], "settings of sad, which isn't among the suites: add it"),
        (["given", "shares.how_often.fewest=5"], "settings of shares.how_often, which isn't"),
        (["given.per_group=1"], "no suite is named: give some of given, "),
        (["given", "per_group=1"], 'can\'t read the override "per_group=1"'),
    ],
)
def test_what_cannot_be_used_is_refused(items, message):
    with pytest.raises(ConfigError, match=message):
        listed_suites(items)
