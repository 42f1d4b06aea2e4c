"""What it says it would answer, held against what it answers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from distmatch.data import Example, WordDistribution
from distmatch.errors import ConfigError
from distmatch.evals import Capability, FunctionSubject, LocalModel
from distmatch.evals.suite import measure
from distmatch.evals.suites.probes import OwnProbe
from distmatch.evals.suites.probes.own import ClosedQuestion
from distmatch.evals.suites.probes.own_scores import (
    Masses,
    by_first_letter,
    commonest_offered,
    scores_of,
)
from distmatch.evals.suites.probes.own_written import agreements, ended, one_worded, valid_answers
from distmatch.evals.suites.probes.properties import PROPERTIES, pushed_forward
from tests.evals.suites.probes.made import Writer, asking
from tests.tiny import tiny_model, tiny_tokenizer

QUESTIONS = (
    ClosedQuestion("An animal: otter, fox or cat?", ("otter", "fox", "cat")),
    ClosedQuestion("A drink: tea or milk?", ("tea", "milk")),
    ClosedQuestion("A colour: red or indigo?", ("red", "indigo")),
)
ASKED = tuple(f'Way {n}: to "{{question}}", what is {{property}}? ({{values}})' for n in range(5))
DOES = {"otter": 0.7, "fox": 0.2, "cat": 0.1, "tea": 0.25, "milk": 0.75, "red": 0.4, "indigo": 0.6}

READER = tuple(f"{{answers}}\n\n{text}" for text in ASKED)


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
        (
            {"openings": ("Name a tree.",), "properties": ("long",)},
            "asked about first letter, vowel",
        ),
        ({"openings": ("Name a tree.",), "thinking": "low"}, "given at once"),
        ({"written": 2, "thinking": "low"}, "given at once"),
        ({"properties": ()}, "no question differ"),
        ({"questions": QUESTIONS[1:2], "properties": ("vowel",)}, "no question differ"),
        ({"reader": ASKED}, "has no {answers}"),
        ({"questions": (), "openings": ("Name a tree.",), "reader": READER}, "the reader is shown"),
    ],
)
def test_what_can_not_be_asked_is_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        probe(**given)


def test_valid_is_the_lesser_mass_of_what_it_answers_and_of_what_it_says():
    def probs_of(example):
        share = 0.3 if asking(example) == QUESTIONS[1].text else 0.9
        return [share / len(example.target.words) for _ in example.target.words]

    report = measure(FunctionSubject(probs_of=probs_of), probe(questions=QUESTIONS[1:2]))
    assert report.metrics["valid"].mean == pytest.approx(0.3)


@dataclass(frozen=True, kw_only=True)
class Beginning(FunctionSubject):
    """One whose answers begin with known tokens."""

    first: tuple[tuple[str, float], ...]

    @property
    def capabilities(self):
        return super().capabilities | {Capability.NEXT_TOKENS}

    def first_tokens(self, prompts, k, name):
        return [list(self.first[:k]) for _ in prompts]


def test_of_an_open_question_the_first_token_decides():
    """Half of the mass is on words with a vowel, a fifth on what is no word at all."""

    def probs_of(example):
        says = {"yes": 0.6, "no": 0.4, "A": 0.5, "O": 0.25, "B": 0.25}
        return [says.get(word, 0.0) for word in example.target.words]

    first = (("ap", 0.2), (" Otter", 0.1), ('"oak', 0.1), ("bird", 0.4), ("\n", 0.1), ("7", 0.1))
    asked = probe(questions=(), openings=("Name something.",))
    assert asked.pairs() == [(0, "first letter"), (0, "vowel")]
    letter, vowel = measure(Beginning(probs_of=probs_of, first=first), asked).rows()
    # A, B, O have 0.2, 0.4 and 0.2 of 0.8
    assert letter["tvd"] == pytest.approx(0.25)
    assert (letter["agree"], letter["valid"]) == (0, pytest.approx(0.8))
    assert vowel["said"]["done"] == pytest.approx({"yes": 0.5, "no": 0.5})
    assert vowel["tvd"] == pytest.approx(0.1)
    assert vowel["said"]["acted"]["tokens"] == [list(one) for one in first]


def test_first_letters_are_those_of_the_whole_distribution():
    """Against softmax over all of the vocabulary in float64."""
    model, tokenizer = tiny_model("llama", num_hidden_layers=2), tiny_tokenizer()
    subject = LocalModel(model=model, tokenizer=tokenizer, progress=False)
    asked = probe(questions=(), openings=("Name a tree.",), begun="It is", top=320)
    prompt = [
        {"role": "user", "content": "Name a tree."},
        {"role": "assistant", "content": "It is"},
    ]
    ids = tokenizer.apply_chat_template(
        prompt, continue_final_message=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        probs = model(**ids).logits[0, -1].double().softmax(-1).tolist()
    wanted = dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 0.0)
    for token, prob in enumerate(probs):
        text = tokenizer.decode([token]).strip(" \"'*`(\n\t")[:1].upper()
        if text in wanted:
            wanted[text] += prob
    total = sum(wanted.values())
    assert total > 0.1
    found = asked.answered(subject)[0]
    assert found == pytest.approx({letter: p / total for letter, p in wanted.items()}, abs=1e-5)


def test_first_tokens_that_are_not_looked_at_leave_bounds():
    """Of 0.3 that isn't seen all may be any letter: yes has 0.3 to 0.6, no 0.4 to 0.7."""

    def probs_of(example):
        return [{"yes": 0.5, "no": 0.5}.get(word, 0.0) for word in example.target.words]

    subject = Beginning(probs_of=probs_of, first=(("oak", 0.3), ("birch", 0.4), ("elm", 0.3)))
    asked = probe(questions=(), openings=("Name a tree.",), properties=("vowel",), top=2)
    (row,) = measure(subject, asked).rows()
    assert row["tvd"] == pytest.approx(0.5 - 3 / 7)
    assert (row["tvd_low"], row["tvd_high"]) == (0, pytest.approx(0.2))
    (row,) = measure(subject, replace(asked, top=3)).rows()
    assert "tvd_low" not in row and row["tvd"] == pytest.approx(0.1)


