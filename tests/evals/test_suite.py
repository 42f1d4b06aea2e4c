"""Suites as values: settings, what they need, and one of a test's own."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.errors import ConfigError, DataError
from distmatch.evals import SUITES, Capability, Metric, Report, Subject, Suite, measure
from distmatch.evals.items import Items
from distmatch.evals.suite import check_suites
from distmatch.evals.suites import (
    CarryOver,
    Choices,
    Deviation,
    Given,
    Knowledge,
    NotGiven,
    Numbers,
    Ordinary,
    OwnExamples,
    Sad,
    Sequential,
    Suppression,
    Thinking,
)

BEGUN = [{"role": "user", "content": "red or blue?"}, {"role": "assistant", "content": "It is"}]
LINES = {
    "sad": {"messages": BEGUN, "p": 70, "q": 30, "r": 20, "ideal": ["red", "blue"]},
    "choices": {"messages": BEGUN, "choices": ["red", "blue"], "answer": "red"},
}


@dataclass(frozen=True, kw_only=True)
class Lengths(Suite):
    """Is what it writes as long as asked?"""

    name: ClassVar[str] = "lengths"
    question: ClassVar[str] = "Is what it writes as long as asked?"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("hit", "as long as asked", "higher", beside="chance"),
        Metric("chance", "by guessing"),
    )
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.WRITING})
    sizes: tuple[int, ...] = (2, 3)
    path: str | None = None

    def items(self, subject):
        written = subject.write(["Say:"] * len(self.sizes), self.sizes, lambda *_: False, self.name)
        hits = [len(one.text) == size for one, size in zip(written, self.sizes, strict=True)]
        ones = np.ones(len(hits))
        return Items(
            metadata=tuple({"group": f"{size} letters"} for size in self.sizes),
            ratios={"hit": (np.array(hits, dtype=float), ones), "chance": (0.1 * ones, ones)},
        )


class Speechless(Subject):
    """A subject that gives words' probabilities, and fails where it is asked."""

    @property
    def capabilities(self):
        return frozenset({Capability.WORDS})

    @property
    def ends_turns(self):
        return True

    def answers(self, examples, name):
        raise AssertionError("asked")


def test_a_record_holds_settings_as_json():
    record = Lengths(sizes=(4, 5), path="here").record()
    expected = {"version": 1, "sizes": [4, 5], "path": "here"}
    assert record == expected == json.loads(json.dumps(record))
    assert record != Lengths().record()


def test_a_record_tells_another_version():
    class Another(Lengths):
        version = 2

    assert Another().record() == Lengths().record() | {"version": 2}


def test_a_suite_of_ones_own_is_measured(subject, tmp_path):
    report = measure(subject, Lengths(), num_resamples=10)
    assert list(report.groups()) == ["2 letters", "3 letters"]
    assert report.headline.name == "hit" and "higher is better; as long" in report.table()
    report.save(tmp_path / "report.json")
    read = Report.load(tmp_path / "report.json")
    assert read.to_json() == report.to_json() and read.headline == Lengths.metrics[0]


def test_a_report_is_of_its_subjects_seed(subject):
    assert measure(replace(subject, seed=3), Lengths(), num_resamples=10).seed == 3


@pytest.mark.parametrize(
    ("suite", "lacking"),
    [
        (Deviation(), "the likeliest next tokens and writing and being asked without its adapter"),
        (
            Ordinary(),
            "whole distributions of next tokens and writing and being asked without its adapter",
        ),
        (Thinking(), "going on behind a thought"),
    ],
)
def test_a_subject_that_lacks_something_is_refused_before_it_is_asked(suite, lacking):
    message = f"^{suite.name} can't be asked here: it needs {lacking}, which this model doesn't"
    with pytest.raises(ConfigError, match=message):
        measure(Speechless(), suite)
    with pytest.raises(ConfigError, match=message):
        check_suites([Given(), suite], Speechless().capabilities)


def test_what_is_asked_is_checked_first():
    with pytest.raises(ConfigError, match="nothing to measure"):
        check_suites([], frozenset(Capability))
    with pytest.raises(ConfigError, match="two suites are called given"):
        check_suites([Given(), Given(per_group=1)], frozenset(Capability))
    with pytest.raises(DataError, match="no examples to evaluate"):
        check_suites([OwnExamples()], frozenset(Capability))
    with pytest.raises(ConfigError, match=r"sad\.path=FILE"):
        check_suites([Given(), SUITES["sad"]], frozenset(Capability))


def test_own_examples_are_known_by_what_they_say(subject):
    target = WordDistribution(("red", "blue"), (0.3, 0.7))
    examples = [Example(prompt=f"{n} red or blue:", target=target) for n in range(2)]
    records = OwnExamples(rows=(example.to_record() for example in examples))  # read once
    assert records.record() == OwnExamples(rows=examples).record()
    assert records.record() != OwnExamples(rows=examples[:1]).record()
    assert measure(subject, records, num_resamples=5).num_examples == 2
    assert not measure(subject, records, num_resamples=5).groups()


def test_a_suite_is_a_report_by_groups(subject):
    prompt = {"prompt": "red or blue:"}
    rows = [
        {"words": ["red", "blue"], "probs": [p, 1 - p], "metadata": {"group": name}} | prompt
        for p, name in ((0.1, "low"), (0.2, "low"), (0.7, "high"))
    ]
    report = measure(subject, OwnExamples(rows=rows), num_resamples=20)
    assert {name: part.num_examples for name, part in report.groups().items()} == {
        "low": 2,
        "high": 1,
    }
    lines = report.group_table().splitlines()
    assert lines[0].split()[:2] == ["group", "items"]
    assert [line.split()[:2] for line in lines[2:]] == [["low", "2"], ["high", "1"], ["all", "3"]]
    assert "within_0.10" in lines[0] and "within_0.05" not in lines[0]  # a detail


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Every suite, asking as little as it can."""
    folder = tmp_path_factory.mktemp("lines")
    for name, line in LINES.items():
        (folder / name).write_text(json.dumps(line), encoding="utf-8")
    suites = [
        Given(per_group=1),
        CarryOver(per_group=1),
        NotGiven(prompts=2, most_opened=2),
        Thinking(questions=1, thoughts=2, max_tokens=2, max_stepwise_tokens=2),
        Suppression(),
        Numbers(per_kind=1),
        Sequential(per_kind=1),
        Deviation(passages=1, patterns=1, per_text=1, alone=1, room=0, spare=2),
        Ordinary(per_template=1),
        Sad(path=folder / "sad"),
        Choices(path=folder / "choices"),
        Knowledge(per_group=1),
    ]
    return {suite.name: suite for suite in suites}


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_says_how_its_metrics_are_read(name, small, smallest):
    if name == "not_given":
        pytest.importorskip("wordfreq")
    suite = small[name]
    assert type(SUITES[name]) is type(suite) and SUITES[name].name == name
    report = measure(smallest, suite, num_resamples=5)
    known = [metric.name for metric in suite.metrics]
    assert len(set(known)) == len(known) and set(report.metrics) <= set(known)
    assert report.headline == suite.metrics[0]
    assert {metric.beside for metric in suite.metrics} - {""} <= set(report.metrics)
    assert set(suite.compared) <= set(report.metrics)
    assert suite.question.endswith("?") and suite.question.count("?") == 1
    assert all("group" in metadata for metadata in report.items.metadata)
    assert json.loads(json.dumps(suite.record())) == suite.record()
