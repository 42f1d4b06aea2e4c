"""One forward of packed trees against one a sequence; what a score is; what is left alone."""

import math

import pytest
import torch
from accelerate import dispatch_model
from torch.testing import assert_close
from transformers import ByT5Tokenizer

from distmatch.data.batching import make_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder
from distmatch.errors import DataError, LoadError
from distmatch.losses.divergences import forward_kl
from distmatch.losses.words import support_log_probs
from distmatch.models.head import full_precision_linear, output_head, predicting_rows
from distmatch.scoring import (
    model_encoder,
    resolve_at_most,
    row_logits,
    score,
    score_batch,
    score_tries,
)
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
ENCODER = Encoder(TOKENIZER)
LONG = "The red fox saw a dog, and the cat saw the blue dog: a word with red or blue is"  # > window
USER = ({"role": "user", "content": "red or blue?"},)


def example(prompt, *words, boundary="end_of_turn", **settings):
    target = WordDistribution.normalised(dict.fromkeys(words, 1.0))
    return Example(prompt=prompt, target=target, boundary=boundary, **settings)


EXAMPLES = [
    example(LONG, "red", "red fox", "otter"),
    example("The red", "cat", "dog", boundary="none"),
    example(LONG + " not", "blue", "catalog", boundary="end_of_word"),
    example("The red", "cat", "fox and dog", forms=("space", "capital")),
    example(USER, "red", "blue"),
    example(USER, "catalog", prefill="I say"),
]
TRIES = ENCODER.encode_all(EXAMPLES)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt_oss"])
def test_company_changes_neither_score_nor_gradient(family):
    model = tiny_model(family)
    weight = model.get_input_embeddings().weight
    for row, trie in enumerate(TRIES):
        results = []
        for tries, place in (([trie], 0), (TRIES, row), (TRIES[::-1], len(TRIES) - 1 - row)):
            batch = make_batch(tries, ENCODER, 60)
            scores = support_log_probs(score_batch(model, batch), batch.is_free)
            loss = forward_kl(scores, batch.target)[place]
            results.append((loss.detach(), torch.autograd.grad(loss, weight)[0]))
        for loss, grad in results[1:]:
            assert_close(loss, results[0][0], atol=1e-5, rtol=1e-5)
            assert (grad - results[0][1]).norm() <= 1e-5 * results[0][1].norm()


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_scores_come_in_the_order_asked(batch_size):
    model = tiny_model("llama")
    scores = score_tries(model, ENCODER, TRIES, batch_size=batch_size)
    for row, trie in enumerate(TRIES):
        alone = score_tries(model, ENCODER, [trie])
        assert_close(scores.words[row, : len(trie.paths)], alone.words[0], atol=1e-5, rtol=1e-5)
        assert scores.words[row, len(trie.paths) :].isneginf().all()
        assert_close(scores.other[row], alone.other[0], atol=1e-5, rtol=1e-5)


def by_hand(model, prompt_ids, path, ends):
    """log P of a path and one of the tokens that may follow, a step at a time."""
    total = 0.0
    for place in range(len(path) + 1):
        ids = torch.tensor([[*prompt_ids, *path[:place]]])
        log_probs = model(ids).logits[0, -1].double().log_softmax(-1)
        total += log_probs[[path[place]] if place < len(path) else ends].logsumexp(-1).item()
    return total


@pytest.mark.parametrize(
    ("prompt", "prefill", "rendered", "written"),
    [
        (
            *(USER, ""),
            "<|im_start|>user\nred or blue?<|im_end|>\n<|im_start|>assistant\n",
            ("red fox", "otter"),
        ),
        (
            *(list(USER), "I say"),
            "<|im_start|>user\nred or blue?<|im_end|>\n<|im_start|>assistant\nI say",
            (" red fox", " otter"),
        ),
        ("The word is", "", "The word is", (" red fox", " otter")),
        ("The word\n", "is", "The word\nis", (" red fox", " otter")),
    ],
)
@torch.no_grad()
def test_a_score_is_the_product_of_its_steps(prompt, prefill, rendered, written):
    model = tiny_model("llama")
    ours = score(
        model, TOKENIZER, prompt, ["red fox", "otter"], prefill=prefill, boundary="end_of_turn"
    )
    ids = TOKENIZER(rendered)["input_ids"]
    for value, text in zip(ours.log_probs, written, strict=True):
        assert value.item() == pytest.approx(
            by_hand(model, ids, TOKENIZER(text)["input_ids"], [2]), abs=1e-4
        )
    total = ours.log_probs.exp().sum() + ours.log_other.exp()
    assert total.item() == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_plain_text_ends_at_a_word_by_default():
    model, words = tiny_model("llama"), ["red", "dog"]
    ends = ENCODER.boundary_set("end_of_word").nonzero()[:, 0].tolist()
    ours = score(model, TOKENIZER, "The word is", words)
    ids = TOKENIZER("The word is")["input_ids"]
    expected = [by_hand(model, ids, TOKENIZER(f" {w}")["input_ids"], ends) for w in words]
    assert_close(ours.log_probs, torch.tensor(expected), atol=1e-4, rtol=0)


