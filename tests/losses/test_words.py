"""Word probabilities against an enumeration of everything a small model may write."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from distmatch.data.batching import make_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.trie import Encoder, TokenTrie
from distmatch.losses.divergences import forward_kl
from distmatch.losses.words import other_shape_kl, support_log_probs, word_log_probs
from tests.tiny import tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())
VOCAB = 6
ENDS = {"end_of_turn": {0}, "end_of_word": {0, 5}, "none": None}

# Words as their forms' token ids.
APART = (((1, 2), (3,)), ((1, 4),), ((2, 2, 2),))
NESTED = (((1,),), ((1, 2),), ((1, 2, 3), (4,)))
ONE = (((3, 3),),)
CASES = [
    (APART, "none"),
    (ONE, "none"),
    *itertools.product((APART, NESTED, ONE), ("end_of_turn", "end_of_word")),
]


def make_trie(words, boundary, other=0.0):
    names = tuple(f"word {i}" for i in range(len(words)))
    target = WordDistribution(names, ((1 - other) / len(words),) * len(words), other)
    return TokenTrie((7,), words, boundary, target)


def batch_of(*cases):
    """A batch of (words, boundary), with the boundary sets of `ENDS`."""
    batch = make_batch([make_trie(*case) for case in cases], ENCODER)
    kinds = sorted({case[1] for case in cases} - {"none"})
    sets = torch.zeros(len(kinds), VOCAB - 1 if "end_of_word" not in kinds else VOCAB).bool()
    for row, kind in zip(sets, kinds, strict=True):
        row[list(ENDS[kind])] = True
    return replace(batch, boundary_sets=sets)


def node_logits(node, seed=0, scale=2.0, dtype=torch.float64):
    """The next token's logits of a random model, which depend on all tokens before."""
    code = sum((token + 1) * 11**place for place, token in enumerate(node))
    generator = torch.Generator().manual_seed(1000 * code + seed)
    return (scale * torch.randn(VOCAB, generator=generator, dtype=torch.float64)).to(dtype)


def logits_of(*cases, **settings):
    nodes = [node for case in cases for node in make_trie(*case).nodes]
    return torch.stack([node_logits(node, **settings) for node in nodes])


def enumerated(words, boundary, seed=0):
    """Probabilities of the words and of other, from all sequences one token longer than a word."""
    length = max(len(path) for forms in words for path in forms) + 1
    sums = [[] for _ in range(len(words) + 1)]
    step = {}
    for sequence in itertools.product(range(VOCAB), repeat=length):
        prob = 1.0
        for place, token in enumerate(sequence):
            before = sequence[:place]
            if before not in step:
                step[before] = node_logits(before, seed).softmax(-1).tolist()
            prob *= step[before][token]
        sums[written(words, boundary, sequence)].append(prob)
    return [math.fsum(part) for part in sums]


def written(words, boundary, sequence):
    """Which word a sequence begins with, completed by its boundary; -1 for other."""
    ends = ENDS[boundary]
    paths = [path for forms in words for path in forms]
    for which, forms in enumerate(words):
        for path in forms:
            if sequence[: len(path)] != path:
                continue
            if ends is None:
                return which
            longer = any(p[: len(path) + 1] == sequence[: len(path) + 1] for p in paths)
            if sequence[len(path)] in ends and not longer:
                return which
    return -1


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", CASES)
def test_probabilities_are_those_of_an_enumeration(case, seed):
    words, boundary = case
    scores = word_log_probs(logits_of(case, seed=seed), batch_of(case))
    ours = [*scores.words[0].exp().tolist(), scores.other[0].exp().item()]
    assert ours == pytest.approx(enumerated(words, boundary, seed), abs=1e-9, rel=1e-9)


def test_a_boundary_token_that_begins_a_longer_form_is_not_counted_twice():
    case = ((((1,), (1, 5, 2)), ((3,),)), "end_of_word")
    scores = word_log_probs(logits_of(case), batch_of(case))
    ours = [*scores.words[0].exp().tolist(), scores.other[0].exp().item()]
    assert ours == pytest.approx(enumerated(*case), abs=1e-9)


