"""Which way a model's trees are run: found by trial, and right whichever it is."""

import pytest
import torch
from torch.testing import assert_close

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder
from distmatch.errors import LoadError
from distmatch.models.loading import load_model
from distmatch.models.proof import forward_way
from distmatch.scoring import row_logits, score_tries
from tests.architectures import ARCHITECTURES, architecture
from tests.tiny import tiny_model, tiny_tokenizer

ENCODER = Encoder(tiny_tokenizer())
COLOURS = WordDistribution(("red", "blue fox", "blue"), (0.5, 0.3, 0.2))
WAYS = {
    **dict.fromkeys(("llama",), "tree"),
    **dict.fromkeys(("gpt_neo", "mpt", "bloom"), "cache"),
    **dict.fromkeys(("rwkv", "mamba", "lfm2"), "plain"),
}


def tries(count=12, length=60):
    """Prompts of about so many tokens that differ from their first on, three words each."""
    texts = (f"{number} " + "the cat saw a red dog " * (length // 6) for number in range(count))
    return ENCODER.encode_all(
        Example(prompt=f"{text}is", target=COLOURS, boundary="end_of_turn") for text in texts
    )


def separate(model, some):
    """The same rows, one forward for every sequence."""
    sequences = [trie.prompt_ids + node for trie in some for node in trie.nodes]
    ids = (torch.tensor([sequence]) for sequence in sequences)
    return torch.cat([model(one, use_cache=False).logits[:, -1] for one in ids])


@pytest.mark.parametrize("name", WAYS)
def test_each_prompt_in_a_batch_has_the_numbers_and_gradients_it_has_alone(name):
    model, some = architecture(name), tries(3, 30)
    assert forward_way(model).name == WAYS[name]
    weight = model.get_input_embeddings().weight
    ours, theirs = row_logits(model, make_batch(some, ENCODER)), separate(model, some)
    assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-4, rtol=0)
    mixed = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((x * mixed).sum(), weight)[0] for x in (ours, theirs)]
    assert_close(*gradients, atol=1e-3, rtol=1e-3)


def test_prompts_longer_than_a_local_window_together_are_as_each_alone():
    model, some = architecture("gpt_neo"), tries(12)
    together = score_tries(model, ENCODER, some)
    alone = [score_tries(model, ENCODER, [trie]) for trie in some]
    assert_close(together.words, torch.cat([one.words for one in alone]), atol=1e-4, rtol=0)
    assert "log-probabilities differ by up to" in forward_way(model).refused["tree"]


def test_texts_are_run_the_same_way():
    model = architecture("lfm2")
    texts = ENCODER.encode_texts(["the cat saw a dog", "red dog", "a cat saw red"])
    ours = row_logits(model, make_text_batch(texts))
    theirs = torch.cat([model(torch.tensor([text])).logits[0, :-1] for text in texts])
    assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_angles_that_depend_on_what_is_fed_beside_are_found_out():
    model = architecture("phi3")
    assert forward_way(model).name != "tree"
    some = [*tries(1, 60), *tries(2, 6)]
    ours = row_logits(model, make_batch(some, ENCODER))
    assert_close(ours, separate(model, some), atol=1e-4, rtol=1e-4)


def test_where_checkpointing_drops_the_cache_sequences_run_plainly():
    model, some = architecture("gpt_neo"), tries(2)
    expected = row_logits(model, make_batch(some, ENCODER)).detach()
    model.activation_checkpointing_enable()
    model.train()
    assert_close(row_logits(model, make_batch(some, ENCODER)), expected, atol=1e-4, rtol=1e-4)


def test_what_only_the_model_itself_does_wrong_is_found_out():
    model, some = tiny_model("llama"), tries(2, 12)

    def unmasked(_module, args, kwargs):
        return args, kwargs | {"attention_mask": None}

    model.model.layers[1].register_forward_pre_hook(unmasked, with_kwargs=True)
    way = forward_way(model)
    assert way.name == "plain"
    assert all("its own log-probabilities differ" in why for why in way.refused.values())
    assert_close(row_logits(model, make_batch(some, ENCODER)), separate(model, some))


def test_it_is_found_once_and_leaves_no_trace():
    model = tiny_model("qwen3").train()
    model.model.layers[0].eval()
    torch.manual_seed(3)
    calls = []
    model.model.embed_tokens.register_forward_hook(lambda *_: calls.append(1))
    expected = torch.random.get_rng_state()
    way = forward_way(model)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert model.training and not model.model.layers[0].training and model.model.layers[1].training
    assert all(weight.grad is None for weight in model.parameters())
    assert (seen := len(calls)) > 0 and forward_way(model) is way and len(calls) == seen


def test_an_encoder_is_refused_when_it_is_loaded(tmp_path):
    architecture("bert").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="BertLMHeadModel isn't a causal language model"):
        load_model(str(tmp_path))
    from transformers import T5Config

    T5Config(d_model=16, num_layers=1, vocab_size=320).save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="is an encoder with a decoder"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - WAYS.keys() - {"phi3"}))
def test_every_architecture_is_exact_or_refused(name):
    model, some = architecture(name), [*tries(2, 24), *tries(1, 6)]
    if name in ("bert", "roberta"):
        with pytest.raises(LoadError, match="isn't a causal language model"):
            score_tries(model, ENCODER, some)
        return
    with torch.no_grad():
        ours, theirs = row_logits(model, make_batch(some, ENCODER)), separate(model, some)
    assert_close(ours.log_softmax(-1), theirs.log_softmax(-1), atol=1e-4, rtol=0)
    print(name, forward_way(model).name)
