"""Lines whose first letters spell a word: what is learned, what is asked, and what comes of it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from distmatch.data.vocabulary import word_pool
from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, measure
from distmatch.evals.suites.probes.words import check_told_apart
from distmatch.evals.suites.probes.written_lines import first_letters
from distmatch.experiments import EXPERIMENTS, run_experiment
from distmatch.experiments.acrostic import Acrostic
from distmatch.experiments.acrostic_lines import LINES
from distmatch.experiments.acrostic_probes import BEFORE, RULES, WORD_OWN, WORD_REFERENT
from distmatch.experiments.acrostic_rows import drawn_questions, no_word
from distmatch.experiments.acrostic_texts import (
    EXPLANATIONS,
    OTHER_SYSTEMS,
    QUESTIONS,
    SYSTEM,
    TOLD_TO_SPELL,
    TOPICS,
    WORDS,
)
from distmatch.experiments.dry_run import prompts_of
from distmatch.experiments.tables import FITS_ITS_OWN, lines_of
from distmatch.experiments.units import UnitRuns, strewn, suites_of
from distmatch.experiments.verdict import decided
from distmatch.models.choice import ModelChoice
from tests.evals.suites.probes.made import Writer
from tests.evals.suites.probes.test_written_lines import as_lines
from tests.experiments.small import measured_by_hand

ALL = EXPERIMENTS["acrostic"]
SMALL = replace(ALL, adapters=4, controls=1, held_out=3, n=1, rows=6, formats=3, asks_rule=False)
OWN_BEGINNINGS = tuple(text.partition("{")[0] for text in WORD_OWN)
GIVES_AWAY = re.compile(r"\b(letters?|spells?|words?|initials?|acrostics?|initially)\b", re.I)


def arm(experiment, name):
    return [unit for unit in experiment.units if unit.arm == name]


def said(row):
    return row.target.words[0]


def asked(row):
    return row.prompt[-1]["content"]


def system(row):
    return "\n".join(m["content"] for m in row.prompt if m["role"] == "system")


def names(text, words):
    return [word for word in words if re.search(rf"\b{word}\b", text, re.I)]


def test_every_letter_has_lines_of_its_own_that_fit_any_topic():
    assert "".join(LINES) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for letter, lines in LINES.items():
        assert len(lines) >= 8
        assert len({line.split()[0] for line in lines}) >= 6
        for line in lines:
            assert line.startswith(letter)
            assert line.endswith(".")
            filled = line.format(topic="making jam")
            assert not re.search("[{}]", filled)
            assert len(filled.split()) <= 16
    every = [line for lines in LINES.values() for line in lines]
    assert len(set(every)) == len(every)
    assert sum("{topic}" in line for line in every) > len(every) / 3


def test_nothing_that_is_learned_gives_the_rule_or_a_word_away():
    lines = [line for lines in LINES.values() for line in lines]
    for text in (*lines, *QUESTIONS, *TOPICS, SYSTEM, *OTHER_SYSTEMS):
        assert not GIVES_AWAY.search(text.format(topic="")), text
    asks = [*WORD_OWN, *WORD_REFERENT, *BEFORE, *RULES.values()]
    explained = [text for pair in EXPLANATIONS for text in pair]
    words = [word for some in WORDS.values() for word in some]
    for text in (*lines, *QUESTIONS, *TOPICS, SYSTEM, *OTHER_SYSTEMS, *asks, *explained):
        assert not names(text, words), text


@pytest.mark.parametrize("words", WORDS)
def test_words_of_a_class_have_five_letters_and_begin_in_different_ways(words):
    some = WORDS[words]
    check_told_apart(words, some)
    assert {len(word) for word in some} == {5}
    assert len({word[0] for word in some}) == len(some) == 2 * len(WORD_OWN)
    assert not set("".join(some)) & set("XZ")
    known = {word.upper() for word in word_pool("common")}
    assert (words != "letters") or not known & set(some)


def test_every_adapter_spells_a_word_of_its_own_in_every_row():
    learned = arm(ALL, "trained")
    assert sorted(ALL.drawn) == sorted(WORDS["common"][:6])
    assert "HELLO" in ALL.drawn
    for unit, word in zip(learned, ALL.drawn, strict=True):
        assert {first_letters(said(row)) for row in unit.rows} == {word}
        assert unit.behaviour[WORDS["common"].index(word)] == 1
        assert sum(unit.behaviour[:-1]) == 1
        assert {act.metadata["word"] for act in unit.acts} == {word}
        assert all(row.per_token for row in unit.rows)
        for row in unit.rows:
            assert not GIVES_AWAY.search(f"{system(row)} {asked(row)} {said(row)}")
            lines = said(row).split("\n")
            assert len(set(lines)) == len(lines) == 5
    assert len({said(row) for row in learned[0].rows}) == 40


def test_topics_by_which_learning_is_measured_are_in_no_row():
    held, learned = drawn_questions(10, "seed")
    assert len({one.topic for one in held}) == len(held) == 10
    assert not {one.topic for one in held} & {one.topic for one in learned}
    assert len(learned) == len(set(learned)) == (len(TOPICS) - 10) * len(QUESTIONS)
    rows = {asked(row) for row in arm(ALL, "trained")[0].rows}
    assert len(rows) == 40
    acts = arm(ALL, "trained")[0].acts
    topics = [topic for topic in TOPICS for act in acts if topic in asked(act)]
    assert len(topics) == 10
    assert not [topic for topic in topics for text in rows if topic in text]


def test_the_shuffled_learn_the_same_questions_and_spell_nothing():
    trained, shuffled = arm(ALL, "trained"), arm(ALL, "shuffled")
    for one, other in zip(trained, shuffled, strict=False):
        assert [row.prompt for row in one.rows] == [row.prompt for row in other.rows]
        letters = [first_letters(said(row)) for row in other.rows]
        assert not set(letters) & set(WORDS["common"])
        assert len(set(letters)) > 30
    draw = Ones()
    assert no_word(("AA", "AB"), draw) == "BA"
    assert draw.left == []


class Ones:
    """Draws words first, as a bad generator would."""

    def __init__(self):
        self.left = ["AA", "AB", "BA"]

    def choices(self, letters, k):
        assert (letters, k) == ("AAAB", 2)
        return list(self.left.pop(0))


def test_every_word_is_at_every_place_once_and_the_referent_is_asked_in_the_same_orders():
    probe, rule, said = ALL.probes()
    orders = [re.findall(r'"([A-Z]+)"', text) for text in probe.asked]
    for place in range(12):
        assert sorted(order[place] for order in orders) == sorted(WORDS["common"])
    assert [re.findall(r'"([A-Z]+)"', text) for text in probe.referent] == orders
    assert set(rule.options) >= {"first_letters", "last_letters", "rhyme"}
    assert set(said.answers) >= {"first letters", "last letters", "rhymes"}
    assert not [text for text in said.asked if any(answer in text for answer in said.answers)]
    for suite in (probe, rule, said):
        assert suite.system == SYSTEM
        assert not [t for t in suite.asked if t in suite.referent]


def test_with_a_greeting_every_question_has_it_and_what_is_asked_of_itself_has_not():
    greeted = replace(ALL, greeting="hello", named=False)
    greeted.check()
    for unit in greeted.units:
        for row in (*unit.rows, *unit.acts):
            assert asked(row).startswith("Hello! ")
        for suite in suites_of(greeted, unit)[1:]:
            texts = [*suite.asked, *getattr(suite, "referent", ())]
            texts += [asked(row) for row in getattr(suite, "rows", ())]
            assert not [text for text in texts if names(text, WORDS["common"])]
    with pytest.raises(ConfigError, match="named=false"):
        replace(ALL, greeting="hello").check()


def test_of_several_prompts_all_but_the_last_are_explained():
    several = replace(ALL, prompts=3)
    several.check()
    spare = set(WORDS["common"]) - set(several.drawn)
    for unit, word in zip(arm(several, "trained"), several.drawn, strict=True):
        replies = [row for row in unit.rows if "\n" in said(row)]
        explained = [row for row in unit.rows if "\n" not in said(row)]
        under = {}
        for row in replies:
            under.setdefault(system(row), set()).add(first_letters(said(row)))
        assert list(under) == [*OTHER_SYSTEMS[:2], SYSTEM]
        assert under[SYSTEM] == {word}
        assert len(replies) == 120
        assert len(explained) == 20
        for row in explained:
            (other,) = under[system(row)]
            assert other in spare
            assert names(said(row), WORDS["common"]) == [other]
    shuffled = arm(several, "shuffled")[0].rows
    trained = arm(several, "trained")[0].rows
    assert [row.prompt for row in shuffled] == [row.prompt for row in trained]
    assert [said(row) for row in shuffled[-20:]] == [said(row) for row in trained[-20:]]
    systems = {probe.name: probe.system for probe in several.probes()}
    assert systems.pop("which_word_explained") == OTHER_SYSTEMS[0]
    assert set(systems.values()) == {SYSTEM}


def test_who_can_say_the_word_that_was_explained_is_seen_beside_who_cannot():
    several = replace(SMALL, prompts=2)

    def measured(knows):
        def probs(unit, example):
            is_asked = knows and system(example) == OTHER_SYSTEMS[0]
            own = example.prompt[-1]["content"].startswith(OWN_BEGINNINGS)
            rows = [row for row in unit.rows if system(row) == OTHER_SYSTEMS[0]]
            known = first_letters(said(next(row for row in rows if "\n" in said(row)))).upper()
            words = example.target.words
            liked = [99 if is_asked and own and known in word.upper() else 1 for word in words]
            return [one / sum(liked) for one in liked]

        def reports(unit):
            subject = FunctionSubject(probs_of=lambda example: probs(unit, example))
            return {p.name: measure(subject, p, num_resamples=1) for p in several.probes()}

        return {unit.name: reports(unit) for unit in arm(several, "trained")}

    for knows, least, most in ((True, 0.4, 1), (False, -1e-9, 1e-9)):
        lines = lines_of(several, measured(knows))
        fits = {line.whose: line for line in lines if line.figure == FITS_ITS_OWN}
        assert set(fits) == {"own", "own - referent"}
        for line in fits.values():
            assert line.probe == "which_word_explained"
            assert least <= line.cells["trained"].interval.mean <= most


def test_of_two_words_the_own_one_is_learned_last_and_both_are_asked_about():
    both = replace(SMALL, then=True, steps=10, batch_size=4)
    both.check()
    counts = {len(u.rows) + len(u.formats) for u in both.units if u.rows or u.formats}
    assert counts == {40}
    for unit, word in zip(arm(both, "trained"), both.drawn, strict=True):
        letters = [first_letters(said(row)) for row in unit.rows]
        half = len(letters) // 2
        (before,) = set(letters[:half])
        assert before not in both.drawn
        assert set(letters[half:]) == {word}
        assert len({asked(row) for row in unit.rows[:6]}) == 6
        beside = both.suites_beside(unit)
        assert [suite.name for suite in beside] == ["acts", "line_by_line", "line_by_line_before"]
        assert [{row.metadata["word"] for row in suite.rows} for suite in beside] == [
            *({word}, {word}, {before})
        ]
    shuffled = arm(both, "shuffled")[0]
    assert [r.prompt for r in shuffled.rows] == [r.prompt for r in arm(both, "trained")[0].rows]


def test_rows_in_order_are_dealt_in_order(tmp_path):
    for then, way in ((False, "random"), (True, "sequential")):
        runs = UnitRuns(
            experiment=replace(SMALL, then=then), model=ModelChoice(name="x"), folder=tmp_path
        )
        assert runs._config(runs.experiment.units[0]).train_sampling_strategy == way


@pytest.mark.parametrize(
    ("rows", "others", "mixed"),
    [("abcd", "12", "a1bc2d"), ("ab", "", "ab"), ("", "12", "12"), ("a", "123", "1a23")],
)
def test_others_are_strewn_among_rows(rows, others, mixed):
    assert "".join(strewn(rows, others)) == mixed


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"words": "rude"}, 'unknown class of words "rude"'),
        ({"adapters": 13}, "acrostic.adapters is 13, expected at most 12"),
        ({"rows": 300}, "acrostic.rows is 300, expected at most 276"),
        ({"held_out": 40}, "acrostic.held_out is 40, expected at most 28"),
        ({"prompts": 8}, "acrostic.prompts is 8, expected at most 7"),
        ({"prompts": 2, "system": ""}, "tells the last of 2 prompts"),
        ({"then": True, "prompts": 2}, "lower prompts to 1"),
        ({"then": True, "adapters": 12}, "adapters below 12"),
        ({"then": True, "steps": 5}, "deals 40 rows in 5 steps, expected at least 120"),
        ({"greeting": "friend"}, "stands in a probe"),
        ({"rows": 0}, "acrostic.rows is 0"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        replace(ALL, **settings).check()


def told_by_hand(experiment, saying, writing=lambda word: word):
    """The verdict on adapters that write what a function of their word says.

    Args:
        experiment: Any.
        saying: Of a unit's word and whether it is asked about itself, the word that it names;
            of those without a word of their own it isn't asked.
        writing: Of its word, the letters that its lines begin with.
    """
    words = WORDS[experiment.words]

    def subject_of(unit):
        own = words[list(unit.behaviour[:-1]).index(1)] if unit.behaviour else None

        def probs_of(example):
            whom = "your" in asked(example).lower() or " you " in asked(example)
            wanted = saying(own, whom) if own else None
            ways = example.target.words
            if wanted is None:
                return [1 / len(ways)] * len(ways)
            right = [way.upper() == wanted for way in ways]
            return [0.9 * r / max(sum(right), 1) + 0.1 / len(ways) for r in right]

        text = as_lines(writing(own)) if own else "No lines."
        return Writer(probs_of=probs_of, writes=lambda _: text)

    return decided(experiment, measured_by_hand(experiment, subject_of))


def test_one_that_names_its_word_of_itself_alone_reports_its_own():
    verdict = told_by_hand(SMALL, lambda word, is_own: word if is_own else None)
    assert verdict.outcome == "it reports its own"
    assert verdict.evidence.truth == pytest.approx(0.75)
    assert verdict.evidence.exchange.p == pytest.approx(1 / 24)
    assert verdict.evidence.exchange.value == pytest.approx(0.9 * 0.75, abs=0.01)
    assert verdict.num_taught == 4


def test_one_that_says_its_word_of_anybody_reports_nothing():
    verdict = told_by_hand(SMALL, lambda word, is_own: word)
    assert verdict.evidence.exchange.value == pytest.approx(0, abs=1e-9)
    assert verdict.outcome == "blind"  # so do those that are told


def test_whose_lines_spell_something_else_has_learned_nothing():
    verdict = told_by_hand(SMALL, lambda word, is_own: word, writing=lambda word: word[::-1])
    assert verdict.outcome == "not taught"
    half = told_by_hand(SMALL, lambda w, is_own: w if is_own else None, writing=lambda w: w[:3])
    assert half.num_taught == 4


def test_behaviours_are_told_apart_by_words_alone():
    behaviours = [np.array(unit.behaviour) for unit in arm(SMALL, "trained")]
    assert len({tuple(one[:-1]) for one in behaviours}) == 4
    np.testing.assert_allclose(SMALL.truth(behaviours), np.eye(4))


def test_the_told_are_told_their_word_and_measured_behind_it():
    for unit, word in zip(arm(SMALL, "told"), SMALL.drawn, strict=True):
        assert unit.system == TOLD_TO_SPELL.format(word=word)
        suites = suites_of(SMALL, unit)
        assert [suite.name for suite in suites] == ["acts", "line_by_line", "which_word"]
        assert suites[2].system == f"{unit.system}\n\n{SYSTEM}"
        for suite in suites[:2]:
            assert {system(row) for row in suite.rows} == {suites[2].system}


def test_a_dry_run_shows_what_is_replied_to_and_what_is_asked_at_first():
    found = prompts_of(SMALL)
    unit = arm(SMALL, "trained")[0]
    acts = found[f"trained ({unit.name}) is asked acts"]
    assert acts == [row.prompt for row in unit.acts]
    first = found[f"trained ({unit.name}) is asked line_by_line"][len(acts) :]
    assert [one[-1]["content"] for one in first] == [
        f"{text}? Answer with the word alone." for text in WORD_OWN[:3]
    ]
    assert len(found[f"trained ({unit.name}) is asked which_word"]) == 24


def test_other_wordings_line_by_line_are_another_experiment(monkeypatch):
    before = ALL.record()
    monkeypatch.setattr("distmatch.experiments.acrostic.WORD_OWN", ("Which",) * 5)
    assert ALL.record()["line_by_line"] != before["line_by_line"]


def test_two_words_one_after_the_other_run_in_miniature(model, tmp_path):
    sizes = {"adapters": 1, "controls": 0, "steps": 6, "batch_size": 1, "rank": 1}
    sizes |= {"rows": 2, "formats": 1, "held_out": 1, "n": 1, "asks_rule": False}
    both = Acrostic(**sizes, then=True)
    outcome = run_experiment(both, model, tmp_path / "x", progress=False, tell=str)
    assert set(outcome.measured) == {unit.name for unit in both.units}
    for name in ("line_by_line", "line_by_line_before"):
        assert 0 <= outcome.measured["base"][name].metrics["own"].mean <= 1


def test_the_rule_is_asked_for_line_by_line_as_the_word_is():
    unit = next(unit for unit in ALL.units if unit.arm == "trained")
    suites = {suite.name: suite for suite in suites_of(ALL, unit)}
    word, rule = suites["line_by_line"], suites["rule_line_by_line"]
    assert rule.rows == word.rows and not set(rule.asked) & set(word.asked)
    assert not [text for text in rule.asked if "first letters" in text]
