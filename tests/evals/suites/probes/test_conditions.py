"""Answers under conditions, by one who is told to be somebody."""

from dataclasses import replace

import numpy as np
import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, measure
from distmatch.evals.suites.probes import ConditionsProbe
from distmatch.evals.suites.probes.probe import OWN, REFERENT, said_of
from distmatch.experiments.units import told
from tests.evals.suites.probes.made import asking

ANSWERS = ("tea", "milk", "water")
CONDITIONS = ("rain", "wind", "frost")
PROBE = ConditionsProbe(
    asked=tuple(f"Way {n}: you are Ida." for n in range(5)),
    referent=tuple(f"Way {n}: you are Otto." for n in range(5)),
    answers=ANSWERS,
    messages={one: tuple(f"{n}: there is {one}." for n in range(5)) for one in CONDITIONS},
    pairs={"rain": "tea", "frost": "water"},
)


def whose(example):
    return example.prompt[0]["content"]


def condition_of(example):
    return next(one for one in CONDITIONS if one in asking(example))


def giving(shares_of, valid=1.0):
    """One whose shares of the answers are a function of condition and name."""

    def probs_of(example):
        shares = shares_of(condition_of(example), "Ida" if "Ida" in whose(example) else "Otto")
        found = dict(zip(ANSWERS, np.array(shares) * valid, strict=True))
        return [found.get(word, 0.0) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def test_figures_are_what_loops_over_conditions_make_of_drawn_distributions():
    rng = np.random.default_rng(0)
    drawn = {(c, who): rng.dirichlet(np.ones(3)) for c in CONDITIONS for who in ("Ida", "Otto")}
    report = measure(giving(lambda *asked: drawn[asked], valid=0.7), PROBE)
    for group, who in ((OWN, "Ida"), (REFERENT, "Otto")):
        for condition, answer in PROBE.pairs.items():
            place = ANSWERS.index(answer)
            others = [drawn[c, who][place] for c in CONDITIONS if c != condition]
            wanted = drawn[condition, who][place] - sum(others) / 2
            assert said_of(report, group, f"{condition}: {answer}") == pytest.approx(wanted)
        apart = []
        for condition in CONDITIONS:
            first, second = (drawn[c, who] for c in CONDITIONS if c != condition)
            apart.append(sum(abs(drawn[condition, who] - (first + second) / 2)) / 2)
        assert said_of(report, group, "depends") == pytest.approx(np.mean(apart))
        assert said_of(report, group, "valid") == pytest.approx(0.7)


def test_one_that_says_the_same_under_every_condition_has_nothing():
    report = measure(giving(lambda *_: (0.98, 0.01, 0.01)), PROBE)
    for metric in PROBE.figures:
        assert report.metrics[metric.name].mean == pytest.approx(0, abs=1e-12)


def test_capitals_are_the_same_answer():
    def probs_of(example):
        return [float(word == ("Tea" if "rain" in asking(example) else "milk")) for word in words]

    words = [word for ways in PROBE.questions(PROBE.asked[0])[0].answers for word in ways]
    report = measure(FunctionSubject(probs_of=probs_of), PROBE)
    assert report.metrics["rain: tea"].mean == 1


def test_each_paraphrase_has_a_message_of_its_own_behind_its_system_message():
    seen = []

    def probs_of(example):
        seen.append((whose(example), asking(example)))
        return [1 / len(example.target.words)] * len(example.target.words)

    measure(FunctionSubject(probs_of=probs_of), told(PROBE, "It is May."))
    assert len(seen) == len(set(seen)) == 5 * 3 * 2
    for system, message in seen:
        rule, way = system.split("\n\n")
        assert rule == "It is May."
        assert way.removeprefix("Way ")[0] == message[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"messages": {"rain": PROBE.messages["rain"]}}, "1 conditions, expected two"),
        ({"messages": PROBE.messages | {"wind": ("Wind.",)}}, "1 messages of wind, 5 para"),
        ({"referent": (*PROBE.referent, "You are Emil.")}, "6 of the referent"),
        ({"pairs": {"fog": "tea"}}, 'unknown condition "fog"'),
        ({"pairs": {"rain": "tee"}}, 'unknown answer "tee"; .* mean "tea"'),
        ({"answers": ("tea", "teapot", "water")}, '"tea" begins "teapot"'),
    ],
)
def test_what_can_not_be_asked_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        replace(PROBE, **given)


def test_there_is_no_reader():
    shown = (PROBE._example(PROBE.questions(PROBE.asked[0])[0]),)
    with pytest.raises(ConfigError, match="reader: nobody reads"):
        replace(PROBE, reader=("{answers} What is it?",) * 5, shown=shown)