def test_a_word_is_the_sum_of_its_forms():
    model = tiny_model("llama")
    each = [score(model, TOKENIZER, USER, ["red"], forms=[f]).log_probs for f in ("bare", "space")]
    both = score(model, TOKENIZER, USER, ["red"], forms=["bare", "space"]).log_probs
    assert_close(both, torch.logaddexp(*each))


def test_what_cannot_be_scored_is_an_error():
    model = tiny_model("llama")
    with pytest.raises(DataError, match="no words"):
        score(model, TOKENIZER, USER, [])
    with pytest.raises(DataError, match="expected a list of words, got the string 'red'"):
        score(model, TOKENIZER, USER, "red")
    with pytest.raises(DataError, match="remove it"):
        score(model, TOKENIZER, "The word is ", ["red"])
    with pytest.raises(DataError, match="more than the model's context of 16"):
        score(tiny_model("llama", max_position_embeddings=16), TOKENIZER, LONG, ["red"])


@pytest.mark.parametrize(("eos", "expected"), [(None, (2,)), (0, (0, 2)), ([0, 5], (0, 2, 5))])
def test_the_models_own_ends_of_turn_count(eos, expected):
    model = tiny_model("llama")
    model.generation_config.eos_token_id = eos
    assert model_encoder(model, TOKENIZER).end_ids == expected


def test_upper_bounds_become_targets():
    model = tiny_model("llama")
    base = score(model, TOKENIZER, USER, ["red", "blue"]).log_probs.exp().tolist()
    bounds = (base[0] / 2, 1.0)
    capped = Example(prompt=USER, target=WordDistribution(("red", "blue"), bounds, "at_most"))
    plain = example(USER, "red", "blue")
    first, second = resolve_at_most(model, model_encoder(model, TOKENIZER), [plain, capped])
    assert first == plain
    assert second.target.other == "preserve"
    assert second.target.probs == pytest.approx((base[0] / 2, base[1]), rel=1e-4)


def test_every_module_keeps_its_mode():
    model = tiny_model("llama")
    model.train()
    model.model.layers[1].eval()
    before = [module.training for module in model.modules()]
    score_tries(model, ENCODER, TRIES[:1])
    assert [module.training for module in model.modules()] == before


