"""Words as token paths, and which words can't stand beside each other."""

import pytest

from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.errors import DataError
from tests.tiny import tiny_tokenizer

USER = ({"role": "user", "content": "red or blue?"},)


@pytest.fixture(scope="module")
def chat():
    return Encoder(tiny_tokenizer())


@pytest.fixture(scope="module")
def base():
    return Encoder(tiny_tokenizer(chat=False))


def example(*words, prompt="I say", **settings):
    target = WordDistribution.normalised(dict.fromkeys(words, 1.0))
    return Example(prompt=prompt, target=target, **settings)


def tokens(encoder, paths):
    return [tuple(encoder.tokenizer.convert_ids_to_tokens(list(path))) for path in paths]


def members(encoder, boundary):
    ids = encoder.boundary_set(boundary).nonzero()[:, 0].tolist()
    return set(encoder.tokenizer.convert_ids_to_tokens(ids))


def test_a_word_is_one_path_by_default(base):
    trie = base.encode(example("red fox", "otter"))
    assert [tokens(base, forms) for forms in trie.paths] == [
        [("Ġred", "Ġfox")],
        [("Ġo", "t", "t", "er")],
    ]


def test_a_word_has_as_many_paths_as_forms(base):
    trie = base.encode(example("red", forms=("bare", "space", "capital"), prompt="I say\n"))
    assert tokens(base, trie.paths[0]) == [("red",), ("Ġred",), ("R", "e", "d")]


def test_forms_that_coincide_count_once(base):
    trie = base.encode(example("Red", forms=("bare", "capital"), prompt="I say\n"))
    assert tokens(base, trie.paths[0]) == [("R", "e", "d")]


@pytest.mark.parametrize(
    ("prompt", "boundary", "expected"),
    [
        ("I say", None, "end_of_word"),
        (USER, None, "end_of_turn"),
        ("I say", "none", "none"),
        (USER, "end_of_word", "end_of_word"),
    ],
)
def test_the_boundary_follows_the_prompt_unless_given(chat, prompt, boundary, expected):
    assert chat.encode(example("red", prompt=prompt, boundary=boundary)).boundary == expected


def test_messages_without_a_template_end_at_a_word(base):
    assert base.encode(example("red", prompt=USER)).boundary == "end_of_word"


def test_nodes_are_the_slot_and_every_prefix_and_path_ends_if_something_must_follow():
    uniform = WordDistribution.normalised({"a": 1.0, "b": 1.0})
    paths = (((5, 6, 7),), ((5, 8), (9,)))
    assert TokenTrie((1,), paths, "none", uniform).nodes == [(), (5,), (5, 6)]
    ended = [(), (5,), (5, 6), (5, 6, 7), (5, 8), (9,)]
    assert TokenTrie((1,), paths, "end_of_turn", uniform).nodes == ended


def test_end_of_turn_holds_every_id_that_ends_a_turn():
    encoder = Encoder(tiny_tokenizer(), end_ids=[0, 2])
    assert members(encoder, "end_of_turn") == {"<|endoftext|>", "<|im_end|>"}


def test_a_turn_that_nothing_ends_is_refused():
    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.eos_token = None
    encoder = Encoder(tokenizer)
    with pytest.raises(DataError, match=r"no token is known to end a turn.*eos_token"):
        encoder.encode(example("red", boundary="end_of_turn"))
    assert encoder.encode(example("red", boundary="none")).paths


def test_end_of_word_holds_whatever_cannot_continue_a_word(base):
    held = members(base, "end_of_word")
    assert {"<|endoftext|>", "<|im_end|>", ".", "!", "-", "Ġ", "Ġred", "Ġfox", "Ċ"} <= held
    assert held.isdisjoint({"red", "a", "5", "_", "er", "Ł"})


def test_a_boundary_set_may_reach_beyond_the_tokenizer():
    encoder = Encoder(tiny_tokenizer(), end_ids=[310])
    assert encoder.boundary_set("end_of_turn").nonzero()[:, 0].tolist() == [2, 310]
    assert encoder.boundary_set("end_of_word")[310]


