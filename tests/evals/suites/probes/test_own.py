"""What it says it would answer, held against what it answers."""

from dataclasses import replace

import pytest

from distmatch.data import Example, WordDistribution
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import OwnProbe
from distmatch.evals.suites.probes.own import PROPERTIES, ClosedQuestion, pushed_forward
from tests.evals.suites.probes.made import asking
from tests.tiny import tiny_model, tiny_tokenizer

QUESTIONS = (
    ClosedQuestion("An animal: otter, fox or cat?", ("otter", "fox", "cat")),
    ClosedQuestion("A drink: tea or milk?", ("tea", "milk")),
    ClosedQuestion("A colour: red or indigo?", ("red", "indigo")),
)
ASKED = tuple(f'Way {n}: to "{{question}}", what is {{property}}? ({{values}})' for n in range(5))
DOES = {"otter": 0.7, "fox": 0.2, "cat": 0.1, "tea": 0.25, "milk": 0.75, "red": 0.4, "indigo": 0.6}


def probe(**given):
    return OwnProbe(**({"asked": ASKED, "questions": QUESTIONS} | given))


def on_words(example, shares):
    """Small letters and capitals are two words; the first has it all."""
    seen, found = set(), []
    for word in example.target.words:
        found.append(0.0 if word.lower() in seen else shares.get(word.lower(), 0.0))
        seen.add(word.lower())
    return found


def knowing(says):
    """One that acts as above, and says of a property what a function makes of the truth."""

    def probs_of(example):
        text = asking(example)
        asked = next(one for one in QUESTIONS if one.text in text)
        if text == asked.text:
            return on_words(example, DOES)
        name = next(n for n, one in PROPERTIES.items() if f"what is {one.text}?" in text)
        true = pushed_forward({word: DOES[word] for word in asked.answers}, name)
        return on_words(example, {key.lower(): p for key, p in says(true).items()})

    return FunctionSubject(probs_of=probs_of)


def test_one_that_knows_has_no_distance_and_agrees():
    metrics = measure(knowing(lambda true: true), probe()).metrics
    assert metrics["tvd"].mean == pytest.approx(0, abs=1e-9)
    assert metrics["agree"].mean == 1


def test_one_that_guesses_evenly_has_the_distance_of_that():
    even = knowing(lambda true: dict.fromkeys(true, 1 / len(true)))
    report = measure(even, probe(properties=("answer",)))
    wanted = [(0.7 - 1 / 3), 0.25, 0.1]
    assert [row["tvd"] for row in report.rows()] == pytest.approx(wanted, abs=1e-6)


def test_the_mode_answerer_gets_the_mode_baseline():
    """Who always names a property's commonest value agrees as often as the baseline says."""
    known = probe(properties=("vowel",))
    modes = {"yes": 1.0, "no": 0.0}
    report = measure(knowing(lambda _: modes), known)
    assert [row["agree"] for row in report.rows()] == [1.0, 1.0]
    assert report.metrics["mode_baseline"].mean == report.metrics["agree"].mean


def test_a_property_that_all_answers_share_is_not_asked():
    assert ("answer" in PROPERTIES) and (1, "vowel") not in probe().pairs()
    assert (0, "vowel") in probe().pairs()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"asked": ASKED[:2]}, "2 paraphrases"),
        ({"asked": (*ASKED[:4], "what?")}, "has no {question}"),
        ({"properties": ("taste",)}, "property"),
        ({"questions": ()}, "no questions"),
        ({"questions": (ClosedQuestion("x", ("tea", "teapot")),)}, "begins"),
    ],
)
def test_what_can_not_be_asked_is_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        probe(**given)


def test_behind_thoughts_what_it_answers_is_the_mean_too():
    model, tokenizer = tiny_model("llama", num_hidden_layers=2), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    asked = probe(thinking="step by step", thoughts=3, max_tokens=4, questions=QUESTIONS[1:2])
    way = next(one for one in subject.ways() if one.name == "step by step")
    words = WordDistribution.normalised(dict.fromkeys(("tea", "Tea", "milk", "Milk"), 1.0))
    alone = Example(
        prompt=[{"role": "user", "content": QUESTIONS[1].text}],
        target=words,
        boundary="end_of_word",
    )
    (thoughts,) = subject.think([(way, way.ask(alone))], 3, lambda _: 4, asked.name)
    behind = [way.behind(way.ask(alone), thought.text) for thought in thoughts]
    mass = subject.answers(behind, "x").probs.astype(float).mean(axis=0)
    wanted = mass[:2].sum() / mass[:4].sum()
    assert asked.answered(subject)[0]["tea"] == pytest.approx(wanted, rel=1e-5)
    assert replace(asked, thinking="").answered(subject)[0]["tea"] != pytest.approx(wanted)
    assert asked.draws_text
