"""What differs between two records."""

from distmatch.runs.record import changes, plain_json


def test_every_difference_is_named_by_its_path():
    there = {"train": {"rate": 0.001, "same": [1]}, "adapter": None, "suites": {}}
    here = {"train": {"rate": 0.002, "same": [1], "floor": 0.5}, "adapter": "ab", "suites": {}}
    assert changes(there, here) == [
        "train.rate: 0.001 there, 0.002 here",
        'adapter: not set there, "ab" here',
        "train.floor: not set there, 0.5 here",
    ]


def test_sets_are_written_in_their_order_and_functions_by_name():
    assert plain_json({"set": {"b", "a"}, "of": len, "on": True}) == {
        "set": ["a", "b"],
        "of": "builtins.len",
        "on": True,
    }