def test_what_is_seen_on_no_letter_is_none_and_what_is_unseen_is_had_once():
    """Of 0.8 on letters, O has 0.3 at least of 0.8 and, with all that is unseen, 0.4 at most."""
    found = by_first_letter([("oak", 0.3), ("birch", 0.4), ("\n", 0.2)])
    low, high = found.pushed("first letter").bounds
    place = [*found.mass].index("O")
    assert (low[place], high[place]) == (pytest.approx(3 / 8), pytest.approx(4 / 8))
    low, high = found.pushed("vowel").bounds
    named = dict(zip(found.pushed("vowel").mass, zip(low, high, strict=True), strict=True))
    assert named["yes"] == pytest.approx((3 / 8, 4 / 8))


def test_a_reader_is_asked_of_what_it_has_read_alone():
    asked = probe(reader=READER, openings=("Name a tree.",), properties=("vowel",))
    first = (("oak", 1.0),)
    subject = Beginning(
        probs_of=lambda e: [1 / len(e.target.words)] * len(e.target.words), first=first
    )
    report = measure(subject, asked)
    rows = {
        who: [m["row"] for m in report.items.metadata if m["group"] == who]
        for who in ("own", "reader")
    }
    assert rows == {"own": [0, 2, 3], "reader": [0, 2]}


def test_without_any_valid_mass_there_is_no_score():
    subject = FunctionSubject(probs_of=lambda example: [0.0] * len(example.target.words))
    report = measure(subject, probe(properties=("vowel",)))
    assert [(row["tvd"], row["agree"], row["valid"]) for row in report.rows()] == [
        *((None, None, 0), (None, None, 0))
    ]


def test_the_mode_baseline_names_one_of_those_offered():
    """ "B" is the commonest of all, and isn't offered to the last."""
    names, values = ["first letter"] * 4, ["AB", "BC", "BD", "AC"]
    assert commonest_offered(names, values, ["B", "B", None, "C"]) == ["B", "B", "B", "C"]


def test_a_reader_says_what_the_answers_say_that_it_is_shown():
    """The model answers the same each time, and says nothing of it; its base reads that."""

    def alone(example):
        text = asking(example)
        asked = next((one for one in QUESTIONS if one.text == text), None)
        if asked:
            return on_words(example, {asked.answers[-1]: 1.0})
        count = len(example.target.words) // 2
        return on_words(
            example, dict.fromkeys((w.lower() for w in example.target.words), 1 / count)
        )

    def reading(example):
        shown, _, asked = asking(example).rpartition("Way ")
        (question,) = [one for one in QUESTIONS if one.text in asked]
        (answer,) = [
            lines.split("Answer: ")[1]
            for lines in shown.strip().split("\n\n")
            if question.text in lines
        ]
        return on_words(example, {answer: 1.0})

    subject = FunctionSubject(probs_of=alone, base_probs_of=reading)
    report = measure(subject, probe(properties=("answer",), reader=READER, system="Be brief."))
    own, reader = (report.groups()[who].metrics for who in ("own", "reader"))
    assert own["tvd"].mean == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert (reader["tvd"].mean, reader["agree"].mean) == (pytest.approx(0), 1)
    (first, *_) = [row for row in report.rows() if row["metadata"]["group"] == "reader"]
    assert [message["role"] for message in first["said"]["asked"][0]["prompt"]] == ["user"]