def test_a_worked_example():
    # Slot: P(1) = 1/2, P(2) = 1/4. After 1 the turn ends (0) with 1/2; after 2 with 1/4.
    # P(1) = 1/2 * 1/2 = 1/4, P(2) = 1/4 * 1/4 = 1/16, other = 1 - 5/16 = 11/16.
    probs = torch.tensor([[0.1, 0.5, 0.25, 0.15], [0.5, 0.2, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    scores = word_log_probs(probs.log(), batch_of(((((1,),), ((2,),)), "end_of_turn")))
    torch.testing.assert_close(scores.words.exp(), torch.tensor([[1 / 4, 1 / 16]]))
    torch.testing.assert_close(scores.other.exp(), torch.tensor([11 / 16]))


@pytest.mark.parametrize("scale", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("seed", range(5))
def test_words_and_other_sum_to_one_in_float32(scale, seed):
    logits = logits_of(*CASES, seed=seed, scale=scale, dtype=torch.float32)
    scores = word_log_probs(logits, batch_of(*CASES))
    total = torch.cat([scores.words, scores.other[:, None]], -1).logsumexp(-1)
    torch.testing.assert_close(total, torch.zeros(len(CASES)), atol=1e-5, rtol=0)


def test_an_example_scores_the_same_in_any_company():
    together = word_log_probs(logits_of(*CASES), batch_of(*CASES))
    for row, case in enumerate(CASES):
        alone = word_log_probs(logits_of(case), batch_of(case))
        torch.testing.assert_close(together.words[row, : len(case[0])], alone.words[0])
        torch.testing.assert_close(together.other[row], alone.other[0])
        assert together.words[row, len(case[0]) :].isneginf().all()


def test_adding_a_constant_to_a_row_changes_nothing():
    logits = logits_of(*CASES)
    moved = logits + torch.linspace(-50, 50, len(logits), dtype=logits.dtype)[:, None]
    plain, shifted = (word_log_probs(each, batch_of(*CASES)) for each in (logits, moved))
    torch.testing.assert_close(plain, shifted)


@pytest.mark.parametrize("extra", [1, 4])
def test_padded_vocabulary_rows_count_as_other(extra):
    case = (NESTED, "end_of_word")
    logits = logits_of(case)
    padded = torch.cat([logits, torch.zeros(len(logits), extra, dtype=logits.dtype)], -1)
    scores = word_log_probs(padded, batch_of(case))
    # By hand: each step's probability of a real token shrinks by its row's share.
    share = (logits.logsumexp(-1) - padded.logsumexp(-1)).exp()
    nodes = make_trie(*case).nodes
    first = share[nodes.index(())] * share[nodes.index((1,))]
    plain = word_log_probs(logits, batch_of(case))
    torch.testing.assert_close(scores.words[0, 0].exp(), plain.words[0, 0].exp() * first)
    total = torch.cat([scores.words[0], scores.other]).logsumexp(-1)
    torch.testing.assert_close(total, torch.zeros_like(total))


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(case):
    batch = batch_of(case)
    logits = logits_of(case).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tuple(word_log_probs(x, batch)), logits)


def test_gradients_of_a_mixed_batch_are_finite():
    logits = logits_of(*CASES).requires_grad_()
    batch = batch_of(*CASES)
    scores = support_log_probs(word_log_probs(logits, batch), batch.is_free)
    forward_kl(scores, batch.target.double()).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad.abs().sum(-1) > 0).all()


def almost_certain(dtype):
    """Logits of two one-token words, all else together having 1e-9."""
    logits = torch.full((1, VOCAB), math.log(1e-9 / (VOCAB - 2)), dtype=torch.float64)
    logits[0, 1], logits[0, 2] = math.log(0.7), math.log(0.3)
    return logits.to(dtype).requires_grad_()


def test_a_tiny_other_keeps_its_value_and_gradient_in_float32():
    batch = batch_of(((((1,),), ((2,),)), "none"))
    grads = []
    for dtype in (torch.float32, torch.float64):
        logits = almost_certain(dtype)
        other = word_log_probs(logits, batch).other
        assert other.item() == pytest.approx(math.log(1e-9), abs=1e-4)
        grads += torch.autograd.grad(other, logits)
    torch.testing.assert_close(grads[0].double(), grads[1], rtol=0.01, atol=1e-12)
    # d log other / d logit: its share of other, less its probability.
    expected = torch.tensor([[1 / 4, -0.7, -0.3, 1 / 4, 1 / 4, 1 / 4]])
    torch.testing.assert_close(grads[0], expected, rtol=0.01, atol=0)


def test_a_tiny_other_below_the_slot_keeps_its_gradient():
    batch = batch_of(((((1,),), ((2,),)), "end_of_turn"))
    rows = torch.full((3, VOCAB), math.log(1e-10), dtype=torch.float64)
    rows[0, 1], rows[0, 2], rows[1, 0], rows[2, 0] = 0.0, 0.0, 0.0, 0.0
    grads = []
    for dtype in (torch.float32, torch.float64):
        logits = rows.to(dtype).requires_grad_()
        grads += torch.autograd.grad(word_log_probs(logits, batch).other.sum(), logits)
    torch.testing.assert_close(grads[0].double(), grads[1], rtol=0.01, atol=1e-8)


def test_words_that_cover_everything_leave_other_impossible():
    batch = batch_of((tuple(((token,),) for token in range(VOCAB)), "none"), (ONE, "none"))
    logits = torch.randn(3, VOCAB, requires_grad=True)
    scores = word_log_probs(logits, batch)
    assert scores.other[0].isneginf()
    log_probs = support_log_probs(scores, batch.is_free)
    forward_kl(log_probs, batch.target)[0].backward()
    expected = logits.softmax(-1)[0] - 1 / VOCAB
    torch.testing.assert_close(logits.grad[0], expected)
    assert logits.grad.isfinite().all()


def test_an_impossible_boundary_gives_an_impossible_word_and_no_nan():
    logits = torch.randn(3, VOCAB)
    logits[1, 0] = -torch.inf  # the turn can't end after the first word
    logits.requires_grad_()
    scores = word_log_probs(logits, batch_of(((((1,),), ((2,),)), "end_of_turn")))
    assert scores.words[0].isneginf().tolist() == [True, False]
    (scores.words[0, 1] + scores.other[0]).backward()
    assert logits.grad.isfinite().all()


def test_impossible_tokens_leave_the_rest_exact():
    logits = torch.randn(1, VOCAB)
    logits[0, 3:] = -torch.inf  # nothing but the words and token 0
    logits.requires_grad_()
    scores = word_log_probs(logits, batch_of(((((1,),), ((2,),)), "none")))
    torch.testing.assert_close(scores.other, logits.log_softmax(-1)[:, 0])
    scores.other.sum().backward()
    assert logits.grad.isfinite().all()


def test_an_impossible_other_has_no_nan():
    logits = torch.randn(1, VOCAB)
    logits[0, [0, 3, 4, 5]] = -torch.inf
    logits.requires_grad_()
    scores = word_log_probs(logits, batch_of(((((1,),), ((2,),)), "none")))
    assert scores.other.isneginf().all()
    scores.words[0, 0].backward()
    assert logits.grad.isfinite().all()


def test_an_empty_batch_has_no_scores():
    scores = word_log_probs(torch.zeros(0, VOCAB), make_batch([], ENCODER))
    assert scores.words.shape == (0, 0)
    assert scores.other.shape == (0,)


def leaves(words, boundary):
    """Every (node, token) at which it is decided what is written, with its word or -1."""
    ends, paths = ENDS[boundary], [path for forms in words for path in forms]
    inner = {path[:n] for path in paths for n in range(len(path) + (ends is not None))}
    for node in sorted(inner):
        for token in range(VOCAB):
            if (*node, token) not in inner:
                yield node, token, written(words, boundary, (*node, token, VOCAB, VOCAB))


def leaf_probs(words, boundary, seed):
    """Each leaf's probability, multiplied up from the slot."""
    for node, token, word in leaves(words, boundary):
        steps = [node_logits(node[:i], seed).softmax(-1)[t] for i, t in enumerate((*node, token))]
        yield math.prod(step.item() for step in steps), word


def full_kl(words, boundary, other):
    """KL from the target whose other has the base's shape, over words and all other leaves."""
    model = [p for p, word in leaf_probs(words, boundary, seed=0) if word == -1]
    base = [p for p, word in leaf_probs(words, boundary, seed=1) if word == -1]
    target = [other * p / math.fsum(base) for p in base]
    ours = enumerated(words, boundary, seed=0)[:-1]
    wanted = [(1 - other) / len(words)] * len(words)
    pairs = zip([*wanted, *target], [*ours, *model], strict=True)
    return math.fsum(p * math.log(p / q) for p, q in pairs)


@pytest.mark.parametrize("case", CASES)
def test_forward_kl_and_the_shape_of_other_are_the_full_kl(case):
    other = 0.3
    batch = batch_of(case)
    logits, base = logits_of(case, seed=0), logits_of(case, seed=1)
    scores = support_log_probs(word_log_probs(logits, batch), batch.is_free)
    target = torch.tensor([[*[(1 - other) / len(case[0])] * len(case[0]), other]]).double()
    ours = forward_kl(scores, target) + other * other_shape_kl(logits, base, batch)
    assert ours.item() == pytest.approx(full_kl(*case, other), rel=1e-6)


def test_the_shape_of_other_is_kept_an_example_at_a_time():
    logits, base = logits_of(*CASES, seed=0), logits_of(*CASES, seed=1)
    together = other_shape_kl(logits, base, batch_of(*CASES))
    for row, case in enumerate(CASES):
        alone = other_shape_kl(logits_of(case), logits_of(case, seed=1), batch_of(case))
        torch.testing.assert_close(together[row], alone[0])


def test_the_base_itself_keeps_its_shape():
    logits = logits_of(*CASES).requires_grad_()
    kl = other_shape_kl(logits, logits.detach(), batch_of(*CASES))
    torch.testing.assert_close(kl, torch.zeros_like(kl))
    (gradient,) = torch.autograd.grad(kl.sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_shape_of_other_has_the_gradient_of_finite_differences():
    logits, base = logits_of(*CASES[:4]).requires_grad_(), logits_of(*CASES[:4], seed=1)
    batch = batch_of(*CASES[:4])
    assert torch.autograd.gradcheck(lambda x: other_shape_kl(x, base, batch), logits)


def test_the_shape_of_an_impossible_other_is_kept_without_nan():
    batch = batch_of((tuple(((token,),) for token in range(VOCAB)), "none"), (ONE, "none"))
    logits = torch.randn(3, VOCAB, requires_grad=True)
    kl = other_shape_kl(logits, torch.randn(3, VOCAB), batch)
    assert kl[0] == 0
    kl.sum().backward()
    assert logits.grad.isfinite().all()


def test_free_examples_are_renormalised_over_their_words():
    scores = word_log_probs(logits_of(*CASES), batch_of(*CASES))
    is_free = torch.arange(len(CASES)) % 2 == 0
    log_probs = support_log_probs(scores, is_free)
    torch.testing.assert_close(log_probs[~is_free, :-1], scores.words[~is_free])
    torch.testing.assert_close(log_probs[~is_free, -1], scores.other[~is_free])
    assert log_probs[is_free, -1].isneginf().all()
    words = log_probs[is_free, :-1]
    torch.testing.assert_close(words.exp().sum(-1), torch.ones_like(words[:, 0]))
    gaps = words[:, 0] - scores.words[is_free, 0]
    torch.testing.assert_close(gaps, -scores.words[is_free].logsumexp(-1))


def test_free_words_that_are_impossible_have_no_nan_gradient_for_others():
    logits = torch.randn(2, VOCAB)
    logits[0, 1:3] = -torch.inf
    logits.requires_grad_()
    case = ((((1,),), ((2,),)), "none")
    scores = word_log_probs(logits, batch_of(case, case))
    log_probs = support_log_probs(scores, torch.tensor([False, True]))
    log_probs[1, 0].backward()
    assert logits.grad.isfinite().all()
