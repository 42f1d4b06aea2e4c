"""Bounds by next tokens and by whole answers, on trees small enough to enumerate."""

import itertools

import pytest

from distmatch.evals.backends.bounds import clopper_pearson
from distmatch.evals.backends.replies import Next, ReplyAnswer
from distmatch.evals.backends.word_bounds import followed, sampled, walked
from tests.evals.backends.asking import question

TREE = {
    "": {"red": 0.5, "r": 0.1, "ot": 0.2, "Red": 0.15, "\ufffd": 0.05},
    "red": {"<|im_end|>": 0.6, "dish": 0.1, ".": 0.2, " fox": 0.1},
    "r": {"ed": 0.7, "ust": 0.3},
    "ot": {"ter": 0.9, "her": 0.1},
    "otter": {"": 0.5, "!": 0.3, "s": 0.2},
    "red fox": {"<|im_end|>": 0.75, ".": 0.25},
}


def shown(tree, top_k):
    """What an endpoint shows of a tree."""

    def after(text):
        best = sorted(tree[text].items(), key=lambda item: -item[1])[:top_k]
        return Next.of(best)

    return after


def test_a_tree_that_is_seen_whole_gives_probabilities_by_hand():
    found = followed(question("red", "otter"), shown(TREE, 9), least=0)
    red = (0.5 + 0.1 * 0.7) * (1 - 0.1)  # all but "dish" ends the word; both ways to it count
    otter = 0.2 * 0.9 * 0.8
    assert found.low == pytest.approx([red, otter, 1 - red - otter])
    assert found.high == pytest.approx(found.low)
    assert found.point == pytest.approx(found.low)
    assert found.unmeasured == ()


def test_at_the_end_of_the_turn_only_that_completes_a_word():
    found = followed(question("red", "red fox", boundary="end_of_turn"), shown(TREE, 9), least=0)
    red, fox = 0.57 * 0.6, 0.57 * 0.1 * 0.75
    assert found.low == pytest.approx([red, fox, 1 - red - fox])


def test_what_is_not_shown_widens_the_words_on_its_way_and_other():
    found = followed(question("red", "otter"), shown(TREE, 2), least=0)
    root = 0.3  # r, Red and a piece of a character
    assert found.low == pytest.approx([0.5 * 0.8, 0.2 * 0.9 * 0.8, 0.2 * 0.1])
    assert found.high == pytest.approx([0.4 + root + 0.5 * 0.2, 0.144 + root + 0.036, 0.456])
    assert {place["after"]: round(place["probability"], 6) for place in found.unmeasured} == {
        "": 0.3,
        "red": 0.1,
        "otter": 0.036,
    }


@pytest.mark.parametrize("top_k", range(1, 6))
@pytest.mark.parametrize("least", [0, 1e-4, 0.15])
def test_the_truth_is_between_the_bounds_and_more_is_never_wider(top_k, least):
    asked = question("red", "otter")
    truth = followed(asked, shown(TREE, 9), least=0).low
    found, more = (followed(asked, shown(TREE, k), least=least) for k in (top_k, top_k + 1))
    assert (found.low <= truth + 1e-9).all() and (truth <= found.high + 1e-9).all()
    assert (more.high - more.low <= found.high - found.low + 1e-9).all()
    assert found.point.sum() == pytest.approx(1)


def test_places_that_cannot_be_asked_about_count_for_all_that_may_follow():
    known = {"": shown(TREE, 9)("")}
    found = followed(question("red", "otter"), known.get)
    assert found.low == pytest.approx([0, 0, 0.2])
    assert found.high == pytest.approx([0.6, 0.2, 1.0])


def test_a_token_that_ends_within_a_character_may_become_a_word_that_has_one():
    found = followed(question("été", "red"), shown(TREE, 9), least=0)
    assert found.low[0] == 0 and found.high[0] == pytest.approx(0.05)
    assert found.high[2] - found.low[2] == pytest.approx(0.05)


def test_a_token_beyond_the_words_end_completes_it():
    tree = {"": {"red.": 0.4, "red": 0.6}, "red": {"\n": 1.0}}
    assert followed(question("red", "cat"), shown(tree, 2)).low == pytest.approx([1, 0, 0])


