"""Places at which a model goes on, and texts whose tokens it counts."""

import random

import pytest

from distmatch.data import Example, WordDistribution
from distmatch.data.trie import Encoder
from distmatch.evals.suites.probes.probe import BOUNDARY
from distmatch.evals.suites.probes.words import check_told_apart
from distmatch.experiments.crossroads import (
    MOST_PLACES,
    drawn_conflicts,
    drawn_continuations,
    drawn_gaps,
    drawn_strings,
)
from tests.tiny import tiny_tokenizer

DRAWERS = {drawn_continuations: 2, drawn_gaps: 4, drawn_conflicts: 2}


@pytest.mark.parametrize("drawer", DRAWERS)
def test_places_are_drawn_by_a_seed_and_their_ways_can_be_told_apart(drawer):
    places = drawer(MOST_PLACES, random.Random(0))
    assert places == drawer(MOST_PLACES, random.Random(0)) != drawer(10, random.Random(1))
    assert len({place.text for place in places}) == MOST_PLACES
    for place in places:
        assert len(place.ways) == DRAWERS[drawer]
        check_told_apart("ways", place.ways)


@pytest.mark.parametrize("drawer", [drawn_continuations, drawn_gaps])
def test_ways_can_follow_their_texts(drawer):
    asked = [
        Example(
            prompt=place.text,
            target=WordDistribution.normalised(dict.fromkeys(place.ways, 1.0)),
            boundary=BOUNDARY,
        )
        for place in drawer(MOST_PLACES, random.Random(0))
    ]
    Encoder(tiny_tokenizer()).encode_all(asked)


def test_the_two_instructions_of_a_place_contradict_each_other():
    places = drawn_conflicts(MOST_PLACES, random.Random(0))
    for place in places:
        first, second = place.called
        assert first != second
        assert place.text.index(first) < place.text.index(second)
        assert all(way in place.text.partition(".")[0] for way in place.ways)
    stands_first = [p.text.index(p.ways[0]) < p.text.index(p.ways[1]) for p in places]
    assert len(set(stands_first)) == 2  # which word stands first says nothing of its instruction


def test_texts_for_tokens_are_of_many_lengths():
    texts = drawn_strings(24, random.Random(0))
    assert texts == drawn_strings(24, random.Random(0))
    assert len(set(texts)) == 24
    assert all(text == text.strip() for text in texts)
    assert len({len(text) for text in texts}) > 8
