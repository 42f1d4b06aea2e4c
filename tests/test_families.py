"""What holds for every family, on a small random model of its true architecture."""

import peft
import pytest
import torch
from torch.testing import assert_close

from distmatch.data.batching import make_batch, make_text_batch
from distmatch.data.distribution import WordDistribution
from distmatch.data.examples import Example
from distmatch.data.trie import Encoder
from distmatch.models.adapters import load_adapter
from distmatch.models.attaching import attach_lora
from distmatch.models.base_record import write_base_record
from distmatch.models.forwards import cached_logits, plain_logits
from distmatch.models.lora import lora, target_table
from distmatch.scoring import row_logits, score_tries
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer
from tests.training import IDS, moved, trained

ENCODER = Encoder(tiny_tokenizer())
LONG = "The red fox saw a dog, and the cat saw the blue dog: a word with red or blue is"  # > window
USER = ({"role": "user", "content": "red or blue?"},)


def example(prompt, *words, boundary="end_of_turn", **settings):
    target = WordDistribution.normalised(dict.fromkeys(words, 1.0))
    return Example(prompt=prompt, target=target, boundary=boundary, **settings)


TRIES = ENCODER.encode_all(
    [
        example(LONG, "red", "red fox", "otter"),
        example("The red", "cat", "dog", boundary="none"),
        example(LONG + " not", "blue", "catalog", boundary="end_of_word"),
        example("The red", "cat", "fox and dog", forms=("space", "capital")),
        example(USER, "red", "blue"),
        example(USER, "catalog", prefill="I say"),
    ]
)

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def stays_double(monkeypatch):
    """Norms and softmaxes of transformers compute in float32 even in a float64 model; not here."""
    to = torch.Tensor.to

    def to_unless_double(tensor, *args, **kwargs):
        rounds = torch.float32 in (*args, kwargs.get("dtype")) and tensor.dtype == torch.float64
        return tensor if rounds else to(tensor, *args, **kwargs)

    def softmax_as_is(tensor, dim=None, dtype=None, **kwargs):
        widest = torch.promote_types(dtype or tensor.dtype, tensor.dtype)
        return torch.softmax(tensor, dim, dtype=widest)

    monkeypatch.setattr(torch.Tensor, "to", to_unless_double)
    monkeypatch.setattr(torch.Tensor, "type", to_unless_double)
    monkeypatch.setattr(torch.Tensor, "float", lambda x: to_unless_double(x, torch.float32))
    monkeypatch.setattr(torch.Tensor, "softmax", softmax_as_is)


def double_model(family):
    model = tiny_model(family, dtype=torch.float64).double()  # routers that stay in float32, too
    if family in ("gpt_oss", "deepseek_v2"):
        model.set_experts_implementation("eager")  # the grouped kernel takes no float64
    return model