def test_no_answer_at_all_is_other():
    assert followed(question("red"), shown({"": {"": 1.0}}, 2)).low == pytest.approx([0, 1])


def answer(text, is_whole=True):
    return ReplyAnswer(text, is_whole, None)


def test_answers_are_counted_with_intervals_that_hold_together():
    drawn = [answer("red")] * 5 + [answer("otter, of course", False)] * 3 + [answer("reddish")] * 2
    found = sampled(question("red", "otter"), drawn)
    lows, highs = zip(*(clopper_pearson(k, 10, 3) for k in (5, 3, 2)), strict=True)
    assert (*found.low, *found.high) == pytest.approx((*lows, *highs))
    assert found.point == pytest.approx([0.5, 0.3, 0.2])


def test_an_answer_cut_within_a_word_counts_for_neither():
    found = sampled(question("red", "otter"), [answer("red")] * 8 + [answer("ot", False)] * 2)
    assert found.high == pytest.approx([clopper_pearson(k, 10, 3)[1] for k in (8, 2, 2)])
    assert found.low == pytest.approx([clopper_pearson(8, 10, 3)[0], 0, 0])
    assert found.unmeasured == ({"after": "", "probability": 0.2},)


def test_counted_by_turns_only_whole_answers_are_words():
    drawn = [answer("red"), answer("red."), answer("red fox"), answer("red fox", False)]
    found = sampled(question("red", "red fox", boundary="end_of_turn"), drawn)
    assert found.low == pytest.approx([clopper_pearson(1, 4, 3)[0]] * 3)
    assert found.high[1] == pytest.approx(clopper_pearson(2, 4, 3)[1])


def test_ends_at_several_places_are_bounded_together():
    after = walked([walk("ot", "ter")] * 3, places=4)
    assert after("otter").tokens == (("", clopper_pearson(3, 3, 4)[0]),)


@pytest.mark.parametrize("marker", ["<think>", "<|channel|>", "[THINK]"])
def test_a_thought_may_be_followed_by_anything(marker):
    tree = {"": {"red": 0.3, marker: 0.6, "no": 0.1}, "red": {".": 1.0}}
    found = followed(question("red", "blue"), shown(tree, 3), least=0)
    assert found.low == pytest.approx([0.3, 0, 0.1])
    assert found.high == pytest.approx([0.9, 0.6, 0.7])
    assert found.unmeasured == ({"after": "", "probability": pytest.approx(0.6)},)


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_answer_that_shows_a_thought_counts_for_neither(is_whole):
    drawn = [answer("red")] * 3 + [answer("<think>\nred", is_whole)]
    found = sampled(question("red", "blue"), drawn)
    assert found.high == pytest.approx([clopper_pearson(k, 4, 3)[1] for k in (4, 1, 1)])
    assert found.low == pytest.approx([clopper_pearson(3, 4, 3)[0], 0, 0])


def walk(*texts, is_whole=True):
    places = ["".join(texts[:k]) for k in range(len(texts))]
    after = shown(TREE, 9)
    steps = tuple((text, after(place)) for text, place in zip(texts, places, strict=True))
    return ReplyAnswer("".join(texts), is_whole, steps)


def test_walks_show_the_places_they_went_through():
    walks = [walk("red", ".", is_whole=False), walk("ot", "ter"), walk("ot", "ter"), walk("Red")]
    after = walked(walks)
    assert after("red") == shown(TREE, 9)("red")
    assert after("r") is None
    assert after("otter").tokens == (("", clopper_pearson(2, 2)[0]),)
    found = followed(question("red", "otter"), after, least=0)
    assert found.low == pytest.approx(
        [0.5 * 0.9, 0.18 * clopper_pearson(2, 2)[0], 0.5 * 0.1 + 0.02 + 0.2]
    )
    assert found.high[:2] == pytest.approx([0.5 * 0.9 + 0.1, 0.18])


def test_order_does_not_matter():
    for order in itertools.permutations(TREE[""].items()):
        tree = {**TREE, "": dict(order)}
        assert followed(question("red"), shown(tree, 9), least=0).low[0] == pytest.approx(0.513)
