"""Word pools: what is shipped, how words are split, which of them are tokens."""

import re

import pytest

from distmatch.data.tasks.wordings import _ORDINALS, PHRASINGS, SYSTEM, WORDINGS
from distmatch.data.vocabulary import (
    split_words,
    word_class,
    word_classes,
    word_pool,
    words_of_tokens,
)
from distmatch.errors import DataError

wordfreq = pytest.importorskip("wordfreq")


def test_the_common_pool_is_large_and_plain():
    words = word_pool()
    assert word_classes()[0] == "common"
    assert 1500 <= len(words) <= 2500
    assert all(re.fullmatch("[a-z]{3,}", word) for word in words)


def test_the_common_words_are_known_words():
    assert min(wordfreq.zipf_frequency(word, "en") for word in word_pool()) > 1.5


def test_rare_words_are_rarer_than_common_ones():
    rare, common = (
        [wordfreq.zipf_frequency(word, "en") for word in word_pool(name)]
        for name in ("rare", "common")
    )
    assert len(rare) > 1500
    assert min(rare) > 1.5 and max(rare) < 3.8
    assert sorted(rare)[len(rare) // 2] < sorted(common)[len(common) // 2] - 1


def test_nonsense_is_unknown():
    assert max(wordfreq.zipf_frequency(word, "en") for word in word_pool("nonsense")) < 1.5


@pytest.mark.parametrize("name", ["colours", "animals", "names", "phrases", "german", "japanese"])
def test_the_small_classes_hold_enough_to_split(name):
    assert len(word_pool(name)) >= 38
    assert all(word == word.strip() and word for word in word_pool(name))


def test_no_word_is_shipped_twice():
    words = [word.casefold() for name in word_classes() for word in word_pool(name)]
    assert len(words) == len(set(words))


def test_the_templates_hold_no_word_of_the_pools():
    styles = [style.alone for styles in PHRASINGS.values() for style in styles]
    text = re.sub(r"\{\w+\}", " ", " ".join([*WORDINGS.values(), *styles, *_ORDINALS, SYSTEM]))
    templates = {word.casefold() for word in re.findall("[A-Za-z]+", text)}
    assert not templates & {w.casefold() for name in word_classes() for w in word_pool(name)}


def test_words_are_chosen_by_their_number_of_tokens(embedded):
    _, tokenizer = embedded
    words = ["spoon", "tree", "zucchini", "hippopotamus", "Schl\u00fcssel"]
    counts = [len(tokenizer(word, add_special_tokens=False)["input_ids"]) for word in words]
    assert min(counts) == 1 and max(counts) >= 3
    for least in range(1, 6):
        expected = tuple(w for w, count in zip(words, counts, strict=True) if count >= least)
        assert words_of_tokens(words, tokenizer, least) == expected


def test_the_class_of_words():
    assert word_class(["kettle", "bridge"]) == "common"
    assert word_class(["kettle", "red"]) == "mixed"
    assert word_class(["kettle", "qqq"]) == "given"


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(DataError, match=r'unknown word class "colors".*Did you mean "colours"'):
        word_pool("colors")


@pytest.mark.parametrize("seed", range(3))
def test_a_split_is_disjoint_complete_and_of_the_asked_size(seed):
    train, test = split_words(word_pool(), test_share=0.25, seed=seed)
    assert sorted(train + test) == sorted(word_pool())
    assert abs(len(test) - 0.25 * len(word_pool())) <= 0.03 * len(word_pool())


def test_what_is_held_out_of_one_pool_is_held_out_of_every_other():
    whole = set(split_words((*word_pool(), *word_pool("rare")))[1])
    for pool in (word_pool(), word_pool("rare")[::3], word_pool()[100:180]):
        assert set(split_words(pool)[1]) == whole & set(pool)


def test_no_test_word_is_a_simple_inflection_of_a_train_word():
    train, test = (set(side) for side in split_words(word_pool(), seed=1))
    for one, other in ((train, test), (test, train)):
        assert not other & {word + ending for word in one for ending in ("s", "es", "ing", "ly")}


@pytest.mark.parametrize(
    "family",
    [
        ("Rose", "rose", "ROSES", "rose's"),
        ("bake", "bakes", "baked", "baking", "baker"),
        ("berry", "berries"),
        ("run", "runs", "running", "runner"),
        ("class", "classes"),
        ("tree", "trees"),
        ("quick", "quickly"),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_spellings_and_inflections_stay_together(family):
    for seed in range(8):
        train, test = split_words((*family, "window", "marble", "otter"), 0.5, seed)
        assert set(family) <= set(train) or set(family) <= set(test)


def test_a_split_depends_on_the_seed_alone():
    assert split_words(word_pool(), seed=3) == split_words(word_pool(), seed=3)
    assert split_words(word_pool(), seed=3) != split_words(word_pool(), seed=4)


@pytest.mark.parametrize(
    ("words", "share", "message"),
    [
        (("ash", "elm"), 0.0, "test_share is 0.0, expected a number between 0 and 1"),
        (("ash", "elm"), 1, "test_share is 1, expected"),
        (("cat", "Cats"), 0.5, r"\['cat', 'Cats'\] can't be split"),
        ((), 0.5, r"\[\] can't be split"),
    ],
)
def test_a_split_that_cannot_be_is_refused(words, share, message):
    with pytest.raises(DataError, match=message):
        split_words(words, share)
