"""How it says it goes on, held against how it does."""

from dataclasses import replace

import numpy as np
import pytest

import distmatch as dm
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel, measure
from distmatch.evals.suites.probes import PlacesProbe
from distmatch.evals.suites.probes.places import Juncture, scores_above_chance
from tests.evals.suites.probes.made import asking, choosing
from tests.tiny import tiny_model, tiny_tokenizer

PLACES = (
    Juncture("The cat sat on", ("a mat", "her tail")),
    Juncture("A card says plum and saw. Name the fruit. Name the tool.", ("plum", "saw")),
)
RULES = (Juncture(PLACES[1].text, PLACES[1].ways, ("Name the fruit.", "Name the tool.")),)
DOES = {"a mat": 0.7, "her tail": 0.3, "plum": 0.2, "saw": 0.8}
ASKED = tuple(f'Way {n}: what do you put behind "{{text}}"?' for n in range(5))
ANNA = tuple(f'Way {n}: what does Anna put behind "{{text}}"?' for n in range(5))
LETTERED = PlacesProbe(asked=ASKED, referent=ANNA, places=PLACES)
WORDED = PlacesProbe(
    asked=tuple(f"{text} {{words}}" for text in ASKED), places=PLACES, is_lettered=False
)


def going_on(said):
    """One that goes on as above, and says it would as a function of whom it is asked about says."""

    def probs_of(example):
        prompt = example.prompt
        text = prompt if isinstance(prompt, str) else asking(example)
        shares = DOES if text in {place.text for place in PLACES} else said("Anna" not in text)
        if "A" in example.target.words:
            called = {name: way for p in RULES for name, way in zip(p.called, p.ways, strict=True)}
            return choosing(example, lambda shown: shares[called.get(shown, shown)])
        return [shares.get(word, 0.0) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def told(probe, said):
    groups = measure(going_on(said), probe, num_resamples=10).groups()
    return {who: {n: m.mean for n, m in one.metrics.items()} for who, one in groups.items()}


@pytest.mark.parametrize("probe", [LETTERED, WORDED, replace(LETTERED, places=RULES, is_chat=True)])
def test_one_that_tells_the_truth_names_every_way(probe):
    found = told(probe, lambda is_own: DOES)["own"]
    assert found["named"] == 1
    assert found["tvd"] == pytest.approx(0, abs=1e-9)
    assert found["valid"] == pytest.approx(1)


def test_what_is_known_is_normalised_for_chance():
    assert scores_above_chance({"a": 0.7, "b": 0.3}, {"a": 0.8, "b": 0.2}) == pytest.approx(
        {"known": 0.6, "named": 1, "tvd": 0.1}
    )
    four = dict.fromkeys("abcd", 0.25)
    assert scores_above_chance(four | {"b": 0.4, "a": 0.1}, four) == pytest.approx(
        {"known": 0, "named": -1 / 3, "tvd": 0.15}
    )


def test_guessing_comes_to_nothing_and_the_contrary_to_less():
    even = told(LETTERED, lambda is_own: dict.fromkeys(DOES, 0.5))["own"]
    assert even["known"] == pytest.approx(0, abs=1e-9)
    contrary = told(LETTERED, lambda is_own: {way: 1 - p for way, p in DOES.items()})["own"]
    assert contrary["named"] == -1
    assert contrary["known"] == pytest.approx(-0.5)


def test_somebody_else_is_asked_about_as_well():
    found = told(LETTERED, lambda is_own: DOES if is_own else dict.fromkeys(DOES, 0.5))
    assert found["own"]["known"] == pytest.approx(0.5)
    assert found["referent"]["known"] == pytest.approx(0, abs=1e-9)


def test_a_letter_or_a_place_that_is_liked_is_no_knowledge():
    subject = FunctionSubject(probs_of=lambda e: np.eye(len(e.target.words))[0] * 0.8 + 0.05)
    found = measure(subject, LETTERED, num_resamples=10).groups()["own"].metrics
    assert found["known"].mean == pytest.approx(0, abs=1e-9)


def test_what_it_does_is_what_the_scorer_says():
    model, tokenizer = tiny_model("llama"), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    probe = replace(WORDED, places=(Juncture("The sea is", ("wet", "red")),))
    words = ["wet", "Wet", "red", "Red"]
    scores = dm.score(model, tokenizer, "The sea is", words, boundary="end_of_word")
    small, wet, red, large = scores.log_probs.double().exp().tolist()
    total = small + wet + red + large
    (found,) = probe.done(subject)
    assert found == pytest.approx(
        {"wet": (small + wet) / total, "red": (red + large) / total}, rel=1e-5
    )


def test_a_chat_is_measured_behind_its_system_message_and_a_text_is_not():
    asked = []

    def probs_of(example):
        asked.append(example.prompt)
        return [1 / len(example.target.words)] * len(example.target.words)

    subject = FunctionSubject(probs_of=probs_of)
    replace(LETTERED, system="Be brief.").done(subject)
    assert asked == [place.text for place in PLACES]
    replace(LETTERED, system="Be brief.", places=RULES, is_chat=True).done(subject)
    assert [message["role"] for message in asked[-1]] == ["system", "user"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"places": ()}, "no places: give at least one"),
        ({"asked": ASKED[:4]}, "4 paraphrases, expected at least 5"),
        ({"asked": ("What?",) * 5}, "has no {text}"),
        ({"is_lettered": False}, "has no {words}"),
        ({"places": (Juncture("x", ("red", "red")),)}, "expected 2 to 26"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        replace(LETTERED, **given)
