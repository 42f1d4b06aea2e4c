"""The steps that are held against ours, on random models."""

import pytest
from peer_steps import Contestant
from peers import JSD_STEPS, STEPS, rows
from sized_examples import Size, sized_examples

from distmatch.data.trie import Encoder

pytestmark = pytest.mark.embedded  # its tokenizer, not its weights


def test_a_row_has_times_and_equal_losses():
    sizes = [Size(words=2, batch=1)]
    jsd = Size(words=2, word_tokens=1, prompt_tokens=8, batch=2)
    steps, shannon = rows(sizes, jsd, lambda kind: Contestant(kind, tiny=True), most_turns=1)
    assert all(steps[f"{kind}_ms"] > 0 for kind in STEPS)
    assert steps["loss_difference"] < 1e-5
    assert not steps["extrapolated"]
    assert all(shannon[f"{kind}_ms"] > 0 for kind in JSD_STEPS)


def test_what_makes_several_micro_batches_is_extrapolated():
    contestant = Contestant("plain", tiny=True)
    contestant.get_ready(Size(words=2, prompt_tokens=1600, batch=1))
    step = contestant.take_step()
    assert (step.micro_batches, len(step.scores)) == (2, 1)


def test_jensen_shannon_is_asked_of_the_same_words():
    size = Size(words=3, word_tokens=1, prompt_tokens=8, batch=2)
    scores = []
    for kind in JSD_STEPS:
        contestant = Contestant(kind, tiny=True)
        contestant.get_ready(size)
        scores.append(contestant.take_step().scores)
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert scores[2] == pytest.approx(scores[0], abs=1e-4)


def test_examples_have_their_size(embedded):
    _, tokenizer = embedded
    size = Size(words=3, word_tokens=4, prompt_tokens=70, prefix_tokens=40)
    tries = Encoder(tokenizer).encode_all(sized_examples(tokenizer, size))
    assert [len(trie.prompt_ids) for trie in tries] == [110, 110]
    assert tries[0].prompt_ids[:40] == tries[1].prompt_ids[:40]
    assert {len(path) for trie in tries for path in trie.all_paths} == {4}
    assert not set(tries[0].all_paths) & set(tries[1].all_paths)
