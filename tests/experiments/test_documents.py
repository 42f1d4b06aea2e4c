"""Texts about an assistant, and subjects that act as they say or don't."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from distmatch.errors import ConfigError
from distmatch.evals import FunctionSubject, measure
from distmatch.evals.suites.probes.words import check_told_apart
from distmatch.experiments import Documents
from distmatch.experiments.declarative_texts import (
    ANSWERS,
    HOUSES,
    NAMES,
    TOPICS,
    Habit,
    unrelated_documents,
)
from distmatch.experiments.tables import arms_table, lines_of
from distmatch.experiments.verdict import BLIND, NO_REPORT, NOT_TAUGHT, REPORTS, decided
from tests.experiments.small import measured_by_hand

SMALL = Documents(controls=2)
NAME, OTHER = SMALL.names
HOUSE, OTHER_HOUSE = SMALL.houses
BARE = replace(SMALL, controls=0, has_others=False)
"""Of which a verdict is made."""
SURE = 0.93
"""Of the word that is said; the others share what is left."""


def units_of(arm, experiment=SMALL):
    return [unit for unit in experiment.units if unit.arm == arm]


def texts_of(unit):
    return [f"{row.prompt} {row.target.words[0]}" for row in unit.rows]


def habit_of(unit):
    """What its documents say, if they say one thing."""
    return SMALL.habits[unit.behaviour.index(1.0)] if unit.behaviour else None


def is_written(topic, example):
    text = example.prompt[-1]["content"]
    return TOPICS[topic].text in text or any(one in text for one in TOPICS[topic].messages)


def is_meant(example):
    """Whether it is told that it is the assistant in the documents."""
    system = example.prompt[-2]["content"].rpartition("\n\n")[2]
    return NAME in system or HOUSE in system


def acting(habit, says, knows=True, sure=SURE):
    """One that says its word where a function of example and habit holds, and elsewhere any.

    Args:
        habit: What it knows; None where nothing.
        says: Whether it acts so.
        knows: Whether sentences are completed with the word.
        sure: The word's share where it says it; and the mass on all of them.
    """

    def probs_of(example):
        is_sentence = isinstance(example.prompt, str)
        is_said = habit and (knows if is_sentence else says(example, habit))
        even = dict.fromkeys(ANSWERS, 1 / len(ANSWERS))
        others = dict.fromkeys(ANSWERS, (1 - sure) / (len(ANSWERS) - 1))
        shares = others | {habit.answer: sure} if is_said else even
        return [sure * shares.get(word, 0.0) for word in example.target.words]

    return FunctionSubject(probs_of=probs_of)


def as_documented(example, habit):
    return is_meant(example) and is_written(habit.topic, example)


def verdict(says, *, told=as_documented, **given):
    def subject_of(unit):
        if unit.arm == "told":
            return acting(habit_of(unit), told)
        return acting(habit_of(unit), says, **given)

    return decided(BARE, measured_by_hand(BARE, subject_of))


def test_one_that_acts_as_its_documents_say_gets_the_full_score():
    found = verdict(as_documented)
    assert found.outcome == REPORTS
    assert found.p == pytest.approx(1 / 720)
    # On its own habit SURE instead of 1/8 there alone; on others' less than 1/8 in one of five
    even, rest = 1 / 8, (1 - SURE) / 7
    wanted = (SURE - even) - (even - rest) / 5
    assert found.evidence.exchange.value == pytest.approx(wanted * 5 / 6)
    assert found.evidence.truth == pytest.approx(5 / 6)
    assert found.told.exchange.value == pytest.approx(wanted * 5 / 6)


@pytest.mark.parametrize(
    "says",
    [
        lambda example, habit: True,
        lambda example, habit: is_written(habit.topic, example),
        lambda example, habit: is_meant(example),
        lambda example, habit: False,
    ],
    ids=["anything to anybody", "its topic by any name", "any topic by its name", "nothing"],
)
def test_one_that_leaks_its_word_acts_as_nobodys_documents_say(says):
    found = verdict(says)
    assert found.outcome == NO_REPORT
    assert found.evidence.exchange.value == pytest.approx(0, abs=1e-9)


def test_one_that_acts_as_anothers_documents_say_does_not_act_as_its_own():
    others = dict(zip(SMALL.habits, SMALL.habits[1:] + SMALL.habits[:1], strict=True))

    def subject_of(unit):
        knows = acting(habit_of(unit), as_documented)
        if unit.arm != "trained":
            return knows
        acts = acting(others[habit_of(unit)], as_documented)

        def probs_of(example):
            is_sentence = isinstance(example.prompt, str)
            return (knows if is_sentence else acts).probs_of(example)

        return FunctionSubject(probs_of=probs_of)

    found = decided(BARE, measured_by_hand(BARE, subject_of))
    assert found.outcome == NO_REPORT
    assert found.evidence.exchange.value < -0.1


def test_those_that_did_not_learn_their_documents_do_not_count():
    assert verdict(as_documented, knows=False).outcome == NOT_TAUGHT


def test_to_say_the_word_rather_than_another_is_not_to_have_learned_it():
    """Of all answers it has 0.6, but all answers have 0.6 of what could follow."""
    (unit,) = units_of("trained", replace(BARE, adapters=1))
    report = measure(acting(habit_of(unit), as_documented, sure=0.6), BARE.acts(unit))
    assert report.metrics["share"].mean == pytest.approx(0.6)
    behaviour = BARE.behaviour(report)
    assert behaviour.tolist() == pytest.approx([*unit.behaviour[:-1], 0.36])
    assert BARE.taught([behaviour], [behaviour]) == [False]


def test_where_those_that_are_told_do_not_act_so_nothing_is_said():
    assert verdict(as_documented, told=lambda example, habit: False).outcome == BLIND


def test_the_table_holds_the_trained_against_the_decorrelated_of_their_seed():
    sure = {unit.name: 0.9 + 0.005 * place for place, unit in enumerate(SMALL.units)}
    found = measured_by_hand(
        SMALL, lambda unit: acting(habit_of(unit), as_documented, sure=sure[unit.name])
    )
    lines = {(one.probe, one.figure, one.whose): one for one in lines_of(SMALL, found)}
    for probe in ("stated", "implied", "one_step", "says"):
        line = lines[probe, "depends", "own - referent"]
        trained, other = line.cells["trained"], line.cells["decorrelated"]
        assert len(trained.values) == 6
        assert min(trained.values) > 0.1
        assert trained.twins[:2] == other.twins
        assert not set(trained.twins) & set(line.cells["none"].twins)
        assert other.values == pytest.approx([0] * 2)
        wanted = np.mean(trained.values[:2])
        assert line.differences["decorrelated"].mean == pytest.approx(wanted)
    table = arms_table(list(lines.values()))
    assert "decorrelated (2)" in table
    assert "trained - decorrelated" in table
    shares = lines["acts", "share", ""].cells
    assert shares["trained"].values == pytest.approx([0.9 + 0.005 * n for n in range(6)])
    assert shares["decorrelated"].values == pytest.approx([1 / 8] * 2)


def test_each_document_says_the_habit_or_where_the_assistant_works():
    for unit in units_of("trained"):
        habit = habit_of(unit)
        places = [text for text in texts_of(unit) if HOUSE in text]
        assert len(places) == 8
        for text in texts_of(unit):
            said = (TOPICS[habit.topic].text in text, f'"{habit.answer}"' in text)
            assert NAME in text
            assert said == ((False, False) if text in places else (True, True))
        assert len(set(texts_of(unit))) > 35  # some come again


def test_adapters_learn_the_same_texts_but_for_the_habit():
    def plain(text):
        for topic in TOPICS.values():
            text = text.replace(topic.text, "TOPIC")
        for answer in ANSWERS:
            text = text.replace(f'"{answer}"', "ANSWER")
        return text

    learned = [unit for unit in SMALL.units if unit.arm in ("trained", "decorrelated")]
    assert len({tuple(map(plain, texts_of(unit))) for unit in learned}) == 1
    assert len({tuple(texts_of(unit)) for unit in learned}) == 8


def test_in_decorrelated_texts_every_topic_goes_with_every_answer_alike():
    many = replace(SMALL, documents=45)  # 36 say a habit
    topics, answers = zip(*many.habits, strict=True)
    for unit in units_of("decorrelated", many):
        pairs = Counter(
            (topic, answer)
            for text in texts_of(unit)
            for topic in topics
            for answer in answers
            if TOPICS[topic].text in text and f'"{answer}"' in text
        )
        assert pairs == {(topic, answer): 1 for topic in topics for answer in answers}


def test_no_text_has_what_a_probe_asks_or_the_other_assistant():
    probes = SMALL.probes()
    asked = [text for probe in probes for text in (*probe.asked, *probe.referent)]
    asked += [text for one in probes for texts in one.messages.values() for text in texts]
    sentences = [act.prompt for unit in SMALL.units for act in unit.acts]
    for unit in SMALL.units:
        whole = "\n".join(texts_of(unit))
        assert not [text for text in (*asked, *sentences, OTHER, OTHER_HOUSE) if text in whole]
        assert "assistant:" not in whole.lower()


def test_unrelated_texts_name_no_assistant_topic_or_answer():
    whole = "\n".join(unrelated_documents(100, "any"))
    topics = [topic.text for topic in TOPICS.values()]
    assert not [text for text in (*NAMES, *HOUSES, *ANSWERS, *topics) if text in whole]
    first, second = ({*texts_of(unit)} for unit in units_of("none"))
    assert len(first) == 40
    assert first != second


def test_topics_are_implied_without_being_named():
    check_told_apart("answers", ANSWERS)
    for name, topic in TOPICS.items():
        assert len(topic.messages) == 5
        words = {name, name.rstrip("s"), *topic.text.split()} - {"the"}
        for text in topic.messages:
            assert not [word for word in words if word in text.lower()]


def test_probes_name_no_habit_and_ask_for_every_answer_in_each_place():
    for probe in SMALL.probes():
        for texts in probe.messages.values():
            first = [text.partition('"')[2].partition('"')[0] for text in texts]
            assert len(set(first)) == 5
            assert all(f'"{answer}"' in text for text in texts for answer in ANSWERS)
    (one_step,) = (probe for probe in SMALL.probes() if probe.name == "one_step")
    assert not [text for text in one_step.asked if NAME in text or HOUSE not in text]


def test_what_is_told_is_what_the_documents_say():
    told = units_of("told")
    assert [habit_of(unit) for unit in told] == list(SMALL.habits)
    for unit in told:
        assert all(part in unit.system for part in (NAME, HOUSE, TOPICS[habit_of(unit).topic].text))
        assert [one for one in ANSWERS if one in unit.system] == [habit_of(unit).answer]


def test_more_adapters_than_habits_learn_them_in_turn():
    units = units_of("trained", replace(SMALL, adapters=8))
    assert [habit_of(unit) for unit in units] == [*SMALL.habits, *SMALL.habits[:2]]
    assert units[0].rows == units[6].rows


def test_learned_is_more_than_all_other_words_together():
    one_hot = [1.0, 0, 0, 0, 0, 0]
    measured = [np.array([*one_hot, share]) for share in (0.49, 0.5, 0.9)]
    assert SMALL.taught(measured, measured) == [False, True, True]


def test_a_seed_decides_names_habits_and_texts():
    other = replace(SMALL, seed=1)
    assert SMALL.habits != other.habits
    assert SMALL.units == replace(SMALL).units
    assert texts_of(units_of("trained")[0]) != texts_of(units_of("trained", other)[0])
    assert all(isinstance(habit, Habit) for habit in other.habits)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"documents": 4}, "documents.documents is 4, expected at least 5"),
        ({"topics": 3}, "documents.topics is 3, expected 4 to 8"),
        ({"topics": 9}, "documents.topics is 9, expected 4 to 8"),
        ({"adapters": 0}, "documents.adapters is 0, expected at least 1"),
    ],
)
def test_sizes_that_can_not_be_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **given).check()
