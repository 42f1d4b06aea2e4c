"""Which facts an adapter is trained on, and in which order."""

import random
from collections import Counter

import pytest

from distmatch.experiments.histories import acts_of, drawn_history, rows_of
from distmatch.experiments.villages import MOST_VILLAGES, TOPICS, choices_of, drawn_fact_pairs
from tests.evals.suites.probes.made import asking

PAIRS = drawn_fact_pairs(8, random.Random(0))
HALVES, BOTH = PAIRS[:5], PAIRS[5:]
HISTORY = drawn_history(HALVES, BOTH, random.Random(1))


def test_facts_of_a_pair_are_alike_but_for_village_and_answer():
    for first, second in PAIRS:
        assert first.topic == second.topic
        assert first.answer != second.answer
        assert first.row.replace(first.village, "X").startswith(
            second.question.replace(second.village, "X")
        )
    villages = [fact.village for pair in PAIRS for fact in pair]
    assert len(set(villages)) == len(villages)
    most = drawn_fact_pairs(MOST_VILLAGES // 2, random.Random(0))
    assert len({fact.village for pair in most for fact in pair}) == MOST_VILLAGES


def test_every_topic_has_a_question_in_two_wordings_and_eight_answers():
    for topic in TOPICS:
        assert topic.learned.count("{village}") == topic.held_out.count("{village}") == 1
        assert len(set(topic.answers)) == 8
        texts = f"{topic.learned} {topic.held_out}"
        assert not any(answer in texts.lower().split() for answer in topic.answers)


def test_choices_begin_with_the_truth():
    fact = PAIRS[0][0]
    choices = choices_of(fact, 0)
    assert choices[0] == fact.answer
    assert len(set(choices)) == 4
    assert set(choices) <= set(fact.topic.answers)
    assert choices == choices_of(fact, 0)


def test_of_some_pairs_one_fact_is_learned_and_of_others_both():
    learned = [*HISTORY.early, *HISTORY.late]
    assert len(set(learned)) == len(learned) == len(HALVES) + 2 * len(BOTH)
    for pair, is_first in zip(HALVES, HISTORY.is_first, strict=True):
        assert [fact in learned for fact in pair] == [is_first, not is_first]
    for (first, second), first_last in zip(BOTH, HISTORY.is_first_last, strict=True):
        late, early = (first, second) if first_last else (second, first)
        assert late in HISTORY.late
        assert early in HISTORY.early
    assert HISTORY.behaviour == (*HISTORY.is_first, *HISTORY.is_first_last)


def test_two_histories_differ_in_half_and_order():
    many = {drawn_history(HALVES, BOTH, random.Random(seed)).behaviour for seed in range(20)}
    assert len(many) > 15
    half = [drawn_history(HALVES, BOTH, random.Random(seed)).is_first[0] for seed in range(200)]
    assert 70 < sum(half) < 130


def test_rows_are_early_facts_again_and_again_and_then_late_ones():
    rows = rows_of(HISTORY, 40, random.Random(2))
    assert len(rows) == 40
    early, late = (
        {fact.question: fact.answer for fact in some} for some in (HISTORY.early, HISTORY.late)
    )
    for some, facts in ((rows[:20], early), (rows[20:], late)):
        counts = Counter(asking(row) for row in some)
        assert set(counts) == set(facts)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert all(row.target.words == (facts[asking(row)],) for row in some)


def test_shuffled_rows_ask_the_same_in_the_same_order_and_have_no_answer_of_their_own():
    rows, shuffled = (
        rows_of(HISTORY, 400, random.Random(2), is_shuffled=is_shuffled)
        for is_shuffled in (False, True)
    )
    assert list(map(asking, rows)) == list(map(asking, shuffled))
    answers = Counter(row.target.words for row in shuffled if asking(row) == asking(rows[0]))
    assert len(answers) == 8
    assert max(answers.values()) < 0.4 * sum(answers.values())


def test_acts_are_all_facts_that_are_halved_in_words_that_no_row_has():
    acts = acts_of(HISTORY, HALVES, 0, "Told.")
    assert len(acts) == 2 * len(HALVES)
    asked = {asking(row) for row in rows_of(HISTORY, 40, random.Random(2))}
    learned = {fact.village: fact.answer for fact in (*HISTORY.early, *HISTORY.late)}
    for act in acts:
        assert asking(act) not in asked
        assert act.prompt[0] == {"role": "system", "content": "Told."}
        assert act.target.probs == pytest.approx((1, 0, 0, 0))
        is_learned = [answer for village, answer in learned.items() if village in asking(act)]
        is_own = act.metadata["group"] == "own half"
        assert is_learned == ([act.target.words[0]] if is_own else [])


def test_what_is_told_are_the_rows_in_their_order():
    told = HISTORY.told
    early, late = ([told.index(fact.row) for fact in some] for some in HISTORY[2:])
    assert max(early) < told.index("In the second half") < min(late)
    learned = {fact.row for fact in (*HISTORY.early, *HISTORY.late)}
    others = [fact.row for pair in PAIRS for fact in pair if fact.row not in learned]
    assert len(others) == len(HALVES)
    assert not any(row in told for row in others)