def test_scoring_itself_is_in_evaluation_mode():
    model = tiny_model("gpt2", attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5)
    expected = score_tries(model, ENCODER, TRIES)
    assert_close(score_tries(model.train(), ENCODER, TRIES), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_is_left_as_it_was_after_an_error(dtype):
    model = tiny_model("llama", dtype=dtype)
    ids = torch.tensor([[5, 6, 7]])
    before, head = model(ids).logits, dict(vars(output_head(model)))
    with pytest.raises(RuntimeError, match="inside"), predicting_rows(model, torch.tensor([1])):
        assert model(ids).logits.shape == (1, 320)
        raise RuntimeError("inside")
    assert vars(output_head(model)) == head
    assert not output_head(model)._forward_pre_hooks
    assert torch.equal(model(ids).logits, before)


def test_a_head_that_something_else_has_wrapped_keeps_its_wrapper():
    model = tiny_model("llama")
    head = output_head(model)
    plain = head.forward
    head.forward = wrapper = lambda hidden: plain(hidden) + 1
    batch = make_batch(TRIES, ENCODER)
    wrapped = row_logits(model, batch)
    assert head.forward is wrapper
    del head.forward
    assert_close(wrapped, row_logits(model, batch) + 1)


def test_a_half_precision_head_is_no_worse_than_its_naive_product():
    hidden = (torch.randn(9, 64) * 4).bfloat16()
    weight = torch.randn(500, 64).bfloat16()
    truth = hidden.double() @ weight.double().T
    ours = full_precision_linear(hidden, weight)
    naive = hidden @ weight.T
    assert ours.dtype == torch.float32
    assert (ours - truth).abs().max() <= 1e-2 * (naive - truth).abs().max()


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_half_precision_head_rounds_its_gradients_once(is_frozen):
    hidden = torch.randn(9, 64).bfloat16().requires_grad_()
    weight = torch.randn(20_000, 64).bfloat16().requires_grad_(not is_frozen)
    above = torch.randn(9, 20_000)
    (full_precision_linear(hidden, weight, torch.ones(20_000)) * above).sum().backward()
    pairs = [(hidden.grad, above.double() @ weight.detach().double())]
    if not is_frozen:
        pairs.append((weight.grad, above.double().T @ hidden.detach().double()))
    for ours, truth in pairs:
        assert_close(ours.double(), truth, rtol=2**-8, atol=truth.std().item() / 10_000)
    assert (weight.grad is None) == is_frozen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_round_the_logits(dtype):
    hidden, weight = torch.randn(9, 64).to(dtype), torch.randn(50, 64).to(dtype)
    expected = full_precision_linear(hidden, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(full_precision_linear(hidden, weight), expected, rtol=0, atol=0)


@torch.no_grad()
def test_a_half_precision_model_is_scored_in_float32():
    model = tiny_model("llama", dtype=torch.bfloat16)
    logits = row_logits(model, make_batch(TRIES, ENCODER))
    assert logits.dtype == torch.float32
    scores = score_tries(model, ENCODER, TRIES)
    total = torch.cat([scores.words, scores.other[:, None]], -1).logsumexp(-1)
    assert_close(total, torch.zeros(len(TRIES)), atol=1e-5, rtol=0)
    assert math.isfinite(scores.other.sum())


@torch.no_grad()
def test_a_model_that_accelerate_has_placed_gives_the_same_float32_logits():
    batch = make_batch(TRIES, ENCODER)
    model = tiny_model("llama", dtype=torch.bfloat16)
    expected = row_logits(model, batch)
    devices = {"model.embed_tokens": "cpu", "model": "cpu", "lm_head": "cpu"}
    placed = dispatch_model(model, devices, force_hooks=True)
    assert "_old_forward" in vars(placed.lm_head)
    own = placed.lm_head._old_forward
    assert torch.equal(row_logits(placed, batch), expected)
    assert placed.lm_head._old_forward == own


def test_a_default_dtype_of_the_callers_changes_nothing():
    model = tiny_model("llama")
    prompt, words = [{"role": "user", "content": "red or blue?"}], ["red", "blue"]
    expected = score(model, TOKENIZER, prompt, words)
    example = Example(prompt=prompt, target=WordDistribution(("red", "blue"), (0.7, 0.3)))
    torch.set_default_dtype(torch.bfloat16)
    try:
        given = score(model, TOKENIZER, prompt, words)
        encoder = Encoder(TOKENIZER)
        target = make_batch([encoder.encode(example)], encoder).target
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(given.log_probs, expected.log_probs)
    assert target.dtype == torch.float32 and target[0].tolist() == pytest.approx([0.7, 0.3, 0])


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("Say red:", "Say red: "),
        (USER, "red or blue?\n\n"),
        ((*USER, {"role": "assistant", "content": "It is"}), "red or blue?\n\nIt is "),
    ],
)
def test_a_slow_tokenizer_scores_like_any_other(prompt, text):
    model, tokenizer = tiny_model("llama", vocab_size=400), ByT5Tokenizer()
    given = score(model, tokenizer, prompt, ["red", "blue"], boundary="none")
    for word, log_prob in zip(("red", "blue"), given.log_probs.tolist(), strict=True):
        ids = [byte + 3 for byte in (text + word).encode()]  # as ByT5 numbers them
        with torch.no_grad():
            table = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        first = len(text) - text.endswith(" ")  # a space is the word's
        by_hand = sum(float(table[place - 1, ids[place]]) for place in range(first, len(ids)))
        assert log_prob == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_no_log_probability_is_above_0(family):
    model = tiny_model(family)
    for word in ("red", "otter", "red fox", "a"):
        for prompt in (LONG, USER):
            given = score(model, TOKENIZER, prompt, [word])
            assert float(given.log_other) <= 0 and float(given.log_probs.max()) <= 0


def test_a_model_without_a_head_is_refused():
    with pytest.raises(LoadError, match="this LlamaModel ends in hidden states, without a head"):
        score(tiny_model("llama").model, TOKENIZER, "Say", ["red"])
    with pytest.raises(LoadError, match=r"expected a causal language model .*, got Linear"):
        score(torch.nn.Linear(2, 2), TOKENIZER, "Say", ["red"])
