"""Tries laid into packs: what is fed, in which order, and what is shared."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.trie import Encoder, TokenTrie
from tests.tiny import tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())

ids = st.integers(1, 3)
prompts = st.lists(ids, min_size=1, max_size=5).map(tuple)
word_paths = st.lists(
    st.lists(ids, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4, unique=True
)
drawn_tries = st.lists(st.tuples(prompts, word_paths), min_size=1, max_size=6)
few = settings(max_examples=30)


def make_trie(prompt, paths, boundary="end_of_turn", other=0.0):
    probs = ((1 - other) / len(paths),) * len(paths)
    target = WordDistribution(tuple(f"w{i}" for i in range(len(paths))), probs, other)
    return TokenTrie(tuple(prompt), tuple((path,) for path in paths), boundary, target)


def make_tries(drawn):
    return [make_trie(prompt, paths) for prompt, paths in drawn]


def sequence(batch, token):
    """The ids from the start of a sequence to a token, by the rule of ancestors."""
    pack, place = divmod(int(token), batch.ids.shape[1])
    seen = [j for j in range(place + 1) if place < batch.ends[pack, j]]
    return tuple(batch.ids[pack, seen].tolist())


@few
@given(drawn_tries)
def test_every_row_sees_its_own_sequence(drawn):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER)
    wanted = [trie.prompt_ids + node for trie in examples for node in trie.nodes]
    assert [sequence(batch, token) for token in batch.row_tokens] == wanted


@few
@given(drawn_tries, st.lists(st.lists(ids, min_size=2, max_size=6).map(tuple)), st.integers(1, 40))
def test_texts_beside_examples_see_their_own_beginnings(drawn, texts, pack_tokens):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER, pack_tokens, texts=texts)
    wanted = [text[:end] for text in texts for end in range(1, len(text))]
    assert [sequence(batch, token) for token in batch.text_tokens] == wanted
    rows = [trie.prompt_ids + node for trie in examples for node in trie.nodes]
    assert [sequence(batch, token) for token in batch.row_tokens] == rows


@few
@given(drawn_tries, st.integers(1, 40))
def test_depths_count_ancestors(drawn, pack_tokens):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER, pack_tokens)
    for token, depth in enumerate(batch.depths.flatten().tolist()):
        assert len(sequence(batch, token)) == depth + 1


@few
@given(drawn_tries, st.integers(1, 40))
def test_subtrees_are_nested_ranges(drawn, pack_tokens):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER, pack_tokens)
    for ends in batch.ends.tolist():
        for start, end in enumerate(ends):
            assert start < end <= len(ends)
            assert all(ends[inner] <= end for inner in range(start, end))


@few
@given(drawn_tries, st.integers(1, 40))
def test_no_token_of_a_pack_is_fed_twice(drawn, pack_tokens):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER, pack_tokens)
    for pack in range(len(batch.ids)):
        width = batch.ids.shape[1]
        padding = (batch.ends[pack] == torch.arange(1, width + 1)) & (batch.depths[pack] == 0)
        fed = [sequence(batch, pack * width + j) for j in range(width) if not padding[j]]
        assert len(fed) == len(set(fed))


@few
@given(drawn_tries)
def test_the_fed_tokens_are_exactly_the_prefixes(drawn):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER)
    wanted = {
        (*trie.prompt_ids, *node)[:length]
        for trie in examples
        for node in trie.nodes
        for length in range(1, len(trie.prompt_ids) + len(node) + 1)
    }
    assert batch.ids.shape == (1, len(wanted))


@few
@given(drawn_tries, st.integers(1, 40))
def test_edges_and_paths_spell_the_words(drawn, pack_tokens):
    examples = make_tries(drawn)
    batch = make_batch(examples, ENCODER, pack_tokens)
    for trie, words in zip(examples, batch.word_paths.tolist(), strict=True):
        for (path,), (number,) in zip(trie.paths, words, strict=False):
            edges = [e for e in batch.path_edges[number].tolist() if e < len(batch.edge_row)]
            assert tuple(batch.edge_token[edges].tolist()) == path
            rows = batch.edge_row[edges]
            starts = [trie.prompt_ids + path[:length] for length in range(len(path))]
            assert [sequence(batch, batch.row_tokens[row]) for row in rows] == starts


def test_a_shared_prompt_is_fed_once():
    first = make_trie((1, 2, 3), [(4,), (5,)])
    second = make_trie((1, 2, 3), [(4,), (6,)])
    longer = make_trie((1, 2, 9), [(4,)])
    assert make_batch([first], ENCODER).ids.tolist() == [[1, 2, 3, 4, 5]]
    assert make_batch([first, second], ENCODER).ids.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert make_batch([first, second, longer], ENCODER).ids.shape == (1, 8)


def test_without_a_boundary_no_path_end_is_fed():
    paths = [(4, 5), (6,)]
    assert make_batch([make_trie((1, 2), paths, "none")], ENCODER).ids.tolist() == [[1, 2, 4]]
    assert make_batch([make_trie((1, 2), paths)], ENCODER).ids.tolist() == [[1, 2, 4, 5, 6]]


@pytest.mark.parametrize(("limit", "packs"), [(1, 4), (4, 4), (8, 2), (11, 2), (12, 1), (512, 1)])
def test_packs_hold_at_most_so_many_tokens(limit, packs):
    examples = [make_trie((p, 10), [(3,)]) for p in (5, 6, 7, 8)]
    batch = make_batch(examples, ENCODER, limit)
    assert len(batch.ids) == packs
    assert batch.ids.shape[1] <= max(limit, 3)


def test_one_example_may_be_larger_than_a_pack():
    assert make_batch([make_trie(range(1, 30), [(3,)])], ENCODER, 8).ids.shape == (1, 30)


def test_a_long_common_beginning_is_fed_once_however_full_the_pack():
    shared = tuple(range(1, 41))
    examples = [make_trie((*shared, k), [(3,)]) for k in range(50, 60)]
    assert make_batch(examples, ENCODER, 32).ids.shape == (1, 40 + 10 * 2)
    texts = [(*shared, k, 3) for k in range(50, 60)]
    assert make_text_batch(texts, 32).ids.shape == (1, 40 + 10)


@pytest.mark.parametrize("num_examples", [100, 200])
def test_what_is_shared_is_fed_again_before_attention_costs_more_than_it(num_examples):
    pack_tokens, length, shared = 16, 14, 12
    examples = [make_trie((*range(1, shared + 1), k), [(3,)]) for k in range(50, 50 + num_examples)]
    packs, tokens = make_batch(examples, ENCODER, pack_tokens).ids.shape
    alone = num_examples * (length**2 + pack_tokens * length)
    assert packs > 1
    assert packs * (tokens**2 + pack_tokens * tokens) < 1.1 * alone


def test_what_is_shared_is_fed_again_where_padding_all_others_would_cost_more():
    long = [make_trie((*range(1, 61), k), [(3,)]) for k in range(100, 108)]
    other = [make_trie((k, *range(1, 50)), [(3,)]) for k in range(200, 220)]
    together = make_batch([*long, *other], ENCODER, 52).ids.shape
    assert make_batch(long, ENCODER, 52).ids.shape == (1, 60 + 8 * 2)
    assert together == (28, 62)  # not 21 packs as wide as the eight in one


def test_texts_join_a_pack_that_one_example_fills_and_do_not_fill_it_for_ever():
    example = make_trie(range(1, 60), [(3,)])
    texts = [(k, *range(5, 10), 3) for k in range(100, 108)]
    assert make_batch([example], ENCODER, 8, texts=texts[:1]).ids.shape == (1, 60 + 6)
    packs, width = make_batch([example], ENCODER, 8, texts=texts * 5).ids.shape
    assert packs > 1 and width <= 60 + 8


def test_padding_sees_itself_alone():
    batch = make_batch([make_trie((5, 6, 7, 8), [(3,)]), make_trie((9,), [(3,)])], ENCODER, 5)
    assert batch.ids.tolist() == [[5, 6, 7, 8, 3], [9, 3, 0, 0, 0]]
    assert batch.ends[1].tolist() == [2, 2, 3, 4, 5]
    assert batch.depths[1].tolist() == [0, 1, 0, 0, 0]


def test_the_order_of_examples_is_kept():
    examples = [make_trie((p,), [(3,)] * 1, other=p / 10) for p in (7, 5, 9, 1)]
    batch = make_batch(examples, ENCODER, 4)
    torch.testing.assert_close(batch.target[:, -1], torch.tensor([0.7, 0.5, 0.9, 0.1]))
    slots = batch.row_tokens[batch.example_rows[:, 0]]
    assert [sequence(batch, slot) for slot in slots] == [(7,), (5,), (9,), (1,)]


def test_an_example_with_fewer_words_is_padded():
    batch = make_batch([make_trie((1,), [(4,), (5,), (6,)]), make_trie((1,), [(4,)])], ENCODER)
    assert batch.is_word.tolist() == [[True, True, True], [True, False, False]]
    torch.testing.assert_close(batch.target[1], torch.tensor([1.0, 0, 0, 0]))
    assert batch.word_paths[1].tolist() == [[3], [4], [4]]


@pytest.mark.parametrize(
    ("probs", "other", "last", "is_free", "preserve"),
    [
        ((0.5, 0.5), 0.0, 0.0, False, 0.0),
        ((0.5, 0.25), 0.25, 0.25, False, 0.0),
        ((0.5, 0.5), "free", 0.0, True, 0.0),
        ((0.5, 0.25), "preserve", 0.25, False, 0.25),
    ],
)
def test_what_other_should_be(probs, other, last, is_free, preserve):
    target = WordDistribution(("a", "b"), probs, other)
    batch = make_batch([TokenTrie((1,), (((4,),), ((5,),)), "none", target)], ENCODER)
    torch.testing.assert_close(batch.target, torch.tensor([[*probs, last]]))
    assert batch.is_free.tolist() == [is_free]
    assert batch.preserve.tolist() == [preserve]


def test_boundaries_may_be_mixed():
    kinds = ("end_of_turn", "none", "end_of_word")
    batch = make_batch([make_trie((1,), [(4,)], kind) for kind in kinds], ENCODER)
    assert batch.row_boundary.tolist() == [-1, 0, -1, -1, 1]
    assert batch.path_row.tolist() == [1, len(batch.row_tokens), 4]
    for row, kind in enumerate(("end_of_turn", "end_of_word")):
        assert batch.boundary_sets[row].equal(ENCODER.boundary_set(kind))


def test_a_batch_may_be_empty():
    batch = make_batch([], ENCODER)
    assert batch.num_examples == 0
    assert all(getattr(batch, field.name).numel() == 0 for field in fields(batch))


def test_a_batch_moves_whole():
    batch = make_batch([make_trie((1,), [(4,)])], ENCODER).to("meta")
    assert {getattr(batch, field.name).device.type for field in fields(batch)} == {"meta"}


@few
@given(st.lists(st.lists(ids, min_size=2, max_size=6).map(tuple), max_size=6), st.integers(1, 20))
def test_texts_predict_after_every_token_but_their_last(texts, pack_tokens):
    batch = make_text_batch(texts, pack_tokens)
    for text, rows in zip(texts, batch.example_rows.tolist(), strict=True):
        rows = [row for row in rows if row < len(batch.row_tokens)]
        seen = [sequence(batch, batch.row_tokens[row]) for row in rows]
        assert seen == [text[:length] for length in range(1, len(text))]
