"""Answers to the same question, as one."""

import numpy as np
import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.evals.mixtures import mixed


def example(prompt, words, probs):
    return Example(prompt=prompt, target=WordDistribution(words, probs))


@pytest.fixture(scope="module")
def answers(subject):
    rows = [
        example("Say a thing:", ("a", "be"), (0.7, 0.3)),
        example("One of three:", ("c", "d", "e"), (0.2, 0.3, 0.5)),
        example("Something else:", ("a", "be"), (0.7, 0.3)),
        example("And a third way:", ("a", "be"), (0.7, 0.3)),
        example("Of three, one:", ("c", "d", "e"), (0.2, 0.3, 0.5)),
    ]
    return subject.answers(rows, "")


def test_a_mixture_is_the_mean_and_is_measured_as_one_answer(answers):
    mixtures = mixed(answers, ["x", "y", "x", "x", "y"])
    assert mixtures.words == (("a", "be"), ("c", "d", "e"))
    for row, members in enumerate(([0, 2, 3], [1, 4])):
        mean = answers.probs[members].astype(np.float64).mean(0)
        target = answers.target[members[0]]
        tvd = np.abs(mean - target).sum() / 2
        spread = np.mean([np.abs(answers.probs[m] - mean).sum() / 2 for m in members])
        known = mixtures.row(row)
        assert known["tvd"] == pytest.approx(tvd, abs=1e-6)
        assert known["spread"] == pytest.approx(spread, abs=1e-6)
        assert known["given_other"] == pytest.approx(mean[-1], abs=1e-6)
        size = len(mixtures.words[row])
        over_words = mean[:size] / mean[:size].sum()
        assert known["given_over_words"] == pytest.approx(list(over_words), rel=1e-4)
        assert known["control_tvd"] == pytest.approx(
            np.abs(over_words - target[:size]).sum() / 2, abs=1e-6
        )


def test_each_alone_is_as_it_was_and_has_no_spread(answers):
    alone = mixed(answers, range(5))
    for name in ("tvd", "other", "slope", "forward_kl", "policy_tvd"):
        for part, wanted in zip(alone.ratios[name], answers.ratios[name], strict=True):
            np.testing.assert_allclose(part, wanted, atol=1e-5)
    assert not alone.ratios["spread"][0].any()