@pytest.mark.parametrize(
    ("words", "boundary", "message"),
    [
        (("red", "red fox"), "none", '"red" is a beginning of "red fox".*give boundary="end_of_t'),
        (("red fox", "red"), "none", '"red" is a beginning of "red fox"'),
        (("cat", "catalog"), "none", '"cat" is a beginning of "catalog"'),
        (
            *(("red", "red fox"), "end_of_word"),
            '"red fox" is "red" followed by the end of a word, so under .*="end_of_turn"',
        ),
        (("red", "red-hot"), "end_of_word", '"red-hot" is "red" followed by the end of a word'),
        (("red", "赤"), "end_of_word", '"赤" ends in a script without spaces.*end_of_turn'),
        (("red", "แมว"), "end_of_word", '"แมว" ends in a script without spaces'),
    ],
)
def test_words_that_overlap_are_refused(base, words, boundary, message):
    with pytest.raises(DataError, match=message):
        base.encode(example(*words, boundary=boundary, prompt="I say\n"))


@pytest.mark.parametrize(
    ("words", "boundary"),
    [
        (("red", "red fox"), "end_of_turn"),
        (("red", "red-hot"), "end_of_turn"),
        (("cat", "catalog"), "end_of_word"),
        (("cat", "catalog"), "end_of_turn"),
        (("red fox", "red cat"), "none"),
        (("赤", "青"), "end_of_turn"),
        (("赤", "青"), "none"),
    ],
)
def test_words_that_share_their_beginning_may_stand_together(base, words, boundary):
    trie = base.encode(example(*words, boundary=boundary, prompt="I say\n"))
    assert len(set(trie.all_paths)) == len(words)


@pytest.mark.parametrize(
    ("words", "forms"), [(("red", "Red"), ("bare", "capital")), (("red", " red"), ())]
)
def test_words_of_the_same_tokens_are_refused(base, words, forms):
    with pytest.raises(DataError, match="are the same tokens in one of their forms: merge them or"):
        base.encode(example(*words, forms=forms))


def test_a_special_token_in_a_word_is_refused(base):
    with pytest.raises(DataError, match=r"\"red<\|im_end\|>\" contains special tokens.*im_end"):
        base.encode(example("red<|im_end|>", "blue"))


@pytest.mark.parametrize(("max_length", "fits"), [(6, True), (5, False)])
def test_a_sequence_past_the_context_is_refused(max_length, fits):
    encoder = Encoder(tiny_tokenizer(chat=False), max_length=max_length)
    question = example("red fox", "blue", prompt="red red red red")
    if fits:
        assert len(encoder.encode(question).prompt_ids) == 4
    else:
        with pytest.raises(DataError, match="take 6 tokens, more than the model's context of 5"):
            encoder.encode(question)


def test_all_refused_examples_are_named(base):
    examples = [example("red"), example("赤"), example("blue"), *[example("red", "red fox")] * 21]
    with pytest.raises(DataError) as caught:
        base.encode_all(examples, "question")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith('question 1: "赤" ends in')
    assert lines[1].startswith('question 3: "red fox" is "red"')
    assert lines[-1] == "... and 2 more bad records"


def test_only_the_canonical_tokens_are_a_path(base):
    (path,) = base.encode(example("otter")).all_paths
    assert base.tokenizer.decode(path) == " otter"
    assert path == tuple(base.tokenizer(" otter")["input_ids"])


def test_texts_are_cut_and_must_hold_something_to_predict(base):
    (ids,) = base.encode_texts(["red or blue " * 200])
    assert len(ids) == 256
    with pytest.raises(DataError) as error:
        base.encode_texts(["red or blue", "red", []])
    assert str(error.value).splitlines() == [
        "text 1: 'red' has fewer than two tokens",
        "text 2: the text has no messages",
    ]
    with pytest.raises(DataError, match="expected a list of texts, got the string 'red or"):
        base.encode_texts("red or blue")
