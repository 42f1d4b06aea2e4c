"""Options: what a letter or a place draws is found and taken out."""

import math
import re
from collections import Counter

import numpy as np
import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import OptionsProbe
from tests.evals.suites.probes.made import asking

ASKED = tuple(f"Way {n}: which?" for n in range(5))
TEXTS = {"risk": "takes risks", "safe": "plays safe", "mixed": "does both", "none": "does nothing"}
TEXTS |= {"late": "waits", "early": "hurries", "odd": "flips a coin"}
LINE = re.compile(r"^([A-Z])\) (.*)$", re.MULTILINE)


def probe(count=3, **given):
    options = dict(list(TEXTS.items())[:count])
    return OptionsProbe(**({"name": "kind", "asked": ASKED, "options": options} | given))


def wanting(option, letter, place):
    """One whose log-odds are the sum of what it thinks of options, letters and places."""

    def probs_of(example):
        shown = LINE.findall(asking(example))
        logs = {
            mark: option.get(text, 0) + letter.get(mark, 0) + place.get(number, 0)
            for number, (mark, text) in enumerate(shown)
        }
        total = sum(map(math.exp, logs.values()))
        each = {mark: math.exp(value) / total for mark, value in logs.items()}
        return [each.get(word, 0.0) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
def test_preferences_for_letters_and_places_are_taken_out_exactly(count):
    subject = wanting({"takes risks": 1.5, "plays safe": -0.5}, {"A": 2.0}, {1: 1.0})
    metrics = measure(subject, probe(count)).metrics
    logs = [1.5, -0.5, 0, 0, 0, 0, 0][:count]
    wanted = np.exp(logs) / np.exp(logs).sum()
    for name, share in zip(TEXTS, wanted, strict=False):
        assert metrics[name].mean == pytest.approx(share, abs=1e-9)
    letters = np.exp([2.0, *[0] * (count - 1)])
    assert metrics["letter_preference"].mean == pytest.approx(
        letters.max() / letters.sum() - 1 / count
    )
    places = np.exp([1.0, *[0] * (count - 1)])
    assert metrics["place_preference"].mean == pytest.approx(
        places.max() / places.sum() - 1 / count
    )


def test_one_that_always_says_a_has_no_opinion():
    metrics = measure(wanting({}, {"A": 20.0}, {}), probe(2)).metrics
    assert metrics["risk"].mean == pytest.approx(0.5)
    assert metrics["letter_preference"].mean == pytest.approx(0.5, abs=1e-6)
    assert metrics["place_preference"].mean == pytest.approx(0, abs=1e-9)


SIZES = {2: 4, 3: 36, 4: 8, 5: 10, 6: 12, 7: 14, 9: 18, 12: 24, 26: 52}


@pytest.mark.parametrize(("size", "count"), SIZES.items())
def test_every_option_is_as_often_in_every_place_with_every_letter_there(size, count):
    asked = OptionsProbe(
        name="kind", asked=ASKED, options={str(n): f"text {n}" for n in range(size)}
    )
    assert len(asked.layouts) == count
    seen = Counter(
        (text, place, letter)
        for question in asked.questions("Which?")
        for place, (letter, text) in enumerate(LINE.findall(question.text))
    )
    assert len({text for text, _, _ in seen}) == size
    assert len(set(seen.values())) == 1
    cells = {(place, letter) for _, place, letter in seen}
    assert len(seen) == size * len(cells), "each option in each of them"
    for part in (0, 1):
        assert len({cell[part] for cell in cells}) == size


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_letter_in_one_place_takes_nothing_from_any_option(count):
    """As of a model that likes the second letter where the alphabet has it, and nowhere else."""

    def probs_of(example):
        shown = LINE.findall(asking(example))
        logs = [
            (text == "takes risks") + 3 * (number == 1 and mark == "B")
            for number, (mark, text) in enumerate(shown)
        ]
        each = dict(
            zip([mark for mark, _ in shown], np.exp(logs) / np.exp(logs).sum(), strict=True)
        )
        return [each.get(word, 0.0) for word in example.target.words]

    metrics = measure(FunctionSubject(probs_of=probs_of), probe(count)).metrics
    logs = np.array([1.0] + [0.0] * (count - 1))
    for name, share in zip(TEXTS, np.exp(logs) / np.exp(logs).sum(), strict=False):
        assert metrics[name].mean == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"a": "x"}, "1 options, expected 2 to 26"),
        ({"a": "x", "b": "x "}, "repeat"),
        ({"valid": "x", "b": "y"}, "valid"),
    ],
)
def test_options_that_can_not_be_asked_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        probe(options=options)