def written(says):
    """One that writes what it says of a question, and at once what it answers."""
    answers = {"otter": "Otter.", "tea": "I don't know", "red": "red"}

    def writes(prompt):
        text = prompt[0]["content"]
        asked = next(one for one in QUESTIONS if one.text in text)
        return says if text != asked.text else f' "{answers[asked.answers[0]]}" and no other'

    return Writer(probs_of=lambda e: [1 / len(e.target.words)] * len(e.target.words), writes=writes)


def test_written_answers_are_compared_as_in_published_protocols():
    """Otter begins with a vowel, red doesn't, and what comes for a drink is no drink."""
    report = measure(written("Yes."), probe(properties=("vowel",), written=3, begun="It is"))
    assert [row["written_agree"] for row in report.rows()] == [1, 0]
    report = measure(written("red"), probe(properties=("answer",), written=3))
    assert [row["complied"] for row in report.rows()] == [0, 0, 1]
    assert [row["written_agree"] for row in report.rows()] == [None, None, 1]
    assert report.metrics["written_agree"].mean == 1
    assert report.rows()[0]["said"]["written"] == {
        "answers": ["Otter."] * 3,
        "foretold": ["red"] * 3,
    }


@pytest.mark.parametrize(
    ("text", "is_open", "said"),
    [
        ('"Edin', False, None),
        (' "Edinburgh" it is', False, "Edinburgh"),
        ("Edinburgh\nor", False, "Edinburgh"),
        ('Edinburgh" or', True, "Edinburgh"),
        ('" and oak', True, ""),
        ("Edin", True, None),
    ],
)
def test_an_answer_has_ended_at_the_mark_behind_it(text, is_open, said):
    assert ended(text, is_open=is_open) == said


def test_refusals_are_no_word_and_no_more():
    assert one_worded(["I don't know", '"Oak."', "Sure, oak", "an oak", "(oak)"]) == ["Oak", "oak"]


def test_the_commonest_of_what_complies_counts():
    rows = agreements(
        ["vowel"] * 4,
        [["yes", "no"]] * 4,
        [["yes", "no", "yes"], ["yes"], ["no"], []],
        [["no", "yes", "yes"], ["no"], ["no", "no"], ["yes"]],
    )
    assert [row["written_agree"] for row in rows[:3]] == [1, 0, 1]
    assert [row["written_baseline"] for row in rows[:3]] == [1, 1, 0]
    assert [row["complied"] for row in rows] == [1, 1, 1, 0]
    assert np.isnan(rows[3]["written_agree"])
    assert valid_answers(["otter. ", "OTTER", "an otter", '"fox"'], ("otter", "fox")) == [
        *("otter", "otter", "fox")
    ]


def test_bounds_hold_every_distance_that_the_masses_allow():
    rng, values = np.random.default_rng(0), ("a", "b", "c")

    def bounded():
        low = rng.dirichlet(np.ones(4))[:3] * 0.8
        return low, low + 0.2 * rng.random(3)

    sides = [bounded() for _ in range(3)]
    done, *said = (
        Masses(*(dict(zip(values, m, strict=True)) for m in (low, low, high)), is_exact=False)
        for low, high in sides
    )
    found = scores_of(done, said, "a")
    for _ in range(2000):
        act, *told = (rng.uniform(low, high) for low, high in sides)
        mean = np.mean([one / one.sum() for one in told], axis=0)
        distance = abs(act / act.sum() - mean).sum() / 2
        assert found["tvd_low"] <= distance <= found["tvd_high"]
    assert 0 <= found["tvd_low"] < found["tvd_high"] <= 1


def test_what_begins_with_no_letter_is_none():
    assert by_first_letter([("", 0.5), (" ", 0.25), ("é", 0.25)]).valid == 0


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
