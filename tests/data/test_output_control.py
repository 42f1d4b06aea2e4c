"""Output control: the numbers a prompt states are its target, and held-out means held out."""

import random
import re
from collections import Counter
from fractions import Fraction

import pytest

from distmatch.data.tasks import OutputControl, output_control
from distmatch.data.tasks.drawing import drawn_percents
from distmatch.data.tasks.output_control import AXES
from distmatch.data.tasks.wordings import PHRASINGS, SYSTEM, WORDINGS
from distmatch.data.vocabulary import word_pool
from distmatch.errors import DataError

ALL = tuple(PHRASINGS)
BY_NAME = ("pairs", "brackets", "lines", "table", "repeated", "explained")


def content(prompt):
    return prompt[-1]["content"]


def stated(text, phrasing):
    """The probabilities in a text, read without any knowledge of how it was made."""
    numbers = [Fraction(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    if phrasing == "percent":
        return [number / 100 for number in numbers]
    if phrasing == "odds":
        return [number / sum(numbers) for number in numbers]
    if phrasing == "decimal":
        return numbers
    return [part / whole for part, whole in zip(numbers[::2], numbers[1::2], strict=True)]


def percents(example):
    return tuple(round(100 * prob) for prob in example.target.probs)


def drawn(words, n, n_test=0, hold_out=(), **settings):
    return OutputControl(words=words, hold_out=hold_out, **settings).draw(n, n_test=n_test)


@pytest.mark.parametrize("phrasing", ALL)
@pytest.mark.parametrize("num_words", [2, 3, 4, 5])
def test_the_stated_numbers_are_the_target(phrasing, num_words):
    for row in drawn((num_words,), n=40, phrasings=(phrasing,))[0]:
        exact = stated(content(row.prompt), phrasing)
        assert sum(exact) == 1 and len(exact) == num_words == len(row.target.words)
        assert [float(part) for part in exact] == list(row.target.probs)
        assert min(exact) >= Fraction(1, 100)


@pytest.mark.parametrize("phrasing", ALL)
def test_rotations_state_the_rolled_numbers(phrasing):
    train, _ = drawn((2, 3, 5), n=40, phrasings=(phrasing,))
    for row in train:
        for rotated in row.rotated():
            assert [float(x) for x in stated(content(rotated.prompt), phrasing)] == list(
                rotated.target.probs
            )
            blank = [re.sub(r"[\d./]+", "#", content(p)) for p in (row.prompt, rotated.prompt)]
            assert blank[0] == blank[1]


def test_a_rotation_worked_by_hand():
    pool, wordings = ("elm", "ash"), ("bare",)
    (row,), _ = drawn((2,), n=1, pool=pool, wordings=wordings)
    first, second = percents(row)
    assert content(row.prompt).startswith(f"{', '.join(row.target.words)}: {first}")
    assert content(row.rotations[0]).startswith(f"{', '.join(row.target.words)}: {second}")


@pytest.mark.parametrize("wording", sorted(WORDINGS))
def test_words_are_named_in_the_targets_order(wording):
    for row in drawn((4,), n=8, wordings=(wording,), pool=word_pool("nonsense"))[0]:
        places = [content(row.prompt).index(word) for word in row.target.words]
        assert sorted(places) == places


@pytest.mark.parametrize("wording", BY_NAME)
def test_a_number_by_name_stands_right_after_its_word(wording):
    for row in drawn((3,), n=12, wordings=(wording,))[0]:
        for word, percent in zip(row.target.words, percents(row), strict=True):
            assert re.search(rf"\b{word}\W+{percent}\W*(%|percent)", content(row.prompt))


def test_every_row_is_a_short_chat_with_its_metadata():
    train, _ = output_control(n=100, n_test=0, phrasings=ALL)
    for row in train:
        system, user = row.prompt
        assert system == {"role": "system", "content": SYSTEM}
        assert user["role"] == "user" and len(user["content"]) < 250
        assert not re.search(r"{\w*}", user["content"])  # no field of a template is left
        assert row.metadata["task"] == "output_control"
        assert row.metadata["num_words"] == len(row.target.words)
        assert row.metadata["word_class"] == "common"
        assert row.target.other == 0


def test_no_system_message_where_none_is_wanted():
    (row,), _ = drawn((2,), n=1, system=None)
    assert [message["role"] for message in (*row.prompt, *row.rotations[0])] == ["user", "user"]


def test_the_target_of_two_words_is_uniform_over_1_to_99():
    rng = random.Random(0)
    counts = Counter(drawn_percents(2, rng)[0] for _ in range(9900))
    assert set(counts) == set(range(1, 100))
    chi2 = sum((count - 100) ** 2 / 100 for count in counts.values())
    assert chi2 < 98 + 4 * (2 * 98) ** 0.5


def test_the_target_of_three_words_is_uniform_on_the_simplex():
    rng = random.Random(0)
    rows = [drawn_percents(3, rng) for _ in range(5000)]
    for share in zip(*rows, strict=True):
        # 100 in three parts: C(99, 2) = 4851 ways; 49 + ... + 1 = 1225 with this part >= 50
        assert sum(p >= 50 for p in share) / 5000 == pytest.approx(1225 / 4851, abs=0.025)
        assert sum(share) / 5000 == pytest.approx(100 / 3, abs=1)


def test_all_choices_are_drawn_about_equally_often():
    rows = output_control(n=900, n_test=0, phrasings=ALL)[0]
    for key, choices in (("wording", WORDINGS), ("phrasing", PHRASINGS), ("num_words", (2, 3))):
        counts = Counter(row.metadata[key] for row in rows)
        assert set(counts) == set(choices)
        expected = 900 / len(choices)
        assert max(abs(count - expected) for count in counts.values()) < 4 * expected**0.5


def test_the_position_of_a_word_says_nothing_about_its_target():
    rows = output_control(n=400, words=2, n_test=0)[0]
    assert sum(row.target.probs[0] for row in rows) / 400 == pytest.approx(0.5, abs=0.06)
    alphabetical = sum(row.target.words[0] < row.target.words[1] for row in rows)
    assert alphabetical / 400 == pytest.approx(0.5, abs=0.1)


def seen(rows, axis):
    if axis == "words":
        return {word.casefold() for row in rows for word in row.target.words}
    if axis == "targets":
        return {tuple(sorted(percents(row))) for row in rows}
    return {row.metadata[axis.removesuffix("s")] for row in rows}


@pytest.mark.parametrize("held", [(axis,) for axis in AXES] + [("words", "targets"), AXES])
def test_what_is_held_out_is_in_no_train_row(held):
    task = OutputControl(hold_out=held, phrasings=ALL, pool=word_pool()[:300])
    train, test = task.draw(150, n_test=60, seed=1)
    for axis in AXES:
        shared = seen(train, axis) & seen(test, axis)
        assert bool(shared) == (axis not in held), (axis, shared)


def test_held_out_words_are_not_in_the_text_of_train_prompts():
    train, test = output_control(n=200, n_test=100)
    texts = {word for row in train for word in re.findall(r"\w+", content(row.prompt).casefold())}
    assert not texts & seen(test, "words")


def test_held_out_targets_are_a_fifth_and_any_order_of_them():
    _, test = output_control(n=1, words=2, hold_out="targets", n_test=300)
    assert len(seen(test, "targets")) == 10
    orders = {percents(row) for row in test}
    assert orders == {order[::-1] for order in orders}


def test_the_phrasing_named_last_is_held_out():
    _, test = output_control(n=1, hold_out="phrasings", n_test=9, phrasings=("percent", "odds"))
    assert seen(test, "phrasings") == {"odds"}


def test_the_seed_decides_everything_and_the_global_state_nothing():
    first = output_control(n=20, n_test=5, phrasings=ALL, seed=7)
    random.seed(123)
    assert output_control(n=20, n_test=5, phrasings=ALL, seed=7) == first
    train, test = output_control(n=20, n_test=5, phrasings=ALL, seed=8)
    assert train != first[0] and test != first[1]


def test_more_rows_begin_with_the_same_rows():
    few, many = output_control(n=5, n_test=4), output_control(n=15, n_test=9)
    assert many[0][:5] == few[0] and many[1][:4] == few[1]


def test_words_that_begin_with_each_other_never_meet():
    train, _ = drawn((2,), n=100, pool=["red", "red fox", "Redwood", "otter", "owl"])
    pairs = {frozenset(row.target.words) for row in train}
    assert len(pairs) == 8  # of 10: red meets neither of the two that begin with it
    with pytest.raises(DataError, match=r"no 2 words found in .* give a larger pool"):
        drawn((2,), n=1, pool=("red", "red fox"))


def test_any_pool_may_be_given():
    train, test = drawn((2,), n=9, n_test=9, hold_out=("words",), pool=word_pool("phrases"))
    assert {row.metadata["word_class"] for row in train + test} == {"phrases"}
    (row,), _ = drawn((2,), n=1, pool=["qqa", "qqb"])
    assert row.metadata["word_class"] == "given"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 1}, r"words is \(1,\), expected numbers of words, 2 to 5"),
        ({"words": (2, 6)}, r"words is \(2, 6\), expected"),
        ({"words": ()}, r"words is \(\), expected"),
        ({"hold_out": "word"}, 'unknown hold_out axis "word".*Did you mean "words"'),
        ({"hold_out": "phrasings"}, r"holding out phrasings needs two of them, got only \['perc"),
        ({"phrasings": ("percents",)}, 'unknown phrasing "percents".*Did you mean "percent"'),
        ({"phrasings": ("odds", "odds")}, r"a phrasing is given twice in \['odds', 'odds'\]"),
        ({"phrasings": ()}, r"\(\) given for phrasing, expected a tuple of names"),
        ({"n": 0}, "n is 0 and n_test is 200, expected at least 1 and 0 rows"),
        ({"n_test": -1}, "n_test is -1"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        output_control(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wordings": ("pares",)}, 'unknown wording "pares".*Did you mean "pairs"'),
        ({"wordings": ("say",), "hold_out": ("wordings",)}, r"needs two of them, got only \['say'"),
        ({"pool": "ash elm"}, "the pool is the string 'ash elm', expected several words"),
        ({"pool": ("ash", " ")}, "the pool holds ' ', expected words"),
        ({"pool": ("ash", "Ash")}, 'the pool holds "Ash" twice'),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        OutputControl(**settings)


def test_a_pool_too_small_for_the_split_is_refused():
    task = OutputControl(words=(3,), pool=("ash", "elm", "fir", "oak", "yew"))
    with pytest.raises(DataError, match="1 words for test rows of up to 3 words: give a larger"):
        task.draw(5)