def filled(adapted):
    """The adapter with other numbers than its first ones, which change nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return adapted.eval()


def separate_logits(model, tries):
    """The same rows, one forward for every sequence, as transformers runs it.

    A sequence that others go on from has its logits in the forward of one of these.
    """
    rows = []
    for trie in tries:
        known = {}
        for node in sorted(trie.nodes, key=len, reverse=True):
            if node not in known:
                logits = model(torch.tensor([trie.prompt_ids + node])).logits[0]
                slot = len(trie.prompt_ids) - 1
                known |= {node[:i]: logits[slot + i] for i in range(len(node) + 1)}
        rows += [known[node] for node in trie.nodes]
    return torch.stack(rows)


def gradients(logits, weights):
    """Of some weights, through a fixed random weighting of all logits."""
    generator = torch.Generator().manual_seed(1)
    mixed = (logits * torch.randn(logits.shape, generator=generator).to(logits)).sum()
    return torch.autograd.grad(mixed, weights)


@pytest.mark.usefixtures("stays_double")
@every_family
def test_packed_trees_give_what_separate_sequences_give(family):
    model = double_model(family)
    weight = model.get_input_embeddings().weight
    separate = separate_logits(model, TRIES)
    wanted = gradients(separate, weight)
    for pack_tokens in (1, 60, 1000):
        packed = row_logits(model, make_batch(TRIES, ENCODER, pack_tokens))
        assert packed.dtype == torch.float64
        assert_close(packed, separate, atol=1e-9, rtol=1e-9)
        assert_close(gradients(packed, weight), wanted, atol=1e-8, rtol=1e-8)


@pytest.mark.usefixtures("stays_double")
@every_family
def test_adapters_have_the_gradients_of_separate_sequences(family):
    model = filled(attach_lora(double_model(family), lora("block", rank=2)).double())
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    packed = row_logits(model, make_batch(TRIES, ENCODER))
    ours, theirs = (gradients(x, weights) for x in (packed, separate_logits(model, TRIES)))
    assert_close(ours, theirs, atol=1e-8, rtol=1e-7)


@pytest.mark.usefixtures("stays_double")
@every_family
def test_a_kv_cache_gives_what_packed_trees_give(family):
    model = double_model(family)
    batch = make_batch(TRIES, ENCODER)
    with torch.no_grad():
        assert_close(cached_logits(model, batch), row_logits(model, batch))


@pytest.mark.usefixtures("stays_double")
@every_family
def test_plain_sequences_give_what_packed_trees_give(family):
    model = double_model(family)
    batch, weight = make_batch(TRIES, ENCODER), model.get_input_embeddings().weight
    plain, packed = plain_logits(model, batch), row_logits(model, batch)
    assert_close(plain, packed, atol=1e-9, rtol=1e-9)
    assert_close(gradients(plain, weight), gradients(packed, weight), atol=1e-8, rtol=1e-8)


@torch.no_grad()
@pytest.mark.usefixtures("stays_double")
@every_family
def test_packed_texts_give_what_separate_texts_give(family):
    model = double_model(family)
    texts = ENCODER.encode_texts([LONG, "red or blue", LONG + " not"])
    separate = torch.cat([model(torch.tensor([text])).logits[0, :-1] for text in texts])
    batch = make_text_batch(texts)
    assert_close(row_logits(model, batch), separate, atol=1e-9, rtol=1e-9)
    assert_close(cached_logits(model, batch), separate, atol=1e-9, rtol=1e-9)
    assert_close(plain_logits(model, batch), separate, atol=1e-9, rtol=1e-9)


@pytest.mark.usefixtures("stays_double")
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "deepseek_v2"])
def test_attention_implementations_agree(family, implementation):
    model = double_model(family)
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        packed = row_logits(model, make_batch(TRIES, ENCODER))
        assert_close(packed, separate_logits(model, TRIES))


@every_family
def test_words_and_other_sum_to_one(family):
    scores = score_tries(tiny_model(family), ENCODER, TRIES)
    total = torch.cat([scores.words, scores.other[:, None]], -1).logsumexp(-1)
    assert_close(total, torch.zeros(len(TRIES)), atol=1e-5, rtol=0)


ATTENTION = {name: [f"self_attn.{name}_proj"] for name in ("q", "k", "v", "o")}
MLP = {name: [f"mlp.{name}_proj"] for name in ("gate", "up", "down")}
EXPERTS = {"experts": ["mlp.experts", "mlp.experts.base_layer"]}
MODULES = {
    "gpt2": {"qkv": ["attn.c_attn"], "o": ["attn.c_proj"], "up": ["mlp.c_fc"]}
    | {"down": ["mlp.c_proj"]},
    "gpt_oss": ATTENTION | EXPERTS | {"router": ["mlp.router"]},
    "deepseek_v2": {"q": ATTENTION["q"], "kv_a": ["self_attn.kv_a_proj_with_mqa"]}
    | {"kv_b": ["self_attn.kv_b_proj"], "o": ATTENTION["o"], "router": ["mlp.gate"]}
    | {name: [f"mlp.shared_experts.{name}_proj"] for name in MLP}
    | EXPERTS,
}
"""Where the LoRAs of each site are, in a block that has experts."""
KINDS = {"mlp": set(MLP), "experts": {"experts"}, "router": {"router"}}


def modules_of(family):
    return MODULES.get(family, ATTENTION | MLP)


def expected_modules(family, word):
    """What a word of the targeting language means, worked out from the table above."""
    modules = modules_of(family)
    attention = set(modules) - set().union(*KINDS.values())
    groups = KINDS | {"attention": attention, "all": set(modules) - {"router"}}
    names = groups.get(word, set(modules) if word == "block" else {word})
    return [module for name in names for module in modules.get(name, ())]


def words_of(family):
    kinds = [
        kind for kind in (*KINDS, "attention", "all", "block") if expected_modules(family, kind)
    ]
    return dict.fromkeys([*kinds, *modules_of(family)])


@pytest.mark.parametrize(
    ("family", "word"), [(family, word) for family in FAMILIES for word in words_of(family)]
)
def test_exactly_the_asked_weights_move(family, word):
    model = attach_lora(tiny_model(family), lora(f"{word}@2", rank=4))
    block = "transformer.h.2" if family == "gpt2" else "model.layers.2"
    assert moved(*trained(model, num_steps=2)) == {
        f"base_model.model.{block}.{module}.lora_{half}.default.weight"
        for module in expected_modules(family, word)
        for half in "AB"
    }


@every_family
def test_the_table_counts_what_peft_makes(family):
    model = tiny_model(family)
    last_line = target_table(lora("block@1-2", rank=3), model).splitlines()[-1]
    num_trainable, _ = attach_lora(model, lora("block@1-2", rank=3)).get_nb_trainable_parameters()
    assert f": {num_trainable:,} LoRA parameters of rank 3" in last_line


@torch.no_grad()
@every_family
def test_switched_off_an_adapter_leaves_the_base_to_the_bit(family):
    base = tiny_model(family)(IDS).logits
    adapted = filled(attach_lora(tiny_model(family), lora("block", rank=2)))
    assert not torch.equal(adapted(IDS).logits, base)
    with adapted.disable_adapter():
        assert torch.equal(adapted(IDS).logits, base)


@torch.no_grad()
@every_family
def test_a_saved_adapter_gives_the_same_logits(family, tmp_path):
    adapted = filled(attach_lora(tiny_model(family), lora("block", rank=2)))
    adapted.save_pretrained(tmp_path)
    write_base_record(adapted, tmp_path)
    loaded = load_adapter(tiny_model(family), tmp_path)
    assert torch.equal(loaded(IDS).logits, adapted(IDS).logits)


@torch.no_grad()
@every_family
def test_a_saved_adapter_is_read_by_stock_peft(family, tmp_path):
    # PEFT takes DeepSeek's shared experts for its routed ones, in what it reads as well
    target = "attention+experts+router" if family == "deepseek_v2" else "block"
    adapted = filled(attach_lora(tiny_model(family), lora(target, rank=2)))
    adapted.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(tiny_model(family), tmp_path)
    assert_close(loaded(IDS).logits, adapted(IDS).logits, rtol=1e-5, atol=1e-5)
